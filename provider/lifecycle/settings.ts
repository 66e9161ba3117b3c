/** The stack's config under `containerd:`, read and validated. Pure. */
import { ContainerdError } from "../errors";
import { parseRegistries, type RegistriesConfig } from "../registry/config";
import * as s from "./check/schema";
import { validate } from "./check/validate";
import { identifierProblem } from "./names";

/** How one node is reached, and what it is. */
export interface NodeSettings {
    /** Path of containerd's socket. Without `host` it is one of this machine. */
    socket?: string;
    /** A machine to reach by SSH: not in this version. */
    host?: string;
    labels?: Record<string, string>;
    /** Where others reach the node. */
    publicAddress?: string;
}

/** The stack's config, defaults filled in. */
export interface Settings {
    nodes: Record<string, NodeSettings>;
    /** `containerd:node`. */
    defaultNode: string | undefined;
    /** `containerd:namespace`, else `default`. */
    defaultNamespace: string;
    registries: RegistriesConfig;
}

/** The name of this machine where no node is configured. */
export const LOCALHOST = "localhost";
const LOCAL_SOCKET = "/run/containerd/containerd.sock";

const nodesSchema = s.map(
    s.object(
        {
            socket: s.optional(s.text("an absolute path", absolute)),
            host: s.optional(s.text()),
            port: s.optional(s.number({ min: 1, max: 65535 })),
            user: s.optional(s.text()),
            labels: s.optional(s.map(s.scalar())),
            publicAddress: s.optional(s.text()),
        },
        (node) => (node.socket || node.host ? undefined : "needs a `socket` (on this machine) or a `host`"),
    ),
);

function absolute(path: string): string | undefined {
    return path.startsWith("/") ? undefined : "must be an absolute path";
}

/** Reads the config; `get` gives the text of a key, as `pulumi config set` wrote it. Throws `Invalid` with the key's path. */
export function readSettings(get: (key: string) => string | undefined): Settings {
    const namespace = get("containerd:namespace") ?? "default";
    const problem = identifierProblem(namespace);
    if (problem) throw new ContainerdError("Invalid", problem, { property: "config containerd:namespace" });
    return {
        nodes: readNodes(parse(get, "containerd:nodes") ?? {}),
        defaultNode: get("containerd:node"),
        defaultNamespace: namespace,
        registries: parseRegistries(parse(get, "containerd:registries") ?? {}, "config containerd:registries"),
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

function readNodes(value: unknown): Record<string, NodeSettings> {
    const { value: nodes, failures } = validate(nodesSchema, value);
    const first = failures[0];
    if (!first) return nodes as Record<string, NodeSettings>;
    const property = `config containerd:nodes${first.property && `.${first.property}`}`;
    throw new ContainerdError("Invalid", first.reason, { property });
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

/** How a node is reached. Throws `NotFound` for a name that the config does not have. */
export function nodeSettings(settings: Settings, name: string): NodeSettings {
    const found = Object.hasOwn(settings.nodes, name) ? settings.nodes[name] : undefined;
    if (found) return found;
    if (name === LOCALHOST) return { socket: LOCAL_SOCKET };
    const names = Object.keys(settings.nodes);
    throw new ContainerdError(
        "NotFound",
        `no node ${name} in the stack config containerd:nodes` +
            (names.length ? `, which has ${names.join(", ")}` : ", which is empty"),
        { node: name, property: "node" },
    );
}

/** Where others reach a node: said in the config, else this machine's loopback. */
export function nodeAddress(settings: Settings, name: string): string {
    const node = nodeSettings(settings, name);
    return node.publicAddress ?? node.host ?? "127.0.0.1";
}
