/**
 * Whether the key that a host presents is the host's: by known_hosts, or by a key pinned in the stack's config. Never accepted
 * blindly. Pure but for the files that it is given.
 */
import path from "node:path";
import type { ServerHostKeyAlgorithm } from "ssh2";
import { ContainerdError } from "../../errors";
import { shellQuote } from "../../node/shell";
import { type Origin, pinning } from "./advice";
import { findKnownHost, fingerprint, keyType, knownHostName, type KnownHostLine } from "./known-hosts";
import { parsePinnedKey, type PinnedKey } from "./pinned-key";
import type { SshHost } from "./ssh-config";
import type { SshFiles } from "./ssh-files";

/** What became of the comparison. `name` is the host's in known_hosts, `presented` the fingerprint of the key that it presents. */
export type HostKeyVerdict =
    | { kind: "ok" }
    | ({ name: string; presented: string } & (
          | { /** Nothing is known of the host. */ kind: "unknown"; line: string; file: string | undefined }
          | { /** Only a certificate authority is known for it. */ kind: "authority"; known: KnownHostLine }
          | { /** Other keys are known for it. */ kind: "changed"; known: KnownHostLine[] }
          | { /** Another key is pinned for it. */ kind: "unpinned"; pinned: string }
          | { /** The key is known to be in wrong hands. */ kind: "revoked"; known: KnownHostLine }
      ));

/** What is known of one host. */
export interface HostKeyPolicy {
    /**
     * What to ask for, in order: first the types of which a key is known (ssh2's `algorithms.serverHostKey`). All the others too:
     * a host that lost the known key shall be told as one whose key has changed, not as one that speaks no common algorithm.
     */
    readonly algorithms: ServerHostKeyAlgorithm[];
    /** Compares a key, as the host presents it (ssh2's `hostVerifier`). See {@link hostKeyError}. */
    verify(key: Buffer): HostKeyVerdict;
}

/** What is asked of a host's settings. */
export type HostKeySubject = Pick<
    SshHost,
    "hostname" | "port" | "hostKeyAlias" | "userKnownHostsFiles" | "globalKnownHostsFiles"
>;

/** What a host key's type is called in the handshake: RSA keys sign with SHA-2 (RFC 8332), not with SHA-1. */
const ALGORITHMS: Readonly<Record<string, ServerHostKeyAlgorithm[]>> = {
    "ssh-ed25519": ["ssh-ed25519"],
    "ecdsa-sha2-nistp256": ["ecdsa-sha2-nistp256"],
    "ecdsa-sha2-nistp384": ["ecdsa-sha2-nistp384"],
    "ecdsa-sha2-nistp521": ["ecdsa-sha2-nistp521"],
    "ssh-rsa": ["rsa-sha2-512", "rsa-sha2-256"],
};

/**
 * What is known of a host.
 *
 * Throws `Invalid` for a pinned key that cannot be read, or a known_hosts file that is there and cannot be read.
 *
 * @param pinned `hostKey` of the stack's config: then known_hosts is not asked.
 */
export function hostKeyPolicy(host: HostKeySubject, files: Pick<SshFiles, "read">, pinned?: string): HostKeyPolicy {
    const name = knownHostName(host.hostname, host.port, host.hostKeyAlias);
    if (pinned !== undefined) {
        const pin = parsePinnedKey(pinned, "hostKey");
        return {
            algorithms: knownKeyTypes(pin.type === undefined ? [] : [pin.type]),
            verify: (key) => comparePinned(key, name, pin),
        };
    }
    const texts = [...host.userKnownHostsFiles, ...host.globalKnownHostsFiles].map((path) => ({
        path,
        text: files.read(path) ?? "",
    }));
    const lines = findKnownHost(texts, name);
    // A host that is known without its port: as with OpenSSH, its key counts on any port, but no other is said to have changed.
    const bare = host.hostKeyAlias === undefined && host.port !== 22 ? knownHostName(host.hostname, 22) : undefined;
    const portless = bare === undefined ? [] : findKnownHost(texts, bare);
    // The usual way of those who switch checks off: nothing can be added to it.
    const file = host.userKnownHostsFiles.find((path) => path !== "/dev/null");
    return {
        algorithms: knownKeyTypes(
            [...lines, ...portless].filter(({ marker }) => marker === undefined).map(({ type }) => type),
        ),
        verify: (key) => compareKnown(key, name, lines, portless, file),
    };
}

/** All algorithms, those of these types first. */
export function knownKeyTypes(types: readonly string[]): ServerHostKeyAlgorithm[] {
    return [...new Set([...types, ...Object.keys(ALGORITHMS)])].flatMap((type) =>
        Object.hasOwn(ALGORITHMS, type) ? ALGORITHMS[type]! : [],
    );
}

