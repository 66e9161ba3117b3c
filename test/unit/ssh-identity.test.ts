/** Keys that are none, of kinds that cannot be used, or damaged. Those that work are tried against sshd. */
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { utils } from "ssh2";
import { ContainerdError, type ErrorCode, hasCode } from "../../provider/errors";
import { readIdentity, readPublicKey } from "../../provider/transport/ssh/identity";

const PASSPHRASE = "open sesame";
const plain = generated();
const locked = generated({ passphrase: PASSPHRASE, cipher: "aes256-ctr", rounds: 1 });

/** About one in a thousand of the keys that ssh2 makes is one that it cannot read; of those of ssh-keygen, none is. */
function generated(locked?: { passphrase: string; cipher: "aes256-ctr"; rounds: number }) {
    for (;;) {
        const pair = utils.generateKeyPairSync("ed25519", locked ?? {});
        if (!(utils.parseKey(pair.private, locked?.passphrase) instanceof Error)) return pair;
    }
}

/** The key with some bytes of what its base64 says replaced. */
function damaged(key: string, at: number, bytes: Uint8Array): string {
    const lines = key.trim().split("\n");
    const data = Buffer.from(lines.slice(1, -1).join(""), "base64");
    Buffer.from(bytes).copy(data, at % data.length);
    return [lines[0], data.toString("base64").replace(/.{70}/g, "$&\n"), lines.at(-1)].join("\n");
}

function refuses(text: string, code: ErrorCode, said: RegExp, passphrase?: string): void {
    assert.throws(
        () => readIdentity(text, "the key k", passphrase),
        (thrown) => {
            assert.ok(hasCode(thrown, code), String(thrown));
            assert.match(thrown.message, /^the key k /);
            assert.match(thrown.message, said);
            return true;
        },
    );
}

describe("a private key", () => {
    it("is read, with its passphrase or without", () => {
        const read = readIdentity(plain.private, "k");
        assert.ok(read.kind === "private" && read.key.isPrivateKey());
        const unlocked = readIdentity(locked.private, "k", PASSPHRASE);
        assert.ok(unlocked.kind === "private");
        assert.deepEqual(unlocked.key.getPublicSSH(), readPublicKey(locked.public));
        assert.equal(readIdentity(plain.private, "k", "a passphrase that it does not need").kind, "private");
    });

    it("that is locked tells its public half", () => {
        assert.deepEqual(readIdentity(locked.private, "k"), {
            kind: "locked",
            publicKey: readPublicKey(locked.public),
        });
    });

    it("that is public is told from a private one", () => {
        assert.equal(readIdentity(plain.public, "k").kind, "public");
    });

    it("with another passphrase, also after it was opened", () => {
        readIdentity(locked.private, "the key k", PASSPHRASE);
        refuses(locked.private, "Unauthorized", /does not open with the passphrase given/, `${PASSPHRASE} `);
    });

    it("with carriage returns, and blanks around it", () => {
        assert.equal(readIdentity(`\r\n ${plain.private.replaceAll("\n", "\r\n")}\r\n`, "k").kind, "private");
    });

    it("of a kind that cannot be used", () => {
        const { privateKey } = generateKeyPairSync("ed25519");
        refuses(privateKey.export({ type: "pkcs8", format: "pem" }).toString(), "Unsupported", /privateKeyOpenssh/);
        refuses("PuTTY-User-Key-File-3: ssh-ed25519\n", "Unsupported", /puttygen/);
        const token = damaged(plain.private, 15 + 4 + 4 + 4 + 4 + 4 + 4 + 4 + 4, Buffer.from("sk-"));
        refuses(token, "Unsupported", /hardware token/);
    });

    it("that takes for ever to open", () => {
        // Its number of rounds follows the salt of 16 bytes: 15 (magic), 14 (cipher), 10 (bcrypt), 4, 4 + 16.
        refuses(
            damaged(locked.private, 63, Buffer.from([0x7f, 0, 0, 0])),
            "Unsupported",
            /rounds of bcrypt/,
            PASSPHRASE,
        );
    });

    it("whose numbers make no key", () => {
        const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
        const text = privateKey.export({ type: "pkcs1", format: "pem" }).toString();
        // The beginning of the modulus: 4 bytes of a sequence, 3 of the version, 3 of an integer's head, and its sign.
        refuses(damaged(text, 11, Buffer.from([0, 0])), "Invalid", /damaged|cannot be read/);
    });

    it("that is none", () => {
        refuses("", "Invalid", /is empty/);
        refuses("junk", "Invalid", /not a private key/);
        refuses("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "Invalid", /not a private key/);
        refuses("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----", "Invalid", /damaged/);
        refuses("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----", "Invalid", /damaged/);
    });

    it("of any bytes is read, or refused by an error without them", () => {
        const rsa = generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey.export({
            type: "pkcs1",
            format: "pem",
        });
        const texts = fc.oneof(
            fc
                .tuple(
                    fc.constantFrom(plain.private, locked.private, rsa.toString()),
                    fc.nat(),
                    fc.uint8Array({ maxLength: 6 }),
                )
                .map(([key, at, bytes]) => damaged(key, at, bytes)),
            fc
                .tuple(fc.constantFrom("OPENSSH ", "RSA ", "EC ", "", "ENCRYPTED "), fc.base64String())
                .map(([kind, data]) => `-----BEGIN ${kind}PRIVATE KEY-----\n${data}\n-----END ${kind}PRIVATE KEY-----`),
            fc.string({ unit: "binary" }),
        );
        fc.assert(
            fc.property(texts, fc.constantFrom(undefined, PASSPHRASE), (text, passphrase) => {
                try {
                    readIdentity(text, "the key k", passphrase);
                } catch (thrown) {
                    assert.ok(thrown instanceof ContainerdError, String(thrown));
                    const body = text.split("\n")[1] ?? "";
                    assert.ok(body.length < 20 || !`${thrown.message}${String(thrown.cause)}`.includes(body));
                }
            }),
            { numRuns: 300 },
        );
    });
});
