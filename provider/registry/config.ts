/**
 * Where images of a registry are looked for: the stack config `containerd:registries`, with mirrors, certificates and
 * credentials by registry. Pure.
 */
import * as v from "valibot";
import { BlockList, isIPv4, isIPv6 } from "node:net";
import { ContainerdError } from "../errors";

/** How one registry, or one mirror, is reached. */
export interface RegistryConfig {
    /**
     * Asked first, in this order: `host`, `host:port`, or an URL whose path is put in front of the repository
     * (`https://proxy.example/docker-hub`). A mirror has its own entry in {@link RegistriesConfig} for its own credentials;
     * it never gets those of the registry that it mirrors.
     */
    mirrors?: string[];
    /** Allows plain HTTP, and TLS with a certificate that nobody vouches for. Default: only for loopback, plain HTTP. */
    insecure?: boolean;
    /** Certificates (PEM) that vouch for this registry's, in place of the system's. */
    ca?: string;
    username?: string;
    /** Password or access token. A secret. */
    password?: string;
}

/** By registry, as it stands in references: `docker.io`, `registry.example:5000`. */
export type RegistriesConfig = Record<string, RegistryConfig>;

const schema = v.record(
    v.string(),
    v.strictObject({
        mirrors: v.optional(v.array(v.string())),
        insecure: v.optional(v.boolean()),
        ca: v.optional(v.string()),
        username: v.optional(v.string()),
        password: v.optional(v.string()),
    }),
);

/**
 * Reads what stands in the stack config. Throws `Invalid` with the path of what is wrong; values are never shown.
 *
 * @param property what the config is called in messages
 */
export function parseRegistries(value: unknown, property = "config containerd:registries"): RegistriesConfig {
    const result = v.safeParse(schema, value);
    if (!result.success) {
        const [issue] = result.issues;
        const path = (issue.path ?? []).map(({ key }) => (typeof key === "number" ? `[${key}]` : `["${String(key)}"]`));
        const reason =
            issue.expected === "never"
                ? "there is no such option: mirrors, insecure, ca, username and password are"
                : `${issue.expected ?? "something else"} is expected`;
        throw new ContainerdError("Invalid", reason, { property: property + path.join("") });
    }
    assertRegistries(result.output, property);
    return result.output;
}

/**
 * Throws `Invalid` for what is no registry, no mirror, or half of a login, with its path. Values are never shown.
 *
 * @param property what the config is called in messages
 */
export function assertRegistries(registries: RegistriesConfig, property = "config containerd:registries"): void {
    for (const [host, { mirrors = [], username, password }] of Object.entries(registries)) {
        const at = `${property}["${host}"]`;
        if (!isHost(host))
            throw new ContainerdError("Invalid", "a registry is a host or host:port, without a path", { property: at });
        if ((username === undefined) !== (password === undefined))
            throw new ContainerdError("Invalid", "username and password go together", { property: at });
        for (const [i, mirror] of mirrors.entries()) {
            try {
                parseMirror(mirror);
            } catch (error) {
                throw ContainerdError.from(error, { property: `${at}.mirrors[${i}]` });
            }
        }
    }
}

/** The same config with these credentials for one registry. Its mirrors don't get them. */
export function withCredentials(
    registries: RegistriesConfig,
    registry: string,
    credentials: { username: string; password: string },
): RegistriesConfig {
    const { username, password } = credentials;
    return { ...registries, [registry]: { ...registries[registry], username, password } };
}

/** One server that may hold an image. */
export interface Endpoint {
    /** Host and port: the key of its credentials, tokens and config. */
    host: string;
    /** Only where the config says it; else `https`, for loopback and insecure ones whichever answers. */
    scheme?: "http" | "https";
    /** Put in front of the repository; empty, or ends with a slash. */
    prefix: string;
    /** The registry whose images it mirrors. */
    mirrorOf?: string;
}

/** Where images of a registry are looked for, in order: its mirrors, then itself. */
export function endpointsOf(registry: string, registries: RegistriesConfig): Endpoint[] {
    const mirrors = (registries[registry]?.mirrors ?? []).map((text) => ({ ...parseMirror(text), mirrorOf: registry }));
    return [...mirrors, { host: registry, prefix: "" }];
}

function parseMirror(text: string): Endpoint {
    const wrong = new ContainerdError(
        "Invalid",
        "a mirror is host, host:port or http(s)://host:port/path, nothing else",
    );
    if (!text.includes("://")) {
        if (!isHost(text)) throw wrong;
        return { host: text, prefix: "" };
    }
    let url: URL;
    try {
        url = new URL(text);
    } catch {
        throw wrong;
    }
    if (!/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash) throw wrong;
    const path = url.pathname.replace(/^\/(?:v2(?:\/|$))?/, "").replace(/\/$/, "");
    return { host: url.host, scheme: url.protocol === "http:" ? "http" : "https", prefix: path ? `${path}/` : "" };
}

function isHost(text: string): boolean {
    return /^(?:[A-Za-z0-9.-]+|\[[A-Fa-f0-9:.]+\])(?::[0-9]{1,5})?$/.test(text);
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Whether a host (with or without a port) is this machine's loopback, by its name alone. */
export function isLoopback(host: string): boolean {
    const name = host.replace(/:[0-9]+$/, "").replace(/^\[(.*)\]$/, "$1");
    if (isIPv4(name)) return loopback.check(name, "ipv4");
    if (isIPv6(name)) return loopback.check(name, "ipv6");
    return name === "localhost" || name.endsWith(".localhost");
}
