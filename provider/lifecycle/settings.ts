/** The stack's config under `containerd:`, read and validated. Pure. */
import { isAbsolute } from "node:path";
import { closest, distance } from "fastest-levenshtein";
import { ContainerdError } from "../errors";
import { parseRegistries, type RegistriesConfig } from "../registry/config";
import { type ConnectionSettings, DEFAULT_SOCKET, SECRET_SETTINGS } from "../transport/ssh/settings";
import { capacityArgument, connectionArguments, secretArguments } from "./check/connection";
import * as s from "./check/schema";
import { validate } from "./check/validate";
import { identifierProblem } from "./names";

/** How one node is reached, and what it is. Without `host`, and with a `socket`, it is this machine. */
export interface NodeSettings extends Partial<ConnectionSettings> {
    labels?: Record<string, string>;
    capacity?: { cpus?: number; memory?: number };
    /** Where others reach the node. Default: `host`; of this machine, its loopback. */
    publicAddress?: string;
    /** A resource on a node that does not answer may be deleted from the state all the same. */
    deleteUnreachable?: boolean;
}

/** The stack's config, defaults filled in. */
export interface Settings {
    nodes: Record<string, NodeSettings>;
    /** Whether ssh_config has a `Host` of that name. */
    isSshHost: (name: string) => boolean;
    /** `containerd:node`. */
    defaultNode: string | undefined;
    /** `containerd:namespace`, else `default`. */
    defaultNamespace: string;
    registries: RegistriesConfig;
    /** `containerd:cache`: of blobs that nodes do not pull by themselves. */
    cache?: CacheSettings;
}

/** A cache on the disk of the machine that runs Pulumi. */
export interface CacheSettings {
    /** Bytes; 0 turns it off. Default: 10 GiB. */
    size?: number;
    /** An absolute path. Default: `$XDG_CACHE_HOME/pulumi-containerd/blobs`, else `~/.cache/pulumi-containerd/blobs`. */
    folder?: string;
}

/** The name of this machine where no node is configured. */
export const LOCALHOST = "localhost";

const nodesSchema = s.map(
    s.object(
        {
            ...connectionArguments,
            host: s.optional(connectionArguments.host),
            labels: s.optional(s.map(s.scalar())),
            capacity: s.optional(capacityArgument),
            publicAddress: s.optional(s.text()),
            deleteUnreachable: s.optional(s.flag()),
        },
        localProblem,
    ),
);

/** An entry with a `socket` and no `host` is this machine: what says how to reach it elsewhere would be ignored. */
function localProblem(node: Record<string, unknown>): string | undefined {
    if (node.host !== undefined || node.socket === undefined) return undefined;
    const remote = Object.keys(connectionArguments).filter((name) => name !== "socket" && node[name] !== undefined);
    if (remote.length === 0) return undefined;
    return `has a \`socket\` and no \`host\`, so it is this machine, and ${remote.join(", ")} would say nothing: add the \`host\``;
}

const cacheSchema = s.object({
    size: s.optional(s.size()),
    folder: s.optional(
        s.text("an absolute path", (folder) =>
            isAbsolute(folder) ? undefined : "must be an absolute path: Pulumi may be run from anywhere",
        ),
    ),
});

const credentialsSchema = s.map(s.object(secretArguments));

/** Reads the config; `get` gives the text of a key, as `pulumi config set` wrote it. Throws `Invalid` with the key's path. */
export function readSettings(
    get: (key: string) => string | undefined,
    isSshHost: (name: string) => boolean = () => false,
): Settings {
    const namespace = get("containerd:namespace") ?? "default";
    const problem = identifierProblem(namespace);
    if (problem) throw new ContainerdError("Invalid", problem, { property: "config containerd:namespace" });
    const cache = parse(get, "containerd:cache");
    return {
        nodes: readNodes(parse(get, "containerd:nodes") ?? {}, parse(get, "containerd:credentials") ?? {}),
        isSshHost,
        defaultNode: get("containerd:node"),
        defaultNamespace: namespace,
        registries: parseRegistries(parse(get, "containerd:registries") ?? {}, "config containerd:registries"),
        ...(cache !== undefined && { cache: validated(cacheSchema, cache, "containerd:cache") as CacheSettings }),
    };
}

function parse(get: (key: string) => string | undefined, key: string): unknown {
    const text = get(key);
    if (text === undefined) return undefined;
    try {
        return JSON.parse(text);
    } catch {
        // The parser's message repeats the text, which may hold a password.
        throw new ContainerdError(
            "Invalid",
            "is not JSON: set it by `pulumi config set --path`, or in the stack's YAML",
            {
                property: `config ${key}`,
            },
        );
    }
}

