/** A host key that the stack's config pins (`hostKey`): read, and compared with what a host presents. Pure. */
import { ContainerdError } from "../../errors";
import { fingerprint, keyType, parseKeyBlob, parseKnownHost } from "./known-hosts";

/** The one key that a host may have. */
export interface PinnedKey {
    /** `SHA256:…`. */
    fingerprint: string;
    /** Its type, where the config says it: then that one is asked for. */
    type: string | undefined;
}

/** What `ssh-keygen -l` calls the types. */
const SHORT_TYPES: Readonly<Record<string, string>> = {
    ED25519: "ssh-ed25519",
    RSA: "ssh-rsa",
};

/**
 * Reads a pinned key: `SHA256:…`, a public key (`ssh-ed25519 AAAA…`), a line of known_hosts, or of `ssh-keygen -l`.
 * Throws `Invalid` with a sentence.
 */
export function parsePinnedKey(text: string, property?: string): PinnedKey {
    const words = text.trim().split(/\s+/);
    const wrong = (reason: string) => new ContainerdError("Invalid", reason, { property });
    if (words.some((word) => /^MD5:|^([0-9a-f]{2}:){15}[0-9a-f]{2}$/i.test(word))) {
        throw wrong(
            "is an MD5 fingerprint, of which another key can be made: give the SHA256 one (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the node)",
        );
    }
    if (words[0]?.startsWith("@")) {
        throw wrong(`is a line with ${words[0]}: pin the host's own key`);
    }
    const print = words.find((word) => word.startsWith("SHA256:"));
    if (print !== undefined) {
        const said = print.replace(/=+$/, "");
        if (!/^SHA256:[A-Za-z0-9+/]{43}$/.test(said)) {
            throw wrong(`${print} is not a whole SHA256 fingerprint: it has 43 characters after the colon`);
        }
        const short = /^\(([A-Z0-9]+)\)$/.exec(words.at(-1)!)?.[1];
        const bits = words[0];
        return {
            fingerprint: said,
            type: short === "ECDSA" ? `ecdsa-sha2-nistp${bits}` : short && SHORT_TYPES[short],
        };
    }
    // A public key, as in a .pub file; else with the host's names before it.
    const key = words.length > 1 && parseKeyBlob(words[0]!, words[1]!);
    const blob = key || parseKnownHost(text.trim())?.key;
    if (!blob || text.trim().includes("\n")) {
        throw wrong(
            "is not a host key: give its fingerprint (SHA256:…), the key (ssh-ed25519 AAAA…), or one line of known_hosts",
        );
    }
    return { fingerprint: fingerprint(blob), type: keyType(blob) };
}
