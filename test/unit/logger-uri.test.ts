/**
 * What containerd gets of our logger: the URI, the annotation that it fetches the script from, and the quoting of data in
 * it. The shell and the tools are real, containerd isn't needed.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { containerFolder, logFile, NODE_FOLDER } from "../../provider/node/folders";
import { LOG_URI, loggerAnnotations, logUri, policyIn, SCRIPT_ANNOTATION } from "../../provider/node/log-uri";
import { shellQuote } from "../../provider/node/shell";
import { hasCode } from "../../provider/errors";

const log = { driver: "file", maxSize: 1000, maxFiles: 3 } as const;

describe("shellQuote", () => {
    it("is one word with the same bytes in a shell", () => {
        const words = fc.array(
            fc.string({ unit: "binary" }).map((s) => s.replaceAll("\0", "").replace(/\p{Surrogate}/gu, "")),
        );
        const nasty = fc.array(
            fc
                .array(
                    fc.constantFrom("'", '"', "\\", "$", "`", "\n", "$(id)", "${HOME}", " ", "*", "!", ";", "é", "\r"),
                )
                .map((parts) => parts.join("")),
        );
        fc.assert(
            fc.property(fc.oneof(words, nasty), (list) => {
                const script = `for w in ${list.map(shellQuote).join(" ")}; do printf '%s\\0' "$w"; done`;
                const printed = execFileSync("sh", ["-c", script], { encoding: "utf8" });
                assert.deepEqual(printed.split("\0").slice(0, -1), list);
            }),
        );
    });

    it("refuses what a shell can't hold", () => {
        assert.throws(
            () => shellQuote("a\0b"),
            (e) => hasCode(e, "Invalid"),
        );
    });
});

describe("LOG_URI", () => {
    it("fits into a label of containerd together with the label's key", () => {
        assert.ok(Buffer.byteLength("containerd.io/restart.loguri" + LOG_URI) < 4096);
    });

    it("has one parameter, since containerd hands them on in no order", () => {
        const query = [...new URL(LOG_URI).searchParams];
        assert.equal(query.length, 1);
        assert.equal(query[0]?.[0], "-c");
        // Go's parser drops parameters with a bare semicolon
        assert.doesNotMatch(LOG_URI, /[;\s"<>\\^`{|}]/);
    });

    it("is the one that stands in the labels of containers that run since the first release", () => {
        assert.equal(
            createHash("sha256").update(LOG_URI).digest("hex"),
            "8fe9ffa553d4ca5faf4b780bee4e6ee79583217b010d01b0e754689b2cda8d51",
        );
    });
});

describe("logUri", () => {
    const rows: [start: Parameters<typeof logUri>[0], begins: string, policy: string | undefined][] = [
        [{}, "PATH=", undefined],
        [{ fresh: true }, "fresh=1; PATH=", undefined],
        [{ policy: "on-failure:3" }, "policy=on-failure:3; PATH=", "on-failure:3"],
        [{ fresh: true, policy: "on-failure:0" }, "fresh=1; policy=on-failure:0; PATH=", "on-failure:0"],
    ];
    for (const [start, begins, policy] of rows) {
        it(`tells ${JSON.stringify(start)}, and can be read again`, () => {
            const uri = logUri(start);
            assert.ok(Buffer.byteLength("containerd.io/restart.loguri" + uri) < 4096);
            assert.ok(new URL(uri).searchParams.get("-c")?.startsWith(begins));
            assert.equal(policyIn(uri), policy);
        });
    }

    it("reads no policy in what is not ours", () => {
        for (const uri of [
            undefined,
            "",
            "file:///policy%3Don-failure%3A1%3B%20",
            "binary:///x?-c=y",
            "binary:///bin/sh?-c=echo%20policy%3Don-failure%3A1%3B%20",
        ]) {
            assert.equal(policyIn(uri), undefined);
        }
    });

    it("refuses what is no policy for the gate", () => {
        for (const policy of ["", "always", "on-failure", "on-failure:-1", "on-failure:1; id", "on-failure:1\n"]) {
            assert.throws(
                () => logUri({ policy }),
                (e) => hasCode(e, "Invalid"),
            );
        }
    });
});

describe("the bootstrap in LOG_URI", () => {
    const bootstrap = new URL(LOG_URI).searchParams.get("-c") ?? "";
    let bundle: string;
    beforeEach(() => (bundle = mkdtempSync(join(tmpdir(), "logger-bundle-"))));
    afterEach(() => rmSync(bundle, { recursive: true }));

    /** Runs the bootstrap on a spec as the shim would, and gives what the script prints. */
    function run(spec: object): string {
        writeFileSync(join(bundle, "config.json"), JSON.stringify(spec));
        const command = `exec 3</dev/null 4</dev/null 5>/dev/null; exec sh -c "$1"`;
        return execFileSync("sh", ["-c", command, "sh", bootstrap], { cwd: bundle, env: {}, encoding: "utf8" });
    }
    const script = (text: string) => ({ [SCRIPT_ANNOTATION]: Buffer.from(text).toString("base64") });
    const right = script("printf right");
    const wrong = script("printf wrong")[SCRIPT_ANNOTATION];
    const text = `"${SCRIPT_ANNOTATION}":"${wrong}"`;
    const hostile = [
        text,
        `,${text},`,
        `{${text}}`,
        `\n${text}\n`,
        `\\${text}`,
        `\\\\,${text}`,
        JSON.stringify({ annotations: script("printf wrong") }),
        `",${text},"`,
        `\\",${text}`,
        `","annotations":{${text}},"x":"`,
        `,\u0000{${text}`,
        "é,{\ud800",
    ];

    it("finds the script wherever it stands", () => {
        assert.equal(run({ annotations: right }), "right");
        assert.equal(run({ annotations: { a: "x", ...right, b: "y" }, process: { env: [] } }), "right");
        assert.equal(run({ process: { args: ["sh"] }, annotations: { a: "x", ...right } }), "right");
    });

    for (const prefix of ["", "."]) {
        it(`finds it in the new bundle, where its own folder is removed${prefix && ", renamed before"}`, () => {
            const folder = join(bundle, `it's a bundle`);
            const config = join(bundle, "config.json");
            mkdirSync(folder);
            writeFileSync(config, JSON.stringify({ annotations: right }));
            const command = `cd "$2"; [ "$2" = "$3" ] || mv "$2" "$3"; rmdir "$3"; mkdir "$2"; mv "$4" "$2"
                exec 3</dev/null 4</dev/null 5>/dev/null; exec sh -c "$1"`;
            const args = [bootstrap, folder, join(bundle, `${prefix}it's a bundle`), config];
            const said = execFileSync("sh", ["-c", command, "sh", ...args], {
                env: {},
                encoding: "utf8",
                stdio: ["ignore", "pipe", "ignore"], // the shell complains of its folder, as it should
            });
            assert.equal(said, "right");
        });
    }

    for (const value of hostile) {
        it(`doesn't take ${JSON.stringify(value)} for it`, () => {
            const process = { args: [value, value], env: [`A=${value}`, value], cwd: value };
            const annotations = { [`a${value}`]: value, [value]: value };
            assert.equal(run({ process, annotations: { ...annotations, ...right }, hostname: value }), "right");
            assert.equal(run({ annotations: { ...right, ...annotations }, process, hostname: value }), "right");
            assert.equal(run({ process, annotations }), "");
        });
    }

    it("doesn't take anything made of such pieces for it", () => {
        const piece = fc.constantFrom(
            '"',
            "\\",
            ",",
            "{",
            "}",
            ":",
            "\n",
            SCRIPT_ANNOTATION,
            wrong ?? "",
            text,
            "\0",
            "é",
        );
        const strings = fc.array(
            fc.array(piece, { maxLength: 12 }).map((parts) => parts.join("")),
            { minLength: 1, maxLength: 20 },
        );
        fc.assert(
            fc.property(strings, fc.boolean(), (values, first) => {
                const others = Object.fromEntries(values.filter((v) => v !== SCRIPT_ANNOTATION).map((v) => [v, v]));
                const annotations = first ? { ...right, ...others } : { ...others, ...right };
                const process = { env: values, args: values };
                assert.equal(run(first ? { annotations, process } : { process, annotations }), "right");
            }),
            { numRuns: 50 },
        );
    });

    it("runs with the real script, which takes hostile settings as data", () => {
        const folder = join(bundle, `it's "$(touch pwned)"; \`x\`\n*`);
        assert.equal(run({ annotations: loggerAnnotations({ folder, log }) }), "");
        const found = execFileSync("find", [".", "-print0"], { cwd: bundle, encoding: "utf8" }).split("\0");
        assert.ok(
            found.some((path) => path.endsWith("*/log/container.log")),
            found.join("\n"),
        );
        assert.ok(!found.some((path) => path.endsWith("/pwned")));
        assert.ok(found.includes("./ensured"));
    });
});

