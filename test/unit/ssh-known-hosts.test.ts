/** known_hosts and pinned keys: each verdict, and whatever bytes a file has. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import fc from "fast-check";
import { hasCode } from "../../provider/errors";
import { hostKeyError, hostKeyPolicy, type HostKeyVerdict } from "../../provider/transport/ssh/host-key";
import { findKnownHost, fingerprint, parseKnownHost } from "../../provider/transport/ssh/known-hosts";
import { matchesPattern, matchingPattern } from "../../provider/transport/ssh/patterns";
import { parsePinnedKey } from "../../provider/transport/ssh/pinned-key";

/** A blob in the form of a public key: what is compared is bytes. */
function blob(type: string, seed: number): Buffer {
    const part = (bytes: Buffer) => Buffer.concat([Buffer.from([0, 0, 0, bytes.length]), bytes]);
    return Buffer.concat([part(Buffer.from(type)), part(Buffer.alloc(32, seed))]);
}

const ours = blob("ssh-ed25519", 1);
const theirs = blob("ssh-ed25519", 2);
const rsa = blob("ssh-rsa", 3);
const text = (key: Buffer) => `${key.toString("latin1", 4, 4 + key[3]!)} ${key.toString("base64")}`;

function hashed(name: string): string {
    const salt = Buffer.alloc(20, 7);
    return `|1|${salt.toString("base64")}|${createHmac("sha1", salt).update(name).digest("base64")}`;
}

function policy(
    known: string,
    host: { hostname?: string; port?: number; hostKeyAlias?: string } = {},
    pinned?: string,
) {
    const { hostname = "edge-1.example.org", port = 22, hostKeyAlias } = host;
    return hostKeyPolicy(
        {
            hostname,
            port,
            hostKeyAlias,
            userKnownHostsFiles: ["/home/me/.ssh/known_hosts", "/absent"],
            globalKnownHostsFiles: ["/global"],
        },
        { read: (path) => (path === "/home/me/.ssh/known_hosts" ? known : undefined) },
        pinned,
    );
}

