/**
 * Reads private keys: OpenSSH's format and PEM (PKCS#1, SEC 1, PKCS#8), ed25519, ecdsa and rsa, plain or with a passphrase.
 * No I/O. No message has a part of a key or passphrase in it.
 */
import { createHash, createPrivateKey, type KeyObject } from "node:crypto";
import { utils, type ParsedKey } from "ssh2";
import { ContainerdError } from "../../errors";
import { parseKeyBlob } from "./known-hosts";

/**
 * A passphrase is made slow to guess by rounds of bcrypt, and ssh2's take 40 ms each, in which this process does nothing else.
 * ssh-keygen takes 16 or 24 of them unless told otherwise (`-a`).
 */
const MAX_ROUNDS = 256;

/** Keys that were opened, by a hash of what they were opened from: many nodes share one, which takes a second to open. */
const opened = new Map<string, ParsedKey>();

/** What a text is. */
export type Identity =
    | { kind: "private"; key: ParsedKey }
    /** A private key whose passphrase is not given. OpenSSH's format tells the public half all the same. */
    | { kind: "locked"; publicKey: Buffer | undefined }
    /** A public key: an agent may have the other half. */
    | { kind: "public"; publicKey: Buffer };

/**
 * Reads a key.
 *
 * Throws `Unauthorized` for a wrong passphrase, `Unsupported` for a kind of key that cannot be used here, `Invalid` for what is
 * no key.
 *
 * @param what the key's name for messages, like `the key ~/.ssh/id_ed25519`.
 */
export function readIdentity(text: string, what: string, passphrase?: string): Identity {
    const body = text.trim();
    const publicKey = readPublicKey(body);
    if (publicKey) return { kind: "public", publicKey };
    if (body.startsWith("-----BEGIN OPENSSH PRIVATE KEY-----")) return readOpenssh(body, what, passphrase);
    if (/^-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----|^-----BEGIN EC PARAMETERS-----/.test(body)) {
        return readPem(body, what, passphrase);
    }
    if (body.startsWith("PuTTY-User-Key-File")) {
        throw new ContainerdError(
            "Unsupported",
            `${what} is PuTTY's: convert it by \`puttygen KEY.ppk -O private-openssh-new -o KEY\``,
        );
    }
    const rest = body === "" ? "is empty" : "is not a private key (it begins neither as OpenSSH's nor as a PEM one)";
    throw new ContainerdError("Invalid", `${what} ${rest}`);
}

/** The key in a line like `ssh-ed25519 AAAA… comment` (a `.pub` file); `undefined` if it is none. */
export function readPublicKey(text: string): Buffer | undefined {
    const [type, encoded] = text.trim().split(/\s+/, 2);
    return type && encoded ? parseKeyBlob(type, encoded) : undefined;
}

interface OpensshHeader {
    publicKey: Buffer;
    type: string;
    locked: boolean;
    rounds: number;
}

/** What lies unencrypted before the private key (PROTOCOL.key of OpenSSH). */
function readOpensshHeader(body: string): OpensshHeader | undefined {
    const data = Buffer.from(body.replace(/-----[^-]+-----/g, ""), "base64");
    const magic = Buffer.from("openssh-key-v1\0");
    if (!data.subarray(0, magic.length).equals(magic)) return undefined;
    let at = magic.length;
    const next = (): Buffer | undefined => {
        if (at + 4 > data.length) return undefined;
        const length = data.readUInt32BE(at);
        if (at + 4 + length > data.length) return undefined;
        at += 4 + length;
        return data.subarray(at - length, at);
    };
    const cipher = next()?.toString("latin1");
    next(); // The key derivation's name: bcrypt is the only one.
    const derivation = next(); // A salt, and the number of rounds.
    at += 4; // How many keys follow: always one.
    const publicKey = next();
    if (cipher === undefined || derivation === undefined || publicKey === undefined || publicKey.length < 4)
        return undefined;
    const type = publicKey.toString("latin1", 4, 4 + Math.min(publicKey.readUInt32BE(0), 64));
    const rounds = derivation.length < 4 ? 0 : derivation.readUInt32BE(derivation.length - 4);
    return { publicKey, type, locked: cipher !== "none", rounds };
}

