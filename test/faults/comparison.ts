/** Compares what is on a node after a disturbed run with what is there after an undisturbed one. */
import type { Census } from "../helpers/census";

/** A census without the numbers that differ between two runs of the same program. */
export function normalized(found: Census): Census {
    const entries = Object.entries(found).map(([kind, lines]: [string, string[]]) => [
        kind,
        lines.map((line) => withoutRandomness(kind, line)).sort(),
    ]);
    return Object.fromEntries(entries) as Census;
}

function withoutRandomness(kind: string, line: string): string {
    // A name that was not fixed ends so.
    const named = line.replace(/-[0-9a-f]{7}\b/g, "");
    if (kind === "runtime") return named.replace(/[0-9a-f]{64}/g, "*");
    // The logger's dd has the rest of its file as an argument, and a logger that a Task started, not the monitor, says so.
    if (kind === "processes") return named.replace(/^dd .*/, "dd").replace("/bin/sh -c fresh=1; ", "/bin/sh -c ");
    return named;
}

/** What one has and the other has not, a line each; nothing when they are equal. */
export function differences(expected: Census, found: Census): string[] {
    const lines: string[] = [];
    for (const [kind, wanted] of Object.entries(expected) as [keyof Census, string[]][]) {
        const rest = [...found[kind]];
        for (const line of wanted) {
            const at = rest.indexOf(line);
            if (at < 0) lines.push(`missing ${kind}: ${line}`);
            else rest.splice(at, 1);
        }
        lines.push(...rest.map((line) => `left ${kind}: ${line}`));
    }
    return lines;
}
