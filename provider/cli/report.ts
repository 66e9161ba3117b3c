/** Findings as people and programs read them. Pure. */
import { stripVTControlCharacters } from "node:util";
import Table from "cli-table3";
import type { Finding, Status } from "./finding";

/** What was found on one node. */
export interface NodeReport {
    node: string;
    findings: Finding[];
}

const SIGNS: Record<Status, string> = { ok: "ok", warning: "warning", problem: "PROBLEM" };
const WIDEST_SIGN = 9;

/** A table a node, and below it the commands, each on a line of its own so that it can be copied. `width`: columns. */
export function formatReports(reports: readonly NodeReport[], width: number): string {
    return reports.map((report) => formatReport(report, Math.max(60, width))).join("\n");
}

function formatReport({ node, findings }: NodeReport, width: number): string {
    const checkWidth = Math.max(...findings.map(({ check }) => check.length), 0) + 2;
    // A key or path that does not fit would be cut off: rather a table that is too wide.
    const longest = Math.max(...findings.flatMap(({ text }) => text.split(/\s/)).map(({ length }) => length), 0) + 2;
    const textWidth = Math.max(longest, width - WIDEST_SIGN - checkWidth - 4);
    const table = new Table({
        colWidths: [WIDEST_SIGN, checkWidth, textWidth],
        wordWrap: true,
        chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
        // Without colours, which cli-table3 has by default.
        style: { head: [], border: [] },
    });
    for (const { status, check, text } of findings) table.push([SIGNS[status], check, shown(text)]);
    const lines = [shown(node), table.toString()];
    const remedies = findings.flatMap(({ check, remedy }) => (remedy ? [{ check, remedy }] : []));
    for (const where of ["here", "node"] as const) {
        const these = remedies.filter(({ remedy }) => remedy.where === where);
        if (!these.length) continue;
        lines.push(where === "here" ? "  On this machine:" : `  On ${shown(node)}, as root:`);
        for (const { check, remedy } of these) lines.push(`    # ${check}`, `    ${shown(remedy.command)}`);
    }
    return `${lines.join("\n")}\n`;
}

/** What nodes say reaches a terminal: nothing in it may be obeyed. */
function shown(text: string): string {
    return stripVTControlCharacters(text).replace(/[\p{Cc}\p{Cf}]/gu, (character) =>
        character === "\n" ? character : "",
    );
}

/** For programs: `{ "nodes": [{ "node", "findings": [{ "check", "status", "text", "remedy"? }] }] }`. */
export function formatJson(reports: readonly NodeReport[]): string {
    return `${JSON.stringify({ nodes: reports }, null, 4)}\n`;
}

/** Whether there is a problem anywhere. */
export function hasProblem(reports: readonly NodeReport[]): boolean {
    return reports.some(({ findings }) => findings.some(({ status }) => status === "problem"));
}