describe("loggerAnnotations", () => {
    it("is the same for the same inputs and holds nothing that JSON would escape", () => {
        const inputs = { folder: containerFolder("default", "web"), log };
        assert.deepEqual(loggerAnnotations(inputs), loggerAnnotations(inputs));
        for (const [key, value] of Object.entries(loggerAnnotations(inputs))) {
            assert.equal(JSON.stringify({ [key]: value }), `{"${key}":"${value}"}`);
            assert.match(value, /^[A-Za-z0-9+/]+=*$/);
        }
    });
});

describe("containerFolder", () => {
    it("is below our folder", () => {
        assert.equal(containerFolder("default", "web-1.a_b"), `${NODE_FOLDER}/web-1.a_b@default`);
        assert.equal(logFile(containerFolder("n", "c")), `${NODE_FOLDER}/c@n/log/container.log`);
    });

    for (const name of ["", ".", "..", "a/b", "-a", "a-", "a..b", "a b", "ä", "a\n", "a".repeat(77)]) {
        it(`refuses ${JSON.stringify(name)}`, () => {
            assert.throws(
                () => containerFolder("default", name),
                (e) => hasCode(e, "Invalid") && e.property === "name",
            );
            assert.throws(
                () => containerFolder(name, "web"),
                (e) => hasCode(e, "Invalid") && e.property === "namespace",
            );
        });
    }
});
