/**
 * Which lines of ssh_config apply to a host: Host, Match, Include, and the first value wins. Knows no meaning of the values.
 * Source: ssh_config(5) of OpenSSH; compared with `ssh -G` in the tests.
 */
import { dirname, isAbsolute, join } from "node:path";
import { ContainerdError } from "../../errors";
import { isPattern, matchesEverything, matchesPattern, matchingPattern } from "./patterns";
import { parseSshConfig, type SshConfigLine } from "./ssh-config-lines";
import { expandEnvironment, expandHome, expandTokens } from "./ssh-config-values";
import type { SshFiles } from "./ssh-files";

/** What applies to one host. */
export interface SshConfigMatch {
    /** The value that wins, by keyword in lower case. */
    readonly first: ReadonlyMap<string, SshConfigLine>;
    /** All values of the keywords that add up (IdentityFile, CertificateFile). */
    readonly all: ReadonlyMap<string, readonly SshConfigLine[]>;
    /** Whether a `Host` or `Match host` names it, by more than a pattern for everything. */
    readonly named: boolean;
    /** What was left out, a sentence each. */
    readonly notes: readonly string[];
}

/** OpenSSH's own limit. */
const MAX_DEPTH = 16;
const ADDING = new Set(["identityfile", "certificatefile"]);

/**
 * Reads the user's config, then the machine's.
 *
 * @param name the host as the program names it.
 * @param user who logs in, if that is said elsewhere; for `Match user`.
 */
export function lookUp(name: string, files: SshFiles, user?: string): SshConfigMatch {
    const lookup = new Lookup(name, files, user);
    lookup.pass();
    if (lookup.wantsFinal) lookup.finalPass();
    return lookup;
}

/** All names that `Host` lines spell out: what a mistyped name may have meant. */
export function spelledHosts(files: SshFiles): string[] {
    const names = new Set<string>();
    const collect = (path: string, depth: number, read: SshFiles["read"]) => {
        for (const { keyword, args, at } of parseFile(path, read)) {
            if (keyword === "host") for (const name of args) if (!isPattern(name)) names.add(name);
            if (keyword !== "include") continue;
            checkDepth(depth, at);
            for (const pattern of args) {
                for (const file of includedFiles(pattern, path, files)) collect(file, depth + 1, read);
            }
        }
    };
    collect(files.userConfig, 0, files.readConfig);
    collect(files.systemConfig, 0, files.read);
    return [...names];
}

class Lookup implements SshConfigMatch {
    readonly first = new Map<string, SshConfigLine>();
    readonly all = new Map<string, SshConfigLine[]>();
    named = false;
    wantsFinal = false;
    readonly #notes = new Set<string>();
    #final = false;

    constructor(
        readonly original: string,
        readonly files: SshFiles,
        readonly givenUser: string | undefined,
    ) {}

    get notes(): string[] {
        return [...this.#notes];
    }

    /** Asked for by a `Match final`: all files again, for the host that HostName made of it, which stays that. */
    finalPass(): void {
        this.#final = true;
        const hostname = this.#hostname.includes(":") ? this.#hostname : this.#hostname.toLowerCase();
        const at = this.first.get("hostname")?.at ?? "";
        this.first.set("hostname", { keyword: "hostname", args: [hostname.replaceAll("%", "%%")], at });
        this.pass();
    }

    pass(): void {
        this.#file(this.files.userConfig, true, 0, this.files.readConfig);
        this.#file(this.files.systemConfig, true, 0, this.files.read);
    }

    #file(path: string, applies: boolean, depth: number, read: SshFiles["read"]): void {
        let active = applies;
        for (const line of parseFile(path, read)) {
            if (line.keyword === "host") active = applies && this.#host(line);
            else if (line.keyword === "match") active = applies && this.#match(line);
            else if (line.keyword === "include") {
                if (!active) continue;
                checkDepth(depth, line.at);
                for (const pattern of line.args) {
                    for (const file of includedFiles(pattern, path, this.files))
                        this.#file(file, true, depth + 1, read);
                }
            } else if (active) this.#set(line);
        }
    }

