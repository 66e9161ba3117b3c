/** The playground's workers: what all other tests stand on. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import path from "node:path";
import { busyboxImage } from "../../playground/images";
import { repository } from "../../playground/environment";
import { type Registry, startRegistry } from "../../playground/registry";
import { type ContainerdVersion, openWorker, removeAbandoned, startWorker } from "../../playground/worker";
import { census } from "../helpers/census";
import { cgroupsOf } from "./playground-processes";

describe("playground: worker", () => {
    let registry: Registry;
    let reference: string;
    before(async () => {
        registry = await startRegistry();
        reference = await registry.push(await busyboxImage(), "busybox:1");
    });
    after(() => registry.stop());

    const versions: ContainerdVersion[] = ["1.6", "2"];
    for (const version of versions) {
        it(`runs containerd ${version}, which starts its containers again after a power loss`, async () => {
            const worker = await startWorker({ version });
            try {
                assert.match(await worker.run("containerd --version"), version === "2" ? / v?2\./ : / v?1\.6\./);
                const empty = await census(worker);
                await worker.ctr("image", "pull", "--plain-http", reference);
                // Labelled before it runs, the monitor might start it at the same moment.
                await worker.ctr("run", "--detach", reference, "one", "sleep", "1000");
                await worker.ctr("containers", "label", "one", "containerd.io/restart.status=running");
                const full = await census(worker);
                assert.deepEqual(full.containers, ["default one"]);
                assert.deepEqual(full.tasks, ["default one"]);
                assert.ok(full.processes.includes("sleep 1000"), full.processes.join("\n"));

                await worker.restartContainerd();
                assert.deepEqual(
                    (await census(worker)).processes,
                    full.processes,
                    "a restart of containerd ended something",
                );

                await worker.kill();
                assert.deepEqual(cgroupsOf(worker.name), []);
                await worker.boot();
                while ((await census(worker)).tasks.length === 0);
                assert.ok((await census(worker)).processes.includes("sleep 1000"));

                await worker.ctr("containers", "label", "one", "containerd.io/restart.status=");
                while ((await worker.exec("ctr", ["task", "rm", "--force", "one"])).code !== 0);
                await worker.ctr("container", "rm", "one");
                await worker.ctr("image", "rm", "--sync", reference);
                // The image's unpacking wrote nothing that stays.
                assert.deepEqual(await census(worker), empty);
            } finally {
                await worker.stop();
            }
            assert.equal(existsSync(worker.dir), false);
            assert.deepEqual(cgroupsOf(worker.name), []);
        });
    }

    it("dies with the process that started it, and the next start removes what is left", async () => {
        const script = `
            import { startWorker } from ${JSON.stringify(path.join(repository, "playground/worker.ts"))};
            startWorker({ version: "1.6" }).then((worker) => { console.log(worker.name); setInterval(() => {}, 1000); });`;
        const args = ["--import", "tsx", "--input-type=module", "--eval", script];
        const child = spawn(process.execPath, args, { cwd: repository, stdio: ["ignore", "pipe", "inherit"] });
        const lines = createInterface({ input: child.stdout });
        const name = await new Promise<string>((resolve) => lines.once("line", resolve));
        assert.ok((await openWorker(name))?.running);
        child.kill("SIGKILL");
        while ((await openWorker(name))?.running);

        // Several test files start at once, and each removes what it finds.
        await Promise.all(Array.from({ length: 5 }, () => removeAbandoned()));
        const next = await startWorker({ version: "1.6" });
        await next.stop();
        assert.equal(await openWorker(name), undefined);
        assert.deepEqual(cgroupsOf(name), []);
    });
});
