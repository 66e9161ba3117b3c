/** The table of a benchmark run, as text for a terminal and as Markdown for `docs/performance.md`. Pure. */
import type { Line, Spread } from "./measure";

/** A run of the benchmarks, as `docs/performance.json` keeps it. */
export interface BenchResult {
    /** ISO 8601. */
    date: string;
    /** What was typed. */
    command: string;
    machine: { processors: number; model: string; memoryGB: number; kernel: string; node: string; loadAtStart: number };
    /** Versions of the containerds, by the playground's name for them. */
    containerd: Record<string, string>;
    lines: Line[];
}

/** The judged figure as people read it: `1.07 ×`, `+ 83 ms`, `142 MB`. */
export function figureText({ kind, figure, unit }: Pick<Line, "kind" | "figure" | "unit">): string {
    if (kind === "ratio") return `${significant(figure)} ×`;
    return kind === "more"
        ? `${figure < 0 ? "−" : "+"} ${Math.abs(figure).toFixed(0)} ${unit}`
        : `${figure.toFixed(0)} ${unit}`;
}

/** Two digits after the point, and more where those would say too little: `0.0012`. */
function significant(figure: number): string {
    const leading = figure > 0 ? Math.floor(Math.log10(figure)) : 0;
    return figure.toFixed(Math.max(2, 1 - leading));
}

/** `min / median / max` in one unit, seconds where milliseconds would be long. */
export function spreadText({ min, median, max }: Spread, unit: Line["unit"]): string {
    const seconds = unit === "ms" && median >= 10_000;
    const digits = seconds || (unit === "ms" && median < 100) ? 1 : 0;
    const numbers = [min, median, max].map((value) => (seconds ? value / 1000 : value).toFixed(digits));
    return `${numbers.join(" / ")} ${seconds ? "s" : unit}`;
}

const HEAD = ["what", "against", "ours", "peer", "figure", "limit", ""];

function cells(line: Line): string[] {
    return [
        line.what,
        line.against,
        spreadText(line.ours, line.unit),
        line.peer ? spreadText(line.peer, line.unit) : "",
        figureText(line),
        figureText({ ...line, figure: line.limit }),
        line.reached ? "reached" : "MISSED",
    ];
}

/** The table for a terminal, and a sentence for each limit that was missed. */
export function textTable(lines: readonly Line[]): string {
    const rows = [HEAD, ...lines.map(cells)];
    const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
    const table = rows.map((row) =>
        row
            .map((cell, column) => cell.padEnd(widths[column]!))
            .join("  ")
            .trimEnd(),
    );
    const notes = lines.filter(({ note }) => note).map(({ what, note }) => `${what}: ${note}`);
    return [...table, "", ...notes, ...(notes.length ? [""] : []), verdict(lines)].join("\n");
}

function verdict(lines: readonly Line[]): string {
    const missed = lines.filter(({ reached }) => !reached);
    if (missed.length === 0) return `all ${lines.length} limits reached`;
    const sentences = missed.map(
        (line) =>
            `MISSED: ${line.what}, against ${line.against}: ${figureText(line)}, and at most ${figureText({ ...line, figure: line.limit })} was wanted`,
    );
    return [...sentences, `${lines.length - missed.length} of ${lines.length} limits reached`].join("\n");
}

/** The table as Markdown, with how and where it was made above it. */
export function markdown({ date, command, machine, containerd, lines }: BenchResult): string {
    const { processors, model, memoryGB, kernel, node, loadAtStart } = machine;
    const row = (columns: readonly string[]) => `| ${columns.join(" | ")} |`;
    const versions = Object.values(containerd).join(" and ");
    return [
        `Measured ${date.slice(0, 10)} by \`${command}\` on ${processors} processors (${model}), ${memoryGB} GB, Linux ${kernel}, ` +
            `Node ${node}, containerd ${versions}; load average at the start ${loadAtStart.toFixed(1)}. ` +
            "Each cell is minimum / median / maximum.",
        "",
        row(HEAD),
        row(HEAD.map(() => "---")),
        ...lines.map((line) => row(cells(line).map((cell) => cell.replaceAll("|", "\\|")))),
        "",
        ...lines.filter(({ note }) => note).map(({ what, note }) => `- *${what}*: ${note}`),
    ].join("\n");
}
