/**
 * How a host is reached according to ssh_config: its lines, looked up and understood, as one plain object. Pure but for the files
 * that it is given. Source: ssh_config(5).
 */
import { ContainerdError } from "../../errors";
import { lookUp, spelledHosts, type SshConfigMatch } from "./ssh-config-lookup";
import type { SshConfigLine } from "./ssh-config-lines";
import { expandEnvironment, expandHome, expandTokens, flag, integer, one, time } from "./ssh-config-values";
import type { SshFiles } from "./ssh-files";

/** A machine on the way. */
export interface SshJump {
    host: string;
    user?: string;
    port?: number;
}

/** Where the agent is asked. */
export interface SshAgentSource {
    /** Path of its socket; `undefined` for no agent. */
    path: string | undefined;
    /** What said so, for messages: `SSH_AUTH_SOCK`, or a line of ssh_config. */
    from: string;
}

/** How a host is reached. */
export interface SshHost {
    /** As it was asked for. */
    name: string;
    hostname: string;
    port: number;
    user: string;
    /** AddressFamily; `undefined` for either. */
    family: 4 | 6 | undefined;
    /** Paths, in order; `undefined` where nothing is said, so that the usual ones are tried. `IdentityFile none` is an empty list. */
    identityFiles: string[] | undefined;
    certificateFiles: string[];
    identitiesOnly: boolean;
    identityAgent: SshAgentSource;
    /** In the order in which they are passed. See {@link resolveJumps}. */
    jumps: SshJump[];
    /** UserKnownHostsFile, in order. A new host's line goes into the first. */
    userKnownHostsFiles: string[];
    globalKnownHostsFiles: string[];
    hostKeyAlias: string | undefined;
    /** Seconds; `undefined` where nothing is said. */
    connectTimeout: number | undefined;
    /** Seconds; 0, ssh's default, for never. */
    serverAliveInterval: number;
    serverAliveCountMax: number;
    /** What ssh would have obeyed and we do not, a sentence each. */
    notes: string[];
}

/** What is said elsewhere, and wins over ssh_config as options of ssh's command line do. */
export interface GivenHost {
    hostname?: string;
    user?: string;
    port?: number;
    /** As ProxyJump has it: `user@host:port`, several by commas, `none`. */
    jump?: string;
}

/**
 * Looks a host up in ssh_config.
 *
 * Throws `Invalid` with `file:line` for what cannot be understood, `Unsupported` for a ProxyCommand.
 *
 * @param name the host's name, as one would type it after `ssh`.
 */
export function resolveSshHost(name: string, files: SshFiles, given: GivenHost = {}): SshHost {
    checkHostName(name, "the host");
    const match = lookUp(name, files, given.user);
    const { first } = match;
    const optional = <T>(keyword: string, read: (line: SshConfigLine) => T): T | undefined => {
        const line = first.get(keyword);
        return line && read(line);
    };

    const user = given.user ?? optional("user", one) ?? files.user;
    const port = given.port ?? optional("port", (line) => integer(line, 1, 65_535)) ?? 22;
    const hostname = lowerName(
        given.hostname ?? optional("hostname", (line) => expandTokens(one(line), { h: name }, line.at)) ?? name,
    );
    checkHostName(hostname, first.get("hostname")?.at ?? "the host");
    const hostKeyAlias = optional("hostkeyalias", one);
    const tokens = {
        d: files.home,
        h: hostname,
        i: String(files.uid),
        k: hostKeyAlias ?? name,
        L: files.hostname.split(".", 1)[0]!,
        l: files.hostname,
        n: name,
        p: String(port),
        r: user,
        u: files.user,
    };
    const path = (value: string, at: string) =>
        expandTokens(expandEnvironment(expandHome(value, files.home), files.env, at), tokens, at);
    const paths = (keyword: string): string[] | undefined =>
        match.all
            .get(keyword)
            ?.filter((line) => !isNone(line))
            .map((line) => path(one(line), line.at));
    const known = (keyword: string, usual: string[]) =>
        optional(keyword, (line) => (isNone(line) ? [] : line.args.map((file) => path(file, line.at)))) ?? usual;

    return {
        name,
        hostname,
        port,
        user,
        family: optional("addressfamily", family),
        identityFiles: paths("identityfile"),
        certificateFiles: paths("certificatefile") ?? [],
        identitiesOnly: optional("identitiesonly", flag) ?? false,
        identityAgent: optional("identityagent", (line) => agent(line, files, path)) ?? {
            path: files.env.SSH_AUTH_SOCK || undefined,
            from: "SSH_AUTH_SOCK",
        },
        jumps: given.jump === undefined ? proxy(match, tokens) : jumpList(given.jump, "jump"),
        userKnownHostsFiles: known("userknownhostsfile", [
            path("~/.ssh/known_hosts", ""),
            path("~/.ssh/known_hosts2", ""),
        ]),
        globalKnownHostsFiles: known("globalknownhostsfile", ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]),
        hostKeyAlias,
        connectTimeout: optional("connecttimeout", time),
        serverAliveInterval: optional("serveraliveinterval", time) ?? 0,
        serverAliveCountMax: optional("serveralivecountmax", (line) => integer(line, 0, 2 ** 31 - 1)) ?? 3,
        notes: [...match.notes, ...ignored(match)],
    };
}

const MOST_JUMPS = 16;
/** DNS's limit. */
const LONGEST_HOST_NAME = 255;

/**
 * The machines on the way to a host, the first one to connect to first, each looked up in ssh_config. The first of a host's
 * ProxyJump is reached by its own ProxyJump, the others through the one before, as ssh does it. Throws `Invalid` for a circle.
 */
