/** Nodes and registries that are not there, not all of the time, or full: what is said, what is left, what the next run does. */
import assert from "node:assert/strict";
import path from "node:path";
import { environment, type ContainerdVersion } from "../../playground/environment";
import type { UpdateResult } from "../../playground/engine";
import { bigImage } from "../../playground/images";
import type { Census } from "../helpers/census";
import { skip } from "../helpers/skip";
import { signalContainerd } from "./processes";
import { Scene } from "./scene";
import { TcpCutter } from "./tcp-cutter";

/** Bytes of an image that is too large for the small disk. */
const BIG = 24_000_000;

const LONG = process.env.TEST_LONG === "1";
const BOTH: ContainerdVersion[] = ["1.6", "2"];
/** `npm test` takes one of the two, which its seed decides; `kills.test.ts` the other one. */
const VERSIONS = LONG ? BOTH : BOTH.filter((_, index) => Number(process.env.TEST_SEED ?? 1) % 2 !== index);

for (const version of VERSIONS) {
    describe(`faults: nodes and registries, containerd ${version}`, function () {
        this.timeout(180_000);
        let scene: Scene;
        let empty: Census;
        before(async function () {
            if (!environment().containerd[version]) skip(this, `containerd ${version} is not installed`);
            scene = await Scene.start(version);
            await scene.direct();
            // A disk of the node's own, whose size the tests can change.
            await scene.worker.stopContainerd();
            await scene.worker.run("mount -t tmpfs -o size=512m tmpfs /var/lib/containerd");
            await scene.worker.startContainerd();
            empty = await scene.census();
        });
        after(() => scene?.stop());

        it("counts nothing as deleted while containerd does not answer", async () => {
            assertDone(await scene.run("up"));
            const before = await scene.census();
            await scene.worker.stopContainerd();
            try {
                const destroy = await scene.run("destroy");
                assert.notEqual(destroy.code, 0);
                assert.match(errorsOf(destroy), /node worker: .*containerd/);
                const refresh = await scene.stack.refresh();
                assert.equal(refresh.code, 0, refresh.stderr);
                assert.deepEqual(refresh.changes, [], "a refresh drops what it cannot see");
                const warnings = refresh.diagnostics.filter(({ severity }) => severity === "warning");
                assert.match(warnings.map(({ message }) => message).join("\n"), /kept as last known.*node worker/);
                const update = await scene.run("update");
                assert.notEqual(update.code, 0);
                assert.match(errorsOf(update), /node worker: .*containerd/);
            } finally {
                await scene.worker.startContainerd();
            }
            await scene.expectCensus(before, "after containerd was away");
            assertDone(await scene.run("destroy"));
            await scene.expectCensus(empty, "after destroy");
        });

        it("deletes what somebody has removed by hand already", async () => {
            assertDone(await scene.run("up"));
            await scene.worker.run(`
                for id in $(ctr containers ls -q); do ctr containers label "$id" containerd.io/restart.status=; done
                for id in $(ctr tasks ls -q); do ctr tasks rm -f "$id"; done
                for id in $(ctr containers ls -q); do ctr containers rm "$id"; done
                ctr images rm --sync $(ctr images ls -q)
                rm -rf /var/lib/pulumi-containerd/*`);
            assertDone(await scene.run("destroy"));
            await scene.expectCensus(empty, "after destroy");
        });

        it("gives up a containerd that hangs", async function () {
            if (!LONG) skip(this, "waits for deadlines of half a minute: npm run test:long");
            assertDone(await scene.run("up"));
            signalContainerd(path.join(scene.worker.dir, "config.toml"), "SIGSTOP");
            try {
                const destroy = await scene.run("destroy");
                assert.notEqual(destroy.code, 0);
                assert.match(errorsOf(destroy), /node worker: .*did not answer within/);
            } finally {
                signalContainerd(path.join(scene.worker.dir, "config.toml"), "SIGCONT");
            }
            assertDone(await scene.run("destroy"));
            await scene.expectCensus(empty, "after destroy");
        });

        it("says that the disk is full, leaves nothing on it, and goes on when there is room", async () => {
            const reference = await scene.registry.push(await bigImage({ layers: 3, bytes: BIG }), "big:1");
            const used = Number(await scene.worker.run("df -k --output=used /var/lib/containerd | tail -n 1"));
            // Enough for the blobs, too little for the blobs and what they unpack to; then too little for the blobs.
            for (const room of [BIG * 1.5, BIG / 2]) {
                await resize(scene, used * 1024 + room);
                const up = await deploy(scene, reference);
                assert.notEqual(up.code, 0);
                assert.match(errorsOf(up), /node worker: .*no space left/);
                await resize(scene, 512 << 20);
                await scene.expectCensus(empty, `after an up with ${room} bytes of room`);
            }
            assertDone(await deploy(scene, reference));
            assertDone(await scene.stack.destroy());
            await scene.expectCensus(empty, "after destroy");
        });

        it("says that the registry is gone in the middle of a pull, and goes on when it is back", async () => {
            const { registry } = scene;
            await registry.push(await bigImage({ layers: 3, bytes: BIG }), "big:1");
            const cutter = await TcpCutter.listen(registry.port);
            try {
                const reference = `127.0.0.1:${cutter.port}/big:1`;
                cutter.cutAfter(BIG / 2);
                const up = await deploy(scene, reference);
                assert.notEqual(up.code, 0);
                assert.match(errorsOf(up), new RegExp(`127\\.0\\.0\\.1:${cutter.port}`));
                await scene.expectCensus(empty, "after the pull that was cut");
                cutter.mend();
                assertDone(await deploy(scene, reference));
                assertDone(await scene.stack.destroy());
                await scene.expectCensus(empty, "after destroy");
            } finally {
                await cutter.close();
            }
        });
    });
}

/** `up` of a program with one Container of this image. */
async function deploy(scene: Scene, reference: string): Promise<UpdateResult> {
    await scene.stack.write({
        "index.js": `
            const containerd = require("pulumi-containerd");
            const image = new containerd.Image("big", { ref: ${JSON.stringify(reference)} });
            new containerd.Container("big", { image, network: "none" });`,
    });
    return scene.stack.up();
}

async function resize(scene: Scene, bytes: number): Promise<void> {
    await scene.worker.run('mount -o "remount,size=$1" /var/lib/containerd', String(Math.round(bytes)));
}

function errorsOf({ diagnostics }: UpdateResult): string {
    return diagnostics
        .filter(({ severity }) => severity === "error")
        .map(({ message }) => message.trim())
        .join("\n");
}

function assertDone(result: UpdateResult): void {
    assert.equal(result.code, 0, errorsOf(result) || result.stderr);
}
