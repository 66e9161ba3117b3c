/**
 * What is needed to log in at one machine, once all settings are looked up: the node's own first, then ssh_config, then
 * OpenSSH's defaults.
 */
import { createHash } from "node:crypto";
import { ContainerdError } from "../../errors";
import type { Origin } from "./advice";
import type { Authentication } from "./auth";
import { type HostKeyPolicy, hostKeyPolicy } from "./host-key";
import type { ConnectionSettings } from "./settings";
import { resolveJumps, resolveSshHost, type SshHost } from "./ssh-config";
import type { SshFiles } from "./ssh-files";

const CONNECT_TIMEOUT = 15;
/** Between a firewall's forgetting of silent connections and needless packets; OpenSSH itself never asks by default. */
const KEEPALIVE_INTERVAL = 15;

/** A machine that takes SSH connections. */
export interface SshTarget {
    /** The node's name, or that of the machine on the way to it, for messages. */
    node: string;
    /** Where it stands how it is reached. */
    origin: Origin;
    host: string;
    port: number;
    user: string;
    family: 4 | 6 | undefined;
    /** Milliseconds until a connection has to stand. */
    connectTimeout: number;
    /** Milliseconds of silence after which the other side is asked whether it is there. */
    keepaliveInterval: number;
    /** How many such questions may stay without an answer. */
    keepaliveCountMax: number;
    hostKey: HostKeyPolicy;
    /** Ways to log in. Throws where a key cannot be read. */
    authentication(): Promise<Authentication>;
    /** Equal for targets that can share a connection. */
    key: string;
}

/** What is said about other nodes, which may be on the way to one. */
export type Lookup = (name: string) => ConnectionSettings | undefined;

/**
 * The machines to log in at, in this order: those on the way, and the node itself. A machine on the way that is a node itself is
 * reached as that node is. Throws `Invalid`, `Unsupported`.
 *
 * @param origin where `settings` stand, for messages.
 */
export function resolveTargets(
    node: string,
    settings: ConnectionSettings,
    files: SshFiles,
    lookup: Lookup,
    origin: Origin = "config",
    from: readonly string[] = [],
): SshTarget[] {
    const { host, port, user, jump, hostKey } = settings;
    if (from.includes(node)) {
        const loop = [...from, node].join(" -> ");
        throw new ContainerdError("Invalid", `the way leads back to itself: ${loop}`, { node, property: "jump" });
    }
    const found = resolveSshHost(host, files, { user, port, jump });
    const way = resolveJumps(found, files).flatMap((each) => {
        const known = lookup(each.name);
        if (known) return resolveTargets(each.name, known, files, lookup, "config", [...from, node]);
        return [targetOf(each.name, "config", each, {}, undefined, files)];
    });
    const last = targetOf(node, origin, found, settings, hostKey, files);
    // Machines of one name in two networks are two machines.
    return [...way, { ...last, key: [...way.slice(-1), last].map(({ key }) => key).join(" < ") }];
}

function targetOf(
    node: string,
    origin: Origin,
    host: SshHost,
    credentials: Partial<ConnectionSettings>,
    pinned: string | undefined,
    files: SshFiles,
): SshTarget {
    const { identityFile, privateKey, passphrase, password, agent, certificate } = credentials;
    return {
        node,
        origin,
        host: host.hostname,
        port: host.port,
        user: host.user,
        family: host.family,
        connectTimeout: (host.connectTimeout ?? CONNECT_TIMEOUT) * 1000,
        keepaliveInterval: (host.serverAliveInterval || KEEPALIVE_INTERVAL) * 1000,
        keepaliveCountMax: host.serverAliveCountMax,
        hostKey: hostKeyPolicy(host, files, pinned),
        authentication: async () => {
            const { prepareAuth } = await import("./auth.js");
            const given = { identityFile, privateKey, passphrase, password, agent, certificate };
            return prepareAuth(given, host, files, node, origin);
        },
        key: JSON.stringify([node, host.user, host.hostname, host.port, pinned, credentialsOf(credentials)]),
    };
}

/** A hash, so that no secret stands where it is not used. */
function credentialsOf(settings: Partial<ConnectionSettings>): string {
    const { identityFile, privateKey, passphrase, password, agent, certificate } = settings;
    const all = JSON.stringify([identityFile, privateKey, passphrase, password, agent, certificate]);
    return createHash("sha256").update(all).digest("hex");
}
