/**
 * What the gate decides, by what is known of the last start. The shell is real, the files are written as it would, the clock
 * stands still.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GATE_FUNCTIONS } from "../../provider/node/gate.sh";

describe("the gate", () => {
    let folder: string;
    const boot = "this-boot.1";
    const time = 5000.25;
    const STANDING = `clock() { boot=${boot} time=${time} now=5000; }`;
    beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "gate-"))));
    afterEach(() => rmSync(folder, { recursive: true }));

    function shell(script: string, settings = ""): string {
        return execFileSync(
            "sh",
            ["-c", `folder=$1; limited() { shift; "$@"; }\n${settings}\n${GATE_FUNCTIONS}\n${script}`, "sh", folder],
            {
                cwd: folder,
                encoding: "utf8",
                env: { PATH: process.env.PATH },
            },
        );
    }
    /** What it says; "" where it lets pass. `over`: for good. */
    function ask(settings = ""): { said: string; over: boolean; starts: string } {
        const out = shell(STANDING + '\nadmit && note_start && pass; echo "over=$over"', settings);
        const said = existsSync(join(folder, "refused")) ? readFileSync(join(folder, "refused"), "utf8").trimEnd() : "";
        assert.equal(existsSync(join(folder, "ensured")), said === "", "exactly one of mark and reason");
        const starts = existsSync(join(folder, "starts")) ? readFileSync(join(folder, "starts"), "utf8") : "";
        return { said, over: out.includes("over=1"), starts };
    }
    function last(seconds: number, count: number, { failures = 0, status = "", of = boot } = {}): void {
        const run = (time - seconds).toFixed(2);
        writeFileSync(join(folder, "starts"), `${`${of} ${run} ${count} ${failures}`.padEnd(119)}\n`);
        if (status) writeFileSync(join(folder, "ended"), `${`${of}/${run} ${status}`.padEnd(119)}\n`);
    }

    it("lets the first start pass, and writes it down in a line of one length", () => {
        const { said, starts } = ask();
        assert.equal(said, "");
        assert.match(starts, /^\S+ [\d.]+ 1 0 +\n$/);
        assert.equal(starts.length, 120);
        assert.ok(starts.startsWith(`${boot} `));
    });

    const waits: [count: number, ago: number, refused: boolean][] = [
        [0, 0, false],
        [1, 0, false],
        [2, 0, false],
        [3, 0, true],
        [3, 1, false],
        [4, 1, true],
        [4, 2, false],
        [5, 3, true],
        [5, 4, false],
        [8, 31, true],
        [8, 32, false],
        [9, 59, true],
        [9, 60, false],
        [1000, 59, true],
        [1000, 60, false],
        [9, -1, false],
    ];
    for (const [count, ago, refused] of waits) {
        it(`${count} in a row, the last ${ago} s ago: ${refused ? "waits" : "starts"}`, () => {
            last(ago, count);
            const { said, over, starts } = ask();
            assert.equal(over, false);
            if (refused)
                assert.match(
                    said,
                    new RegExp(`^back off: ended ${count} times in a row .* next start in [1-9]\\d* s$`),
                );
            else assert.equal(said, "");
            assert.match(starts, new RegExp(`^\\S+ \\S+ ${refused ? count : count + 1} 0 `));
        });
    }

    it("knows the time and the boot, the same ones each time", () => {
        const line = () => shell('clock; echo "$boot $now $time"').trim();
        const [first = "", second = ""] = [line(), line()];
        assert.match(first, /^[0-9a-f-]{36}\.\d+ (\d+) \1\.\d+$/);
        assert.equal(first.split(" ")[0], second.split(" ")[0]);
    });

    it("never holds off a start of ours, which counts from nothing", () => {
        last(0, 9, { failures: 7 });
        const { said, starts } = ask("fresh=1");
        assert.equal(said, "");
        assert.match(starts, / 1 0 +\n$/);
    });

    it("starts at once after another boot", () => {
        last(0, 9, { of: "another" });
        const { said, starts } = ask();
        assert.equal(said, "");
        assert.match(starts, / 1 0 +\n$/);
    });

    it("takes a file that was not written whole for none", () => {
        for (const rest of ["", "x", `${boot} 1e9 x`, `${boot}`, `${boot} a b c d`, "\0\0\0", `${boot} 12 -3 $(id)`]) {
            writeFileSync(join(folder, "starts"), rest);
            assert.equal(ask().said, "", rest);
        }
    });

    const failures: [what: string, policy: string, known: Parameters<typeof last>, said: RegExp, over: boolean][] = [
        [
            "ended with 0",
            "on-failure:0",
            [100, 1, { status: "0" }],
            /^ended with status 0, and restarts on-failure:0 only$/,
            true,
        ],
        [
            "ended with 0, then another boot",
            "on-failure:0",
            [100, 1, { status: "0", of: "another" }],
            /^ended with/,
            true,
        ],
        ["failed, without a limit", "on-failure:0", [100, 1, { status: "3", failures: 99 }], /^$/, false],
        ["failed for the second time of 2", "on-failure:2", [100, 1, { status: "3", failures: 1 }], /^$/, false],
        [
            "failed once too often",
            "on-failure:2",
            [100, 1, { status: "3", failures: 2 }],
            /^failed 3 times, last with status 3, /,
            true,
        ],
        ["failed once too often, unseen", "on-failure:2", [100, 1, { failures: 2 }], /with status unknown/, true],
        ["cut off by power loss", "on-failure:2", [100, 1, { failures: 2, of: "another" }], /^$/, false],
        ["never came to a start", "on-failure:2", [100, 1, { status: "none", failures: 2 }], /^$/, false],
        ["failed, and crashes at once", "on-failure:0", [0, 6, { status: "1" }], /^back off/, false],
        ["ended with 0, but restarts always", "", [100, 1, { status: "0" }], /^$/, false],
    ];
    for (const [what, policy, known, says, ends] of failures) {
        it(`${policy || "always"}: ${what}`, () => {
            last(...known);
            const { said, over } = ask(`policy=${policy}`);
            assert.match(said, says);
            assert.equal(over, ends);
        });
    }

    it("counts failures on", () => {
        last(100, 1, { status: "3", failures: 1 });
        assert.match(ask("policy=on-failure:5").starts, / 2 2 +\n$/);
    });

    it("takes no notice of the status of another run", () => {
        last(100, 1, { status: "0" });
        writeFileSync(join(folder, "starts"), `${boot} 1.00 1 0\n`);
        assert.equal(ask("policy=on-failure:0").said, "");
    });

    it("refuses in one line that is text, whatever the reason", () => {
        shell(`refuse "$(printf 'a\\033[31mb\\nc\\td\\001')$(head -c 5000 /dev/zero | tr '\\0' x)"`);
        const said = readFileSync(join(folder, "refused"), "utf8");
        assert.match(said, /^a \[31mb c d x+\n$/);
        assert.equal(said.length, 401);
    });
});
