/** The syntax of ssh_config: text into lines of a keyword and its arguments, by the package `ssh-config`. Pure. */
import { createRequire } from "node:module";
import { ContainerdError } from "../../errors";

// The package has a CommonJS half, but declares its types for the other half only: tsc refuses a plain import.
const { LineType, parse } = createRequire(__filename)("ssh-config") as typeof import("ssh-config", {
    with: { "resolution-mode": "import" },
});

/** One line that says something. */
export interface SshConfigLine {
    /** In lower case: keywords know no case. */
    readonly keyword: string;
    /** At least one. */
    readonly args: readonly string[];
    /** `file:line`, for messages. */
    readonly at: string;
}

/** Stands for a `#` inside a word, which the package would take for the beginning of a comment. */
const INNER_HASH = "\u0000";

/**
 * Parses an ssh_config. Each line by itself: so the line's number is known, and a keyword without a value does not swallow the
 * line after it (as it does with the package). Throws `Invalid` with `file:line`.
 *
 * @param path the file's, for messages.
 */
export function parseSshConfig(text: string, path: string): SshConfigLine[] {
    const lines: SshConfigLine[] = [];
    // A NUL ends the line for OpenSSH; here it would be taken for our placeholder.
    for (const [index, raw] of text.split(/\r\n|\n|\r/).entries()) {
        const line = raw.split(INNER_HASH, 1)[0]!.trim();
        if (line === "" || line.startsWith("#")) continue;
        const at = `${path}:${index + 1}`;
        const { keyword, args } = parseLine(line, at);
        if (args.length === 0) throw new ContainerdError("Invalid", `${at}: ${keyword} has no value`);
        lines.push({ keyword: keyword.toLowerCase(), args, at });
    }
    return lines;
}

function parseLine(line: string, at: string): { keyword: string; args: string[] } {
    // Of a Match the package wants to know the criteria, and knows none that is negated: so its words are read as a Host's.
    const match = /^match(?=[\s=])/i;
    const prepared = line
        .replace(match, "Host")
        .replace(/(?<=[^\s=])#/g, INNER_HASH)
        // The package knows only double quotes; OpenSSH takes both since 8.7.
        .replace(/(?<=[\s=])'([^'"]*)'(?=\s|$)/g, '"$1"');
    const [directive] = parsed(prepared, at);
    if (directive?.type !== LineType.DIRECTIVE) return { keyword: line.split(/\s/, 1)[0]!, args: [] };
    const { param, value, quoted } = directive;
    return { keyword: match.test(line) ? "match" : param, args: words(value, quoted).map(restoreHash) };
}

function words(value: string | readonly { val: string }[], quoted = false): string[] {
    if (typeof value !== "string") return value.map(({ val }) => val);
    return quoted ? [value] : value.split(/\s+/).filter(Boolean);
}

function restoreHash(word: string): string {
    return word.replaceAll(INNER_HASH, "#");
}

function parsed(line: string, at: string): ReturnType<typeof parse> {
    try {
        return parse(line);
    } catch (cause) {
        // The package fails without a message of use: on an open quote, on a list without an element.
        throw new ContainerdError("Invalid", `${at}: not a line of ssh_config: is a quote open, or a value missing?`, {
            cause,
        });
    }
}