function comparePinned(key: Buffer, name: string, pin: PinnedKey): HostKeyVerdict {
    const presented = fingerprint(key);
    if (presented === pin.fingerprint) return { kind: "ok" };
    return { kind: "unpinned", name, presented, pinned: pin.fingerprint };
}

function compareKnown(
    key: Buffer,
    name: string,
    lines: readonly KnownHostLine[],
    portless: readonly KnownHostLine[],
    file: string | undefined,
): HostKeyVerdict {
    const presented = fingerprint(key);
    const same = ({ key: known }: KnownHostLine) => known.equals(key);
    const revoked = [...lines, ...portless].find((line) => line.marker === "revoked" && same(line));
    if (revoked) return { kind: "revoked", name, presented, known: revoked };
    const trusted = lines.filter(({ marker }) => marker === undefined);
    if ([...trusted, ...portless.filter(({ marker }) => marker === undefined)].some(same)) return { kind: "ok" };
    // Also when only a key of another type is known: the host was asked for that one first, and does not have it.
    if (trusted.length > 0) return { kind: "changed", name, presented, known: trusted };
    const authority = lines.find(({ marker }) => marker === "cert-authority");
    if (authority) return { kind: "authority", name, presented, known: authority };
    return { kind: "unknown", name, presented, line: `${name} ${keyType(key)} ${key.toString("base64")}`, file };
}

/**
 * Why a host is not believed, as `Unauthorized` or `Unsupported`; `undefined` when it is.
 *
 * @param origin where a key of it is pinned. Default: in the stack's config.
 */
export function hostKeyError(
    verdict: HostKeyVerdict,
    node: string,
    origin: Origin = "config",
): ContainerdError | undefined {
    if (verdict.kind === "ok") return undefined;
    const { name, presented } = verdict;
    const error = (reason: string) => new ContainerdError("Unauthorized", reason, { node });
    switch (verdict.kind) {
        case "unknown": {
            const { line, file } = verdict;
            const type = line.split(" ")[1]!;
            return error(
                `the host key of ${name} is not known, so nothing was sent to it. It presents ${presented} (${type}). Compare that with ` +
                    `what the node itself says (on its console: \`for f in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $f; done\`). ` +
                    (file === undefined
                        ? "If it is the same, pin it: "
                        : `If it is the same, add this line to ${file}:\n${line}\nby\n${adding(line, file)}\nor pin it: `) +
                    pinning(node, presented, origin),
            );
        }
        case "changed": {
            const { known } = verdict;
            const lines = known.map((line) => `${fingerprint(line.key)} (${line.type}, ${line.file}:${line.line})`);
            const forget = [...new Set(known.map(({ file }) => file))].map(
                (file) => `ssh-keygen -R ${shellQuote(name)} -f ${shellQuote(file)}`,
            );
            return error(
                `THE HOST KEY OF ${name} HAS CHANGED, and the connection was refused. Someone may be standing in between and posing as this ` +
                    `machine; or it was installed anew. It presents ${presented}, known is ${lines.join(", ")}. Only if you know why it ` +
                    `changed, and the node's console shows the new fingerprint: ${forget.join("; ")}, and add the new key`,
            );
        }
        case "unpinned":
            return error(
                `THE HOST KEY OF ${name} IS NOT THE PINNED ONE, and the connection was refused. Someone may be standing in between and posing ` +
                    `as this machine; or it was installed anew; or another of its keys was pinned. It presents ${presented}, pinned ` +
                    `is ${verdict.pinned} (${origin === "config" ? `containerd:nodes.${node}` : "connection"}.hostKey). Pin another only after the node's console shows it`,
            );
        case "revoked": {
            const { known } = verdict;
            return error(
                `THE HOST KEY OF ${name} IS REVOKED (${known.file}:${known.line}), and the connection was refused. It presents ${presented}: ` +
                    "whoever answers there has a key that was declared stolen or lost",
            );
        }
        case "authority": {
            const { known } = verdict;
            return new ContainerdError(
                "Unsupported",
                `${name} is known only by a certificate authority (@cert-authority, ${known.file}:${known.line}), and host certificates cannot ` +
                    `be checked here. It presents the key ${presented}: compare it on the node's console, then pin it: ` +
                    pinning(node, presented, origin),
                { node },
            );
        }
    }
}

/** The command that adds a line to known_hosts, also where there is no ~/.ssh yet. */
function adding(line: string, file: string): string {
    return `mkdir -p -m 700 ${shellQuote(path.dirname(file))} && echo ${shellQuote(line)} >> ${shellQuote(file)}`;
}