function readNodes(value: unknown, secrets: unknown): Record<string, NodeSettings> {
    const nodes = validated(nodesSchema, value, "containerd:nodes") as Record<string, NodeSettings>;
    const credentials = validated(credentialsSchema, secrets, "containerd:credentials") as typeof nodes;
    for (const name of Object.keys(nodes)) {
        const secret = SECRET_SETTINGS.find((key) => nodes[name]?.[key] !== undefined);
        if (secret) {
            throw new ContainerdError(
                "Invalid",
                `is a secret, and this config is not: set it by \`pulumi config set --secret --path containerd:credentials.${name}.${secret}\``,
                { property: `config containerd:nodes.${name}.${secret}` },
            );
        }
        nodes[name] = { ...nodes[name], ...credentials[name] };
    }
    refuseTwins(nodes);
    // Of those that ssh_config has.
    for (const name of Object.keys(credentials)) nodes[name] ??= { ...credentials[name] };
    return nodes;
}

function validated(schema: s.Schema, input: unknown, key: string): unknown {
    const { value, failures } = validate(schema, input);
    const first = failures[0];
    if (!first) return value;
    const property = `config ${key}${first.property && (first.property.startsWith("[") ? "" : ".")}${first.property}`;
    throw new ContainerdError("Invalid", first.reason, { property });
}

/** One machine under two names would be swept, claimed and filled twice. */
function refuseTwins(nodes: Record<string, NodeSettings>): void {
    const seen = new Map<string, string>();
    for (const [name, { host, port = 22, user, socket, jump }] of Object.entries(nodes)) {
        const local = host === undefined && socket !== undefined;
        const where = JSON.stringify(local ? [socket] : [host ?? name, port, user, socket ?? DEFAULT_SOCKET, jump]);
        const twin = seen.get(where);
        if (twin !== undefined) {
            throw new ContainerdError("Invalid", `is the same machine as ${twin}: give each machine one name`, {
                property: `config containerd:nodes.${name}`,
            });
        }
        seen.set(where, name);
    }
}

/**
 * The node of a resource: its own, else the stack's default, else this machine. Throws `Invalid` when nodes are configured
 * and none is named: containers must not land on the machine that happens to run Pulumi.
 */
export function chooseNode(settings: Settings, named: string | undefined): string {
    if (named !== undefined) return named;
    if (settings.defaultNode !== undefined) return settings.defaultNode;
    const names = Object.keys(settings.nodes);
    if (names.length === 0) return LOCALHOST;
    throw new ContainerdError(
        "Invalid",
        `names no node, though the stack has some (${names.join(", ")}): give the resource a \`node\`, or set a default by ` +
            "`pulumi config set containerd:node NAME`",
        { property: "node" },
    );
}

/**
 * How a node is reached: from `containerd:nodes`, else from ssh_config. Throws `NotFound` for a name that neither has, with
 * those that are spelt alike.
 */
export function nodeSettings(settings: Settings, name: string): NodeSettings {
    const found = Object.hasOwn(settings.nodes, name) ? settings.nodes[name] : undefined;
    if (found) return found.host === undefined && found.socket === undefined ? { ...found, host: name } : found;
    if (name === LOCALHOST) return { socket: DEFAULT_SOCKET };
    if (settings.isSshHost(name)) return { host: name };
    const names = Object.keys(settings.nodes);
    const near = names.length ? closest(name, names) : undefined;
    const alike = near !== undefined && distance(name, near) <= Math.max(2, name.length / 4);
    const known = names.length ? `, which has ${shortened(names)}` : ", which is empty";
    throw new ContainerdError(
        "NotFound",
        `no node ${name} in the stack config containerd:nodes${known}; nor is there a Host ${name} in ~/.ssh/config` +
            (alike ? `. Did you mean ${near}?` : ""),
        { node: name, property: "node" },
    );
}

const SHOWN = 10;

function shortened(names: string[]): string {
    const rest = names.length - SHOWN;
    return names.slice(0, SHOWN).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

/** Where others reach a node: said in the config, else its host; this machine's loopback. */
export function nodeAddress(settings: Settings, name: string): string {
    const node = nodeSettings(settings, name);
    return node.publicAddress ?? node.host ?? "127.0.0.1";
}

/** Whether what lies on a node that does not answer may be dropped from the state: by config, or by the environment for once. */
export function mayDeleteUnreachable(settings: Settings, name: string, environment = process.env): boolean {
    const named = environment[DELETE_UNREACHABLE]?.split(",").map((one) => one.trim());
    return named?.includes(name) || (settings.nodes[name]?.deleteUnreachable ?? false);
}

/** Names of nodes, by commas. */
export const DELETE_UNREACHABLE = "PULUMI_CONTAINERD_DELETE_UNREACHABLE";
