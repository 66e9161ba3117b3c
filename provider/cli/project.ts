/** The Pulumi project in a folder, asked by the `pulumi` command: its stack's config and what its state knows. */
import { execFile } from "node:child_process";
import { access, readFile } from "node:fs/promises";
import path from "node:path";
import { ContainerdError } from "../errors";
import type { KnownStack } from "./leftovers";

/** Milliseconds; a backend may be far away. */
const TIMEOUT = 60_000;
const LONGEST_OUTPUT = 256 << 20;

/** Where to look. */
export interface Place {
    /** A folder in a project. */
    cwd: string;
    /** Name of the stack. Default: the one that is selected. */
    stack?: string | undefined;
}

/** The stack's config: the text of a key, secrets readable. */
export type Config = (key: string) => string | undefined;

const NOTHING: Config = () => undefined;

/** The folder of the project that `cwd` is in; `undefined` when it is in none. */
export async function findProject(cwd: string): Promise<string | undefined> {
    for (let folder = path.resolve(cwd); ; folder = path.dirname(folder)) {
        if (await projectFile(folder)) return folder;
        if (folder === path.dirname(folder)) return undefined;
    }
}

async function projectFile(folder: string): Promise<string | undefined> {
    for (const name of ["Pulumi.yaml", "Pulumi.yml"]) {
        const file = path.join(folder, name);
        if (await access(file).then(() => true, () => false)) return file; // prettier-ignore
    }
    return undefined;
}

/**
 * The stack's config; an empty one where there is no project and no stack is named. Throws `NotFound` without `pulumi`, and
 * `Failed` with what `pulumi` says, like that no stack is selected or the passphrase is wrong.
 */
export async function readConfig(place: Place): Promise<Config> {
    if (place.stack === undefined && !(await findProject(place.cwd))) return NOTHING;
    const text = await pulumi(place, ["config", "--json", "--show-secrets"]);
    return parseConfig(text);
}

/** Reads what `pulumi config --json` prints. Throws `Failed` for what is none; its text, which holds secrets, is not repeated. */
export function parseConfig(text: string): Config {
    let entries: Record<string, { value?: unknown } | undefined>;
    try {
        entries = JSON.parse(text) as typeof entries;
    } catch {
        throw new ContainerdError("Failed", "`pulumi config --json` printed something else than JSON");
    }
    return (key) => {
        const value = Object.hasOwn(entries, key) ? entries[key]?.value : undefined;
        return typeof value === "string" ? value : undefined;
    };
}

/** What the stack's state knows; `undefined` where there is no project. Throws as {@link readConfig} does. */
export async function readStack(place: Place): Promise<KnownStack | undefined> {
    const folder = await findProject(place.cwd);
    if (!folder) return undefined;
    const file = await projectFile(folder);
    const project = file && parseProjectName(await readFile(file, "utf8"));
    if (!project) return undefined;
    const name = place.stack ?? (await pulumi(place, ["stack", "--show-name"])).trim();
    return {
        ...parseState(await pulumi(place, ["stack", "export"])),
        name: name.slice(name.lastIndexOf("/") + 1),
        project,
    };
}

/** The `name` of a `Pulumi.yaml`, of which the rest is not understood here. */
export function parseProjectName(text: string): string | undefined {
    try {
        // JSON is YAML.
        const { name } = JSON.parse(text) as { name?: unknown };
        return typeof name === "string" ? name : undefined;
    } catch {
        return /^name:[ \t]*(["']?)([^"'#\s]+)\1[ \t]*(?:#.*)?$/m.exec(text)?.[2];
    }
}

/**
 * What `pulumi stack export` prints: the uids, which are the last part of each id, and the names of Nodes with a `connection`.
 * Throws `Failed` for what is no JSON.
 */
export function parseState(text: string): Required<Pick<KnownStack, "uids" | "connected">> {
    let state: { deployment?: { resources?: Exported[] | null } };
    try {
        state = JSON.parse(text) as typeof state;
    } catch {
        throw new ContainerdError("Failed", "`pulumi stack export` printed something else than JSON");
    }
    const resources = state.deployment?.resources ?? [];
    const ids = resources.flatMap(({ id }) => (typeof id === "string" ? [id] : []));
    const connected = resources.flatMap(({ type, inputs }) =>
        type === NODE && inputs?.connection !== undefined && typeof inputs.node === "string" ? [inputs.node] : [],
    );
    return { uids: new Set(ids.map((id) => id.slice(id.lastIndexOf("/") + 1))), connected };
}

const NODE = "pulumi-nodejs:dynamic/containerd:Node";

interface Exported {
    id?: unknown;
    type?: unknown;
    inputs?: { node?: unknown; connection?: unknown };
}

function pulumi({ cwd, stack }: Place, command: readonly string[]): Promise<string> {
    const args = ["--non-interactive", "--color=never", ...command, ...(stack === undefined ? [] : ["--stack", stack])];
    const what = `pulumi ${command.slice(0, 2).filter((each) => !each.startsWith("-")).join(" ")}`; // prettier-ignore
    return new Promise((resolve, reject) => {
        const done = (error: (Error & { code?: unknown; killed?: boolean }) | null, stdout: string, stderr: string) => {
            if (!error) return resolve(stdout);
            if (error.code === "ENOENT") {
                const reason = `${what} cannot be run: is pulumi on PATH, and ${cwd} a folder?`;
                return reject(new ContainerdError("NotFound", reason, { cause: error }));
            }
            // Its stdout may hold secrets, and so may the error's message.
            const reason = error.killed
                ? `did not end within ${TIMEOUT / 1000} s`
                : stderr.replace(/^error: /, "").trim();
            reject(new ContainerdError("Failed", `${what}: ${reason || "failed without a word"}`));
        };
        execFile("pulumi", args, { cwd, timeout: TIMEOUT, maxBuffer: LONGEST_OUTPUT }, done);
    });
}
