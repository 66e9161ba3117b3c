/**
 * A container that crashes all the time is started again by containerd's restart monitor at any moment, also while it is
 * being removed: no process may come back without its container.
 */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { environment, type ContainerdVersion } from "../../playground/environment";
import { type Registry, startRegistry } from "../../playground/registry";
import { startWorker, type Worker } from "../../playground/worker";
import { NODE, runOn } from "../bench/provider";
import { type Census, census } from "../helpers/census";
import { makeContainer, makeTask } from "../helpers/direct";
import { skip } from "../helpers/skip";
import { pushImages } from "./program";
import { random } from "./random";

const ROUNDS = process.env.TEST_LONG === "1" ? 100 : 12;
const SEED = Number(process.env.TEST_SEED ?? 1);
/** The monitor looks very often, so that the removal meets it. */
const INTERVAL = "50ms";

for (const version of ["1.6", "2"] satisfies ContainerdVersion[]) {
    describe(`faults: removal against the restart monitor, containerd ${version}`, function () {
        this.timeout(600_000);
        let registry: Registry;
        let worker: Worker;
        let image: string;
        let empty: Census;
        before(async function () {
            if (!environment().containerd[version]) skip(this, `containerd ${version} is not installed`);
            registry = await startRegistry();
            image = (await pushImages(registry)).base;
            worker = await startWorker({ version, restartInterval: INTERVAL });
            empty = await census(worker);
        });
        after(async () => {
            await worker?.stop();
            await registry?.stop();
        });

        it(`leaves no process behind, ${ROUNDS} times (TEST_SEED=${SEED})`, async () => {
            const next = random(SEED);
            for (let round = 0; round < ROUNDS; round++) {
                const run = runOn(worker);
                const made = await makeContainer(run, image, "sleep 0.05; exit 1");
                // Whether it crashes before `create` has seen it run is up to chance, as it is for users.
                const started = await makeTask(run, made).catch(() => undefined);
                await sleep(next() * 400);
                await started?.remove();
                await made.remove();
                const listed = (await worker.ctr("tasks", "ls", "-q")).trim();
                assert.equal(listed, "", `round ${round}: a process is left without its container`);
                await (await run.client(NODE, "default")).close();
            }
            // What was being started while it was removed shows later.
            await sleep(2_000);
            assert.deepEqual(await census(worker), empty);
        });
    });
}