export function resolveJumps(host: SshHost, files: SshFiles, passed: readonly string[] = []): SshHost[] {
    const key = `${host.user}@${host.hostname}:${host.port}`;
    if (passed.includes(key)) {
        throw new ContainerdError("Invalid", `ProxyJump goes in a circle: ${[...passed, key].join(" → ")}`);
    }
    // With %h in it each hop has a new name, and one goes on for ever.
    if (passed.length > MOST_JUMPS || (passed.length > 0 && host.hostname.length > LONGEST_HOST_NAME)) {
        throw new ContainerdError(
            "Invalid",
            `ProxyJump of ${passed[0] ?? key} goes over more than ${MOST_JUMPS} machines`,
        );
    }
    return host.jumps.flatMap(({ host: name, user, port }, index) => {
        const jump = resolveSshHost(name, files, { user, port, ...(index > 0 && { jump: "none" }) });
        return [...resolveJumps(jump, files, [...passed, key]), jump];
    });
}

/** Whether a `Host` (or `Match host`) of ssh_config names it, by more than `*`. */
export function isKnownHost(name: string, files: SshFiles): boolean {
    return lookUp(name, files).named;
}

/** The names that ssh_config spells out, for "did you mean". */
export function hostNames(files: SshFiles): string[] {
    return spelledHosts(files);
}

/**
 * Reads `[user@]host[:port]`, `[user@][v6][:port]` or `ssh://…`, of ProxyJump's list. Throws `Invalid`.
 *
 * @param at where it stands, for messages.
 */
export function parseJump(text: string, at: string): SshJump {
    const wrong = () =>
        new ContainerdError("Invalid", `${at}: the jump host ${JSON.stringify(text)} is not like user@host:port`);
    const [, user, v6, name, port] =
        /^(?:ssh:\/\/)?(?:(.+)@)?(?:\[([^\][@]+)\]|([^\][@:/]+))(?::(\d{1,5}))?\/?$/.exec(text.trim()) ?? [];
    const host = v6 ?? name;
    if (host === undefined || (port !== undefined && (Number(port) < 1 || Number(port) > 65_535))) throw wrong();
    checkHostName(host, at);
    return { host, ...(user !== undefined && { user }), ...(port !== undefined && { port: Number(port) }) };
}

function proxy({ first }: SshConfigMatch, { h, n, p, r }: Record<"h" | "n" | "p" | "r", string>): SshJump[] {
    const command = first.get("proxycommand");
    if (command && !isNone(command)) {
        throw new ContainerdError(
            "Unsupported",
            `${command.at}: a ProxyCommand is not run. Where it only goes through another machine (ssh -W, nc), say ` +
                "`ProxyJump user@machine` instead",
        );
    }
    const line = first.get("proxyjump");
    return line ? jumpList(expandTokens(one(line), { h, n, p, r }, line.at), line.at) : [];
}

function jumpList(text: string, at: string): SshJump[] {
    return text.toLowerCase() === "none" ? [] : text.split(",").map((hop) => parseJump(hop, at));
}

function agent(line: SshConfigLine, files: SshFiles, path: (value: string, at: string) => string): SshAgentSource {
    const value = one(line);
    const from = `IdentityAgent of ${line.at}`;
    if (value.toLowerCase() === "none") return { path: undefined, from };
    if (value === "SSH_AUTH_SOCK") return { path: files.env.SSH_AUTH_SOCK || undefined, from: "SSH_AUTH_SOCK" };
    const variable = /^\$(\w+)$/.exec(value)?.[1];
    if (variable !== undefined) return { path: files.env[variable] || undefined, from: variable };
    return { path: path(value, line.at), from };
}

function family(line: SshConfigLine): 4 | 6 | undefined {
    const value = one(line).toLowerCase();
    if (value === "any") return undefined;
    if (value === "inet" || value === "inet6") return value === "inet" ? 4 : 6;
    throw new ContainerdError("Invalid", `${line.at}: AddressFamily is ${one(line)}, must be any, inet or inet6`);
}

/** Keywords that change where one gets to or whom one believes, and that are not obeyed here. */
function ignored({ first }: SshConfigMatch): string[] {
    const notes: string[] = [];
    const strict = first.get("stricthostkeychecking");
    if (strict && !["yes", "true", "ask"].includes(one(strict).toLowerCase())) {
        notes.push(`${strict.at}: StrictHostKeyChecking ${one(strict)} is not obeyed: host keys are always checked`);
    }
    for (const [keyword, usual] of Object.entries(UNHEARD)) {
        const line = first.get(keyword);
        if (line && !usual.includes(line.args[0]!.toLowerCase())) {
            notes.push(`${line.at}: ${keyword} ${line.args.join(" ")} is not obeyed`);
        }
    }
    return notes;
}

const UNHEARD: Readonly<Record<string, readonly string[]>> = {
    canonicalizehostname: ["no", "false"],
    knownhostscommand: ["none"],
    bindaddress: [],
    bindinterface: [],
    pkcs11provider: ["none"],
};

function isNone({ args }: SshConfigLine): boolean {
    return args.length === 1 && args[0]!.toLowerCase() === "none";
}

/** As ssh does: names are put in lower case, addresses stay. */
function lowerName(name: string): string {
    return name.includes(":") ? name : name.toLowerCase();
}

/** What no host's name has, and what a resolver or a message should not get to see. */
function checkHostName(name: string, at: string): void {
    if (name !== "" && !name.startsWith("-") && !/[\s\p{Cc}*?!#/@,'"`$\\;&<>|(){}]/u.test(name)) return;
    throw new ContainerdError("Invalid", `${at}: ${JSON.stringify(name)} is not a host's name or address`);
}