function readOpenssh(body: string, what: string, passphrase: string | undefined): Identity {
    const header = readOpensshHeader(body);
    if (!header)
        throw new ContainerdError("Invalid", `${what} is damaged: no key in OpenSSH's format can be read from it`);
    const { publicKey, type, locked, rounds } = header;
    if (type.startsWith("sk-")) {
        throw new ContainerdError(
            "Unsupported",
            `${what} is one of a hardware token (${type}), which cannot be used here: make one by \`ssh-keygen -t ed25519\``,
        );
    }
    if (!locked) return { kind: "private", key: parse(body, what) };
    if (!passphrase) return { kind: "locked", publicKey };
    if (rounds > MAX_ROUNDS) {
        throw new ContainerdError(
            "Unsupported",
            `${what} takes ${rounds} rounds of bcrypt to open, and more than ${MAX_ROUNDS} would hold up everything: put it into an ` +
                `agent (ssh-add), or lock it anew with fewer (ssh-keygen -p -a ${MAX_ROUNDS})`,
        );
    }
    const hash = createHash("sha256")
        .update(JSON.stringify([body, passphrase]))
        .digest("hex");
    const key = opened.get(hash) ?? parse(body, what, passphrase);
    opened.set(hash, key);
    return { kind: "private", key };
}

function readPem(body: string, what: string, passphrase: string | undefined): Identity {
    let key: KeyObject;
    try {
        key = createPrivateKey({ key: body, format: "pem", passphrase });
    } catch (thrown) {
        const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
        const locked = /ENCRYPTED/.test(body.slice(0, 200));
        if (code === "ERR_MISSING_PASSPHRASE" || (locked && !passphrase))
            return { kind: "locked", publicKey: undefined };
        throw locked
            ? wrongPassphrase(what)
            : new ContainerdError("Invalid", `${what} is damaged: no PEM key can be read`);
    }
    const type = key.asymmetricKeyType;
    if (type !== "rsa" && type !== "ec") {
        throw new ContainerdError(
            "Unsupported",
            `${what} is of the type ${type} in PEM form: give it in OpenSSH's form (of a tls.PrivateKey, that is ` +
                "`privateKeyOpenssh`), or make one by `ssh-keygen -t ed25519`",
        );
    }
    let text: string;
    try {
        // The forms that ssh2 knows.
        text = key.export({ type: type === "rsa" ? "pkcs1" : "sec1", format: "pem" }).toString();
    } catch {
        // Of some damaged keys OpenSSL notices only now that they are.
        throw new ContainerdError("Invalid", `${what} is damaged: its numbers do not make a key`);
    }
    return { kind: "private", key: parse(text, what) };
}

function parse(text: string, what: string, passphrase?: string): ParsedKey {
    const parsed = parsedBySsh2(text, passphrase);
    // The package's messages name no secret, but speak of formats only; what they come to is one of two things.
    if (parsed instanceof Error) {
        if (passphrase !== undefined) throw wrongPassphrase(what);
        throw new ContainerdError("Invalid", `${what} cannot be read: ${parsed.message}`);
    }
    const key = Array.isArray(parsed) ? parsed[0] : parsed;
    if (!key?.isPrivateKey()) throw new ContainerdError("Invalid", `${what} is not a private key`);
    return key;
}

/** It returns errors, and throws some all the same. */
function parsedBySsh2(text: string, passphrase?: string): ParsedKey | ParsedKey[] | Error {
    try {
        return utils.parseKey(text, passphrase);
    } catch (thrown) {
        return thrown instanceof Error ? thrown : new Error("it is damaged");
    }
}

function wrongPassphrase(what: string): ContainerdError {
    return new ContainerdError("Unauthorized", `${what} does not open with the passphrase given`);
}
