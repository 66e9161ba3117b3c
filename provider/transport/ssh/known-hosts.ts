/**
 * The lines of known_hosts that speak of a host. Source: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT; compared with `ssh-keygen -F` in
 * the tests. Pure.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { matchingPattern } from "./patterns";

/** A file's path and text. */
export interface KnownHostsFile {
    path: string;
    text: string;
}

/** A line that speaks of the host. */
export interface KnownHostLine {
    /** `@revoked`: this key is refused for it; `@cert-authority`: this key signs its keys. */
    marker: "revoked" | "cert-authority" | undefined;
    /** What `ssh-keygen` calls the type, like `ssh-ed25519`. */
    type: string;
    key: Buffer;
    file: string;
    /** From 1. */
    line: number;
}

/**
 * What a host is called in known_hosts: HostKeyAlias as it is, else the name in lower case, with the port unless that is 22.
 */
export function knownHostName(hostname: string, port: number, alias?: string): string {
    if (alias !== undefined) return alias.toLowerCase();
    const name = hostname.toLowerCase();
    return port === 22 ? name : `[${name}]:${port}`;
}

/**
 * The lines that speak of a name, in the files' order. Lines that cannot be read are passed over, as OpenSSH does: a newer
 * release's lines must not lock one out, and none of them can make a key trusted.
 *
 * @param name from {@link knownHostName}.
 */
export function findKnownHost(files: readonly KnownHostsFile[], name: string): KnownHostLine[] {
    const found: KnownHostLine[] = [];
    for (const { path, text } of files) {
        for (const [index, line] of text.split("\n").entries()) {
            const fields = parseKnownHost(line);
            if (!fields || !namesHost(fields.names, name)) continue;
            const { marker, type, key } = fields;
            found.push({ marker, type, key, file: path, line: index + 1 });
        }
    }
    return found;
}

/** The fields of a line; `undefined` for an empty one, a comment, and what cannot be read. */
export function parseKnownHost(
    line: string,
): (Pick<KnownHostLine, "marker" | "type" | "key"> & { names: string }) | undefined {
    const words = line.trim().split(/[ \t]+/, 4);
    if (words[0] === "" || words[0]!.startsWith("#")) return undefined;
    const marker = words[0]!.startsWith("@") ? words.shift()!.slice(1) : undefined;
    if (marker !== undefined && marker !== "revoked" && marker !== "cert-authority") return undefined;
    const [names, type, encoded] = words;
    if (names === undefined || type === undefined || encoded === undefined) return undefined;
    const key = parseKeyBlob(type, encoded);
    return key && { marker, names, type, key };
}

/** A public key from its base64; `undefined` unless it is one of that type. */
export function parseKeyBlob(type: string, encoded: string): Buffer | undefined {
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return undefined;
    const key = Buffer.from(encoded, "base64");
    return keyType(key) === type ? key : undefined;
}

/** The type that a public key names itself: the first string of its blob (RFC 4253, 6.6). Empty if there is none. */
export function keyType(key: Buffer): string {
    if (key.length < 4) return "";
    const length = key.readUInt32BE(0);
    // No type's name is longer; a blob that is only a name has no key in it.
    return length > 64 || key.length <= 4 + length ? "" : key.toString("latin1", 4, 4 + length);
}

/** As `ssh-keygen -l` prints it. */
export function fingerprint(key: Buffer): string {
    return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

function namesHost(names: string, name: string): boolean {
    if (names.startsWith("|")) return isHashOf(names, name);
    return matchingPattern(name, names.toLowerCase().split(",")) !== undefined;
}

/** `|1|salt|hash`, of HMAC-SHA1 (ssh-keygen -H). */
function isHashOf(hashed: string, name: string): boolean {
    const [, version, salt, hash] = hashed.split("|");
    if (version !== "1" || !salt || !hash) return false;
    const expected = createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest();
    const given = Buffer.from(hash, "base64");
    return given.length === expected.length && timingSafeEqual(given, expected);
}
