/** Files that change while the process runs, by the real engine: seen at the same path, and told of by a signal or a command. */
import assert from "node:assert/strict";
import type { Stack } from "../../playground/stack";
import type { ContainerdVersion } from "../../playground/worker";
import { type Census, census } from "../helpers/census";
import { eventually, failed, rewrite, Scene, succeeded, told, unchanged } from "./scene";

/** Says what it reads: at its start, and on each SIGHUP. What is read by a command is said by that. */
const READER = `["sh", "-c", "trap 'echo hup $(cat /etc/app.conf)' HUP; trap 'exit 0' TERM; echo start $(cat /etc/app.conf); while :; do sleep 1 & wait; done"]`;

for (const version of ["1.6", "2"] satisfies ContainerdVersion[]) {
    describe(`files that change under a running process, containerd ${version}`, function () {
        this.timeout(300_000);
        let scene: Scene;
        let stack: Stack;
        let empty: Census;
        before(async () => {
            scene = await Scene.open(version);
            empty = await census(scene.worker);
            stack = await scene.stack("");
        });
        after(() => scene?.close());

        const program = (content: string, onChange: string, more = "") =>
            `new containerd.Task("app", { container: new containerd.Container("app", {
                image: "${scene.busybox}", network: "host", user: "1000:1000", entrypoint: ${READER},
                files: { "/etc/app.conf": { content: "${content}", onChange: ${onChange} }, "/etc/other.conf": { content: "other", onChange: "none" } },
                ${more} }) });\n`;

        async function inside(script: string): Promise<string> {
            const { app } = await scene.containers();
            const exec = `look-${Math.random().toString(36).slice(2)}`;
            return scene.worker.ctr("tasks", "exec", "--exec-id", exec, app!, "sh", "-c", script);
        }
        const log = async () => (await scene.logOf((await scene.containers())["app"]!)).trim().split("\n");
        const pid = async () => (await scene.pids())["app"];

        it("with none it is there at the same path, whole, and nothing else happens", async () => {
            await rewrite(stack, program("one", '"none"'));
            succeeded(await stack.up());
            await eventually("it starts", async () => (await log())[0] === "start one");
            const [before, inode] = [await pid(), await inside("stat -c %i /etc/app.conf /etc/other.conf")];
            await rewrite(stack, program("a longer one", '"none"'));
            const preview = succeeded(await stack.preview(["--diff"]));
            assert.deepEqual(preview.changes, ["app: update"]);
            assert.match(preview.stdout, /a longer one/);
            assert.deepEqual(succeeded(await stack.up()).changes, ["app: update"]);
            assert.equal(await inside("cat /etc/app.conf"), "a longer one");
            assert.equal(await inside("stat -c %i /etc/app.conf /etc/other.conf"), inode);
            assert.equal(await pid(), before);
            assert.deepEqual(await log(), ["start one"]);
            unchanged(await stack.up(["--expect-no-changes"]));
        });

        it("with a signal the process hears of it", async () => {
            const before = await pid();
            await rewrite(stack, program("two", '{ signal: "SIGHUP" }'));
            assert.deepEqual(succeeded(await stack.up()).changes, ["app: update"]);
            await eventually("it reads the new one", async () => (await log()).at(-1) === "hup two");
            assert.equal(await pid(), before);
            // Another way to be told is no change of the file.
            await rewrite(stack, program("two", '{ signal: "SIGUSR1" }'));
            succeeded(await stack.up());
            assert.deepEqual(await log(), ["start one", "hup two"]);
        });

        it("with a command that runs in it; its failure says why, and the next up mends it", async () => {
            const before = await pid();
            const check = `{ exec: ["sh", "-c", "id -u; grep -v bad /etc/app.conf >/proc/1/fd/1 || { echo refused: $(cat /etc/app.conf); exit 3; }"] }`;
            await rewrite(stack, program("three", check));
            succeeded(await stack.up());
            assert.equal((await log()).at(-1), "three");

            await rewrite(stack, program("bad", check));
            assert.match(
                failed(await stack.up()),
                /node here, files\["\/etc\/app\.conf"\]\.onChange\.exec: sh ended with exit status 3, so the changed files were put back as they were\. Its last lines:\s+1000\s+refused: bad/,
            );
            // A restart would not find what was refused.
            assert.equal(await inside("cat /etc/app.conf"), "three");
            assert.match(failed(await stack.up()), /refused: bad/);
            await rewrite(stack, program("good", check));
            const up = succeeded(await stack.up());
            assert.deepEqual(up.changes, ["app: update"], told(up));
            assert.equal((await log()).at(-1), "good");
            assert.equal(await pid(), before);
            unchanged(await stack.refresh(["--expect-no-changes"]));
            unchanged(await stack.up(["--expect-no-changes"]));
        });

        it("with restart the running one keeps the old file until then; labels leave files alone", async () => {
            const [before, inode] = [await pid(), await inside("stat -c %i /etc/app.conf")];
            await rewrite(stack, program("good", '"restart"', 'labels: { a: "1" }'));
            succeeded(await stack.up());
            assert.deepEqual([await pid(), await inside("stat -c %i /etc/app.conf")], [before, inode]);
            await rewrite(stack, program("last", '"restart"', 'labels: { a: "1" }'));
            succeeded(await stack.up());
            await eventually("it starts again", async () => (await log()).at(-1) === "start last");
            assert.notEqual(await pid(), before);
            assert.notEqual(await inside("stat -c %i /etc/app.conf"), inode);
            succeeded(await stack.destroy());
            await scene.holdsOnly(empty);
        });
    });
}