describe("known_hosts", () => {
    const cases: [what: string, known: string, host: Parameters<typeof policy>[1], kind: HostKeyVerdict["kind"]][] = [
        ["the name", `edge-1.example.org ${text(ours)}`, {}, "ok"],
        ["a comment after the key", `edge-1.example.org ${text(ours)} me@here`, {}, "ok"],
        ["the name in capitals", `EDGE-1.example.org ${text(ours)}`, { hostname: "Edge-1.Example.org" }, "ok"],
        ["a list", `other,edge-1.example.org,192.0.2.1 ${text(ours)}`, {}, "ok"],
        ["tabs and leading blanks", `  edge-1.example.org\t${text(ours).replace(" ", "\t")}`, {}, "ok"],
        ["carriage returns", `edge-1.example.org ${text(ours)}\r\n`, {}, "ok"],
        ["a wildcard", `*.example.org ${text(ours)}`, {}, "ok"],
        ["a wildcard without the name", `*.example.org,!edge-1.* ${text(ours)}`, {}, "unknown"],
        ["a negation before the wildcard", `!edge-1.*,*.example.org ${text(ours)}`, {}, "unknown"],
        ["a hashed name", `${hashed("edge-1.example.org")} ${text(ours)}`, {}, "ok"],
        ["a hash of another name", `${hashed("edge-2.example.org")} ${text(ours)}`, {}, "unknown"],
        ["a port", `[edge-1.example.org]:2222 ${text(ours)}`, { port: 2222 }, "ok"],
        ["a hashed name with port", `${hashed("[edge-1.example.org]:2222")} ${text(ours)}`, { port: 2222 }, "ok"],
        ["another port", `[edge-1.example.org]:2223 ${text(ours)}`, { port: 2222 }, "unknown"],
        ["a port that is not asked for", `[edge-1.example.org]:2222 ${text(ours)}`, {}, "unknown"],
        ["the same key without port", `edge-1.example.org ${text(ours)}`, { port: 2222 }, "ok"],
        ["another key without port", `edge-1.example.org ${text(theirs)}`, { port: 2222 }, "unknown"],
        ["an IPv6 address", `::1 ${text(ours)}`, { hostname: "::1" }, "ok"],
        ["an IPv6 address with port", `[::1]:2222 ${text(ours)}`, { hostname: "::1", port: 2222 }, "ok"],
        ["the alias, whatever the port", `alias ${text(ours)}`, { hostKeyAlias: "Alias", port: 2222 }, "ok"],
        ["the name where an alias is said", `edge-1.example.org ${text(ours)}`, { hostKeyAlias: "alias" }, "unknown"],
        ["another key", `edge-1.example.org ${text(theirs)}`, {}, "changed"],
        ["another and the key", `edge-1.example.org ${text(theirs)}\nedge-1.example.org ${text(ours)}`, {}, "ok"],
        ["a key of another type", `edge-1.example.org ${text(rsa)}`, {}, "changed"],
        ["revoked", `edge-1.example.org ${text(ours)}\n@revoked * ${text(ours)}`, {}, "revoked"],
        ["revoked under the bare name", `@revoked edge-1.example.org ${text(ours)}`, { port: 2222 }, "revoked"],
        ["another revoked", `@revoked * ${text(theirs)}\nedge-1.example.org ${text(ours)}`, {}, "ok"],
        ["revoked for others", `@revoked other ${text(ours)}`, {}, "unknown"],
        ["a certificate authority", `@cert-authority *.example.org ${text(theirs)}`, {}, "authority"],
        ["an authority with this very key", `@cert-authority *.example.org ${text(ours)}`, {}, "authority"],
        ["an unknown marker", `@trusted edge-1.example.org ${text(ours)}`, {}, "unknown"],
        ["a type that is not the key's", `edge-1.example.org ssh-rsa ${text(ours).split(" ")[1]}`, {}, "unknown"],
        ["a comment", `# edge-1.example.org ${text(ours)}`, {}, "unknown"],
        ["a line without a key", "edge-1.example.org ssh-ed25519", {}, "unknown"],
        ["a truncated key", `edge-1.example.org ${text(ours).slice(0, -8)}`, {}, "changed"],
        ["nothing", "", {}, "unknown"],
    ];
    for (const [what, known, host, kind] of cases) {
        it(`${what}: ${kind}`, () => assert.equal(policy(known, host).verify(ours).kind, kind));
    }

    it("asks first for the types of which a key is known, and then for all others", () => {
        const { algorithms } = policy(`edge-1.example.org ${text(rsa)}`);
        assert.deepEqual(algorithms.slice(0, 3), ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]);
        assert.equal(algorithms.length, 6);
        assert.equal(algorithms.includes("ssh-rsa"), false, "SHA-1");
        assert.equal(policy("").algorithms[0], "ssh-ed25519");
    });

    it("gives an unknown host's line such that, once added, it is known", () => {
        const verdict = policy("", { port: 2222 }).verify(ours);
        assert.ok(verdict.kind === "unknown");
        assert.equal(verdict.line, `[edge-1.example.org]:2222 ${text(ours)}`);
        assert.equal(policy(verdict.line, { port: 2222 }).verify(ours).kind, "ok");
        const error = hostKeyError(verdict, "edge-1");
        assert.equal(error?.code, "Unauthorized");
        for (const said of [fingerprint(ours), verdict.line, "/home/me/.ssh/known_hosts", "hostKey"]) {
            assert.ok(error.message.includes(said), said);
        }
    });

    it("says of a changed key where the known one is, and both fingerprints", () => {
        const error = hostKeyError(policy(`\n# two\nedge-1.example.org ${text(theirs)}`).verify(ours), "edge-1");
        assert.equal(error?.code, "Unauthorized");
        for (const said of ["HAS CHANGED", "known_hosts:3", fingerprint(ours), fingerprint(theirs), "ssh-keygen -R"]) {
            assert.ok(error.message.includes(said), said);
        }
    });

    it("says of an authority that it cannot be used", () => {
        const error = hostKeyError(policy(`@cert-authority * ${text(theirs)}`).verify(ours), "edge-1");
        assert.equal(error?.code, "Unsupported");
    });

    it("of a node with dots, and of files that take no line", () => {
        const host = { hostname: "h", port: 22, hostKeyAlias: undefined, globalKnownHostsFiles: [] };
        const nowhere = hostKeyPolicy({ ...host, userKnownHostsFiles: ["/dev/null"] }, { read: () => "" });
        const message = hostKeyError(nowhere.verify(ours), "edge.example.org")?.message ?? "";
        assert.ok(message.includes(`'containerd:nodes["edge.example.org"].hostKey' ${fingerprint(ours)}`), message);
        assert.equal(message.includes("/dev/null"), false);
    });

    it("of a Node with a `connection`: says that it is pinned there, for the config would not be asked", () => {
        for (const verdict of [policy("").verify(ours), policy(`@cert-authority * ${text(theirs)}`).verify(ours)]) {
            const message = hostKeyError(verdict, "vm", "connection")?.message ?? "";
            assert.ok(
                message.includes(`\`hostKey: "${fingerprint(ours)}"\` in the \`connection\` of the Node vm`),
                message,
            );
            assert.doesNotMatch(message, /pulumi config/);
        }
        const pinned = hostKeyPolicy(
            { hostname: "h", port: 22, hostKeyAlias: undefined, userKnownHostsFiles: [], globalKnownHostsFiles: [] },
            { read: () => undefined },
            fingerprint(theirs),
        ).verify(ours);
        assert.match(
            hostKeyError(pinned, "vm", "connection")?.message ?? "",
            /pinned is SHA256:\S+ \(connection\.hostKey\)/,
        );
    });

    it("quotes what goes into a shell", () => {
        const verdict: HostKeyVerdict = {
            kind: "unknown",
            name: "a",
            presented: "SHA256:x",
            line: "a ssh-ed25519 AAAA",
            file: "/it's here",
        };
        assert.ok(hostKeyError(verdict, "n")?.message.includes(`>> '/it'\\''s here'`));
    });
});

