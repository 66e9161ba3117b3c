/** Containers that want everything get what the node has, and no more: seen from inside, on both versions. */
import assert from "node:assert/strict";
import { Stack } from "../../playground/engine";
import { busyboxImage } from "../../playground/images";
import { startWorker, type Worker } from "../../playground/worker";
import { census } from "../helpers/census";

for (const version of ["1.6", "2"] as const) {
    describe(`privileged containers on containerd ${version}`, function () {
        this.timeout(180_000);
        let worker: Worker;
        let stack: Stack;
        before(async () => (worker = await startWorker({ version })));
        after(async () => {
            await stack?.remove();
            await worker?.stop();
        });

        it("have the node's capabilities and devices, or those that are asked for", async () => {
            const empty = await census(worker);
            const look = `["sh", "-c", "grep CapEff /proc/self/status; ls -l /dev; sleep 1000"]`;
            stack = await Stack.create({
                program: `
                    const containerd = require("pulumi-containerd");
                    const image = new containerd.Image("busybox", { ref: "busybox:test", layout: ${JSON.stringify((await busyboxImage()).dir)} });
                    const run = (name, args) => {
                        const container = new containerd.Container(name, { name, image, network: "none", args: ${look}, ...args });
                        new containerd.Task(name, { container });
                    };
                    run("privileged", { privileged: true });
                    run("all", { capabilities: { add: ["ALL"], drop: ["MKNOD"] } });
                    run("plain", {});`,
                config: { "containerd:nodes": { here: { socket: worker.address } }, "containerd:node": "here" },
            });
            const up = await stack.up();
            assert.equal(up.code, 0, up.stdout + up.stderr);
            const seen = async (name: string) => {
                const log = await worker.run(`cat "/var/lib/pulumi-containerd/$1@default/log/container.log"`, name);
                return { log, mask: BigInt(`0x${/CapEff:\s*([0-9a-f]+)/.exec(log)?.[1] ?? "0"}`) };
            };
            const nodes = BigInt(`0x${(await worker.run("grep CapPrm /proc/1/status | cut -f2")).trim()}`);
            const mknod = 1n << 27n;
            assert.equal((await seen("privileged")).mask, nodes);
            assert.equal((await seen("all")).mask, nodes & ~mknod);
            assert.equal((await seen("plain")).mask, 0xa80425fbn);
            const device = (await worker.run("find /dev -xdev -type b | head -n 1")).trim();
            if (device) {
                assert.ok((await seen("privileged")).log.includes(` ${device.slice("/dev/".length)}\n`), device);
                assert.ok(!(await seen("plain")).log.includes(` ${device.slice("/dev/".length)}\n`), device);
            }
            const refresh = await stack.refresh(["--expect-no-changes"]);
            assert.equal(refresh.code, 0, refresh.stdout);
            const destroy = await stack.destroy();
            assert.equal(destroy.code, 0, destroy.stdout + destroy.stderr);
            assert.deepEqual(await census(worker), empty);
        });
    });
}