    #set(line: SshConfigLine): void {
        const { keyword } = line;
        if (ADDING.has(keyword)) {
            const lines = this.all.get(keyword) ?? [];
            if (!lines.some(({ args }) => args[0] === line.args[0])) this.all.set(keyword, [...lines, line]);
            return;
        }
        // Whichever of the two is said first keeps the other out.
        if (keyword === "proxycommand" && this.first.has("proxyjump")) return;
        if (keyword === "proxyjump" && this.first.has("proxycommand")) return;
        if (!this.first.has(keyword)) this.first.set(keyword, line);
    }

    /** The host as far as it is known: HostName's value once one has been read. */
    get #hostname(): string {
        const set = this.first.get("hostname");
        return set ? expandTokens(set.args[0]!, { h: this.original }, set.at) : this.original;
    }

    #host({ args }: SshConfigLine): boolean {
        const found = matchingPattern(this.#final ? this.#hostname : this.original, args);
        if (found !== undefined && !matchesEverything(found)) this.named = true;
        return found !== undefined;
    }

    #match({ args, at }: SshConfigLine): boolean {
        let applies = true;
        let naming = false;
        let skipped: string | undefined;
        // To the end, also after one that does not fit: a `final` there asks for the second pass all the same, as with ssh.
        for (let next = 0; next < args.length; next++) {
            const negated = args[next]!.startsWith("!");
            const criterion = args[next]!.slice(negated ? 1 : 0).toLowerCase();
            if (criterion === "all") continue;
            if (criterion === "canonical" || criterion === "final") {
                if (criterion === "final") this.wantsFinal = true;
                if (this.#final === negated) applies = false;
                continue;
            }
            const value = args[++next];
            if (value === undefined) throw new ContainerdError("Invalid", `${at}: Match ${criterion} has no value`);
            const subject = this.#subject(criterion);
            if (subject === undefined) {
                skipped ??= criterion;
                continue;
            }
            const ofHost = criterion.endsWith("host");
            // Here a host's name knows no case, in a Host line it does.
            const fold = (text: string) => (ofHost ? text.toLowerCase() : text);
            const found = matchingPattern(fold(subject), value.split(",").map(fold));
            if ((found === undefined) !== negated) applies = false;
            naming ||= ofHost && found !== undefined && !matchesEverything(found);
        }
        if (!applies) return false;
        if (skipped !== undefined) {
            const why = skipped === "exec" ? "no command of ssh_config is run" : "this criterion is not known here";
            this.#notes.add(`${at}: this Match block is passed over, because of \`${skipped}\`: ${why}`);
            return false;
        }
        if (naming) this.named = true;
        return true;
    }

    /** What a criterion of Match looks at; `undefined` for one that is not evaluated. */
    #subject(criterion: string): string | undefined {
        switch (criterion) {
            case "host":
                return this.#hostname;
            case "originalhost":
                return this.original;
            case "user":
                return this.givenUser ?? this.first.get("user")?.args[0] ?? this.files.user;
            case "localuser":
                return this.files.user;
            default:
                return undefined;
        }
    }
}

function parseFile(path: string, read: SshFiles["read"]): SshConfigLine[] {
    const text = read(path);
    return text === undefined ? [] : parseSshConfig(text, path);
}

function checkDepth(depth: number, at: string): void {
    if (depth < MAX_DEPTH) return;
    throw new ContainerdError(
        "Invalid",
        `${at}: Include nests deeper than ${MAX_DEPTH} files: does a file include itself?`,
    );
}

/** The files that an Include names, sorted; one that is not there is none. */
function includedFiles(pattern: string, from: string, files: SshFiles): string[] {
    const said = expandHome(expandEnvironment(pattern, files.env, from), files.home);
    // Relative to ~/.ssh in a user's config, whatever folder that lies in; to /etc/ssh in the machine's.
    const base = from === files.systemConfig ? dirname(files.systemConfig) : join(files.home, ".ssh");
    const path = isAbsolute(said) ? said : join(base, said);
    if (/[[\]]/.test(path)) {
        throw new ContainerdError(
            "Unsupported",
            `${from}: Include ${pattern}: write it with * and ? only, not with [ ]`,
        );
    }
    return expandGlob(path, files);
}

/** Expands `*` and `?`, folder by folder, as glob(7): they match neither `/` nor a leading dot. */
function expandGlob(path: string, files: SshFiles): string[] {
    let found = ["/"];
    for (const part of path.split("/").filter(Boolean)) {
        if (!/[*?]/.test(part)) {
            found = found.map((folder) => join(folder, part));
            continue;
        }
        const fits = (name: string) => matchesPattern(name, part) && (part.startsWith(".") || !name.startsWith("."));
        found = found.flatMap((folder) =>
            files
                .list(folder)
                .filter(fits)
                .map((name) => join(folder, name)),
        );
    }
    return found.sort();
}