describe("a pinned host key", () => {
    const print = fingerprint(ours);
    for (const [what, pinned] of [
        ["a fingerprint", print],
        ["a fingerprint with padding", `${print}=`],
        ["the key", text(ours)],
        ["the key with a comment", `${text(ours)} root@edge-1`],
        ["a line of known_hosts", `edge-1,192.0.2.1 ${text(ours)}`],
        ["a hashed line", `${hashed("any")} ${text(ours)} x`],
        ["a line of ssh-keygen -l", `256 ${print} root@edge-1 (ED25519)`],
    ] as const) {
        it(`${what} is accepted, whatever known_hosts says`, () => {
            assert.equal(policy(`@revoked * ${text(ours)}`, {}, pinned).verify(ours).kind, "ok");
            assert.equal(policy(`* ${text(theirs)}`, {}, pinned).verify(theirs).kind, "unpinned");
        });
    }

    it("tells its type, where that is said", () => {
        assert.equal(parsePinnedKey(print).type, undefined);
        assert.equal(parsePinnedKey(`3072 ${print} x (RSA)`).type, "ssh-rsa");
        assert.equal(parsePinnedKey(`384 ${print} x (ECDSA)`).type, "ecdsa-sha2-nistp384");
        assert.equal(policy("", {}, text(rsa)).algorithms[0], "rsa-sha2-512");
    });

    for (const [what, pinned, said] of [
        ["MD5", "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", /MD5/],
        ["bare MD5", "16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", /MD5/],
        ["half a fingerprint", "SHA256:abcdef", /43 characters/],
        ["an authority", `@cert-authority * ${text(ours)}`, /@cert-authority/],
        ["two lines", `a ${text(ours)}\nb ${text(theirs)}`, /one line/],
        ["nothing", "", /is not a host key/],
        ["a word", "yes", /is not a host key/],
    ] as const) {
        it(`${what} is refused with a sentence`, () => {
            assert.throws(
                () => parsePinnedKey(pinned, "hostKey"),
                (thrown) => hasCode(thrown, "Invalid") && thrown.property === "hostKey" && said.test(thrown.message),
            );
        });
    }
});

describe("any bytes", () => {
    /** Pieces that make lines which are nearly right. */
    const nearly = fc
        .array(
            fc.oneof(
                fc.constantFrom(
                    "|1|",
                    "|",
                    "@revoked ",
                    "@cert-authority ",
                    "*",
                    "!",
                    ",",
                    "[",
                    "]:",
                    "\n",
                    " ",
                    "\t",
                    "#",
                ),
                fc.constantFrom(
                    "edge-1.example.org",
                    text(ours),
                    text(rsa),
                    "ssh-ed25519",
                    "AAAA",
                    "=",
                    "SHA256:",
                    "MD5:",
                ),
                fc.string({ unit: "binary", maxLength: 12 }),
            ),
            { maxLength: 30 },
        )
        .map((parts) => parts.join(""));

    it("of known_hosts make no key trusted that is not in it, and no error", () => {
        fc.assert(
            fc.property(nearly, (known) => {
                const verdict = policy(known).verify(theirs);
                assert.notEqual(verdict.kind, "ok");
                parseKnownHost(known);
            }),
            { numRuns: 500 },
        );
    });

    it("of a pinned key are read, or refused as Invalid", () => {
        fc.assert(
            fc.property(nearly, (pinned) => {
                try {
                    assert.notEqual(policy("", {}, pinned).verify(theirs).kind, "ok");
                } catch (thrown) {
                    assert.ok(hasCode(thrown, "Invalid"), String(thrown));
                }
            }),
            { numRuns: 500 },
        );
    });

    it("of a pattern match as a regular expression says", () => {
        const alphabet = fc.constantFrom("a", "b", "*", "?", ".");
        fc.assert(
            fc.property(
                fc.string({ unit: alphabet, maxLength: 8 }),
                fc.string({ unit: alphabet, maxLength: 8 }),
                (t, p) => {
                    const source = p.replaceAll(".", "\\.").replaceAll("*", ".*").replaceAll("?", ".");
                    assert.equal(matchesPattern(t, p), new RegExp(`^(?:${source})$`, "s").test(t));
                },
            ),
            { numRuns: 500 },
        );
    });

    it("of patterns take no exponential time", function () {
        this.timeout(10_000);
        // A backtracking matcher needs longer than the universe is old.
        assert.equal(matchesPattern("a".repeat(2_000), `${"*a".repeat(500)}*b`), false);
        assert.equal(matchingPattern("a".repeat(1_000), Array<string>(200).fill(`!${"*a".repeat(100)}*b`)), undefined);
        const line = `${"*a,".repeat(10_000)}*b ${text(ours)}\n`;
        assert.equal(findKnownHost([{ path: "x", text: line.repeat(10) }], "c".repeat(255)).length, 0);
        assert.equal(findKnownHost([{ path: "x", text: " ".repeat(1_000_000) }], "c").length, 0);
    });
});
