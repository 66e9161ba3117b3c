/** What values of ssh_config may hold: tokens (`%h`), `~`, `${VARIABLE}`, times, yes and no. Pure. */
import { join } from "node:path";
import { ContainerdError } from "../../errors";
import type { SshConfigLine } from "./ssh-config-lines";

/** Replaces `%x` by what `tokens` has for x. Throws `Invalid` for one that it does not have. Source: ssh_config(5), TOKENS. */
export function expandTokens(text: string, tokens: Readonly<Record<string, string>>, at: string): string {
    return text.replace(/%(.?)/gs, (_, token: string) => {
        if (token === "%") return "%";
        if (Object.hasOwn(tokens, token)) return tokens[token]!;
        const known = ["%", ...Object.keys(tokens)].map((name) => `%${name}`).join(" ");
        throw new ContainerdError("Invalid", `${at}: %${token} is not known in this place (${known} are)`);
    });
}

/** Replaces `${NAME}`. Throws `Invalid` when the variable is not set, as ssh does. */
export function expandEnvironment(text: string, env: Readonly<Record<string, string | undefined>>, at: string): string {
    return text.replace(/\$\{([^}]*)\}/g, (_, name: string) => {
        const value = Object.hasOwn(env, name) ? env[name] : undefined;
        if (value !== undefined) return value;
        throw new ContainerdError("Invalid", `${at}: the environment variable ${name} is not set`);
    });
}

/** Replaces a leading `~`; `~someone` is left alone. */
export function expandHome(path: string, home: string): string {
    if (path === "~") return home;
    return path.startsWith("~/") ? join(home, path.slice(2)) : path;
}

/** The one value of a line. Throws `Invalid` when there are more. */
export function one({ keyword, args, at }: SshConfigLine): string {
    if (args.length === 1) return args[0]!;
    throw new ContainerdError(
        "Invalid",
        `${at}: ${keyword} takes one value and has ${args.length} (one with spaces goes into quotes)`,
    );
}

/** `yes` or `no`. */
export function flag(line: SshConfigLine): boolean {
    const value = one(line).toLowerCase();
    if (value === "yes" || value === "true") return true;
    if (value === "no" || value === "false") return false;
    throw new ContainerdError("Invalid", `${line.at}: ${line.keyword} is ${one(line)}, must be yes or no`);
}

/** A whole number of a range. */
export function integer(line: SshConfigLine, min: number, max: number): number {
    const value = one(line);
    if (/^\d{1,10}$/.test(value) && Number(value) >= min && Number(value) <= max) return Number(value);
    throw new ContainerdError(
        "Invalid",
        `${line.at}: ${line.keyword} is ${value}, must be a number from ${min} to ${max}`,
    );
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };
const TOO_LONG = 2 ** 31;

/** Seconds, like `90` or `1m30s`; `none` is `undefined`. Source: sshd_config(5), TIME FORMATS. */
export function time(line: SshConfigLine): number | undefined {
    const value = one(line).toLowerCase();
    if (value === "none") return undefined;
    let seconds = 0;
    for (const [, digits, unit] of value.matchAll(/(\d+)([smhdw]?)/g))
        seconds += Number(digits) * SECONDS[unit || "s"]!;
    if (/^(?=\d)(?:\d+[smhdw])*\d*$/.test(value) && seconds < TOO_LONG) return seconds;
    throw new ContainerdError("Invalid", `${line.at}: ${line.keyword} is ${one(line)}, must be seconds, or like 1m30s`);
}
