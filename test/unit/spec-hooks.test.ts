/** The hook that refuses starts: that every container has it, what it lets pass, and how its words are found again. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { READY_MARK, refusal } from "../../provider/node/gate.sh";
import type { SpecContext } from "../../provider/spec/context";
import { HOOKS, withHooks } from "../../provider/spec/hooks";
import type { Spec } from "../../provider/spec/types";

describe("spec: hooks", () => {
    let bundle: string;
    beforeEach(() => (bundle = mkdtempSync(join(tmpdir(), "hook-bundle-"))));
    afterEach(() => rmSync(bundle, { recursive: true }));

    /** Runs the hook as runc does, but with nothing in PATH: it is to start no process. */
    function run(): { status: number | null; stdout: string; stderr: string } {
        const [hook] = HOOKS.createRuntime ?? [];
        assert.ok(hook);
        return spawnSync(hook.path, hook.args?.slice(1) ?? [], {
            cwd: bundle,
            env: { PATH: "" },
            // It does not read the state; a pipe could be closed before it is written.
            stdio: ["ignore", "pipe", "pipe"],
            encoding: "utf8",
        });
    }

    it("are in every spec but that of a terminal, with a time limit and a PATH", () => {
        const spec = withHooks({} as Spec, { inputs: {} } as SpecContext);
        assert.deepEqual(spec.hooks, HOOKS);
        assert.deepEqual(withHooks({} as Spec, { inputs: { tty: true } } as SpecContext), {});
        for (const { path, timeout, env } of spec.hooks?.createRuntime ?? []) {
            assert.ok(path.startsWith("/") && timeout && env?.some((one) => one.startsWith("PATH=/")));
        }
    });

    it("let pass what has the mark, without a word", () => {
        writeFileSync(join(bundle, READY_MARK), "");
        assert.deepEqual(
            { ...run(), pid: 0, signal: null, output: null },
            {
                status: 0,
                stdout: "",
                stderr: "",
                pid: 0,
                signal: null,
                output: null,
            },
        );
    });

    it("refuse what has none, also where the logger gave no reason", () => {
        const { status, stdout, stderr } = run();
        assert.equal(status, 1);
        assert.equal(stdout, "");
        assert.match(refusal(stderr) ?? "", /logger did not say that it is ready/);
    });

    it("say the reason as it is, its first line only", () => {
        const line = fc
            .string({ unit: "grapheme-ascii", minLength: 1 })
            .filter((text) => text.trim() === text && !text.endsWith(": unknown"));
        const nasty = fc.constantFrom("$(id)", "`id`", "a\\nb\\c", "%s %d", "it's", '"', "-n", "é", "a: unknown b");
        fc.assert(
            fc.property(fc.oneof(line, nasty), (reason) => {
                writeFileSync(join(bundle, "refused"), `${reason}\nsecond\n`);
                const { status, stderr } = run();
                assert.equal(status, 1);
                assert.equal(refusal(stderr), reason);
            }),
            { numRuns: 50 },
        );
    });
});

describe("refusal", () => {
    const runc =
        "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: " +
        "error during container init: error running hook #0: error running hook: exit status 1, stdout: , stderr: ";
    const rows: [said: string, reason: string | undefined][] = [
        [`${runc}pulumi-containerd refuses the start: no bridge br0: unknown`, "no bridge br0"], // containerd 1.6
        [`${runc}pulumi-containerd refuses the start: no bridge br0`, "no bridge br0"], // containerd 2
        [`${runc}pulumi-containerd refuses the start: no bridge br0\n: unknown`, "no bridge br0"],
        [`${runc}pulumi-containerd refuses the start: lost: unknown: unknown`, "lost"],
        [`${runc}another hook's words: unknown`, undefined],
        ["", undefined],
    ];
    for (const [said, reason] of rows) {
        it(`${JSON.stringify(said.replace(runc, "…"))}: ${reason ?? "not the gate's"}`, () => {
            assert.equal(refusal(said), reason);
        });
    }
});
