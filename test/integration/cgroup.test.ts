/**
 * What a start that was cut in the middle leaves: runc had made the control group, and containerd ended it before it had written
 * down that there is a container.
 */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { environment } from "../../playground/environment";
import { type Registry, startRegistry } from "../../playground/registry";
import { startWorker, type Worker } from "../../playground/worker";
import { Client } from "../../provider/containerd/client";
import { pod } from "../../provider/lifecycle/pod";
import { startProcess } from "../../provider/lifecycle/process";
import type { Run } from "../../provider/lifecycle/run";
import { unixTransport } from "../../provider/transport/unix";
import { ownerOf } from "../bench/page";
import { create, NODE, runOn } from "../bench/provider";
import { eventually } from "../e2e/scene";
import { pushImages } from "../faults/program";
import { random } from "../faults/random";
import { census } from "../helpers/census";
import { makeContainer } from "../helpers/direct";
import { skip } from "../helpers/skip";

const SEED = Number(process.env.TEST_SEED ?? 1);
const CUTS = 10;
/** A start takes about as long. Milliseconds. */
const START = 150;

for (const version of ["1.6", "2"] as const) {
    describe(`control groups of starts that were cut, containerd ${version}`, function () {
        this.timeout(120_000);
        let registry: Registry;
        let worker: Worker;
        let image: string;
        let run: Run;

        before(async function () {
            if (!environment().containerd[version]) skip(this, `containerd ${version} is not installed`);
            registry = await startRegistry();
            image = (await pushImages(registry)).base;
            worker = await startWorker({ version });
            run = runOn(worker);
        });
        after(async () => {
            await (await run?.client(NODE, "default"))?.close();
            await worker?.stop();
            await registry?.stop();
        });

        /** As runc makes one. */
        const plant = (group: string) =>
            worker.run(
                'if [ -e /sys/fs/cgroup/cgroup.controllers ]; then mkdir -p "/sys/fs/cgroup/$1"; else for at in /sys/fs/cgroup/*/; do mkdir -p "$at$1"; done; fi',
                group,
            );
        const groups = async () => (await census(worker)).cgroups;
        const service = () => makeContainer(run, image, "exec sleep 1000000");
        const nameOf = ({ id }: { id: string }) => id.split("/")[1] ?? "";

        it("go with their container, also with groups in them, and when somebody has removed its object", async () => {
            for (const remover of ["us", "somebody"]) {
                const made = await service();
                await plant(`default/${nameOf(made)}/within/it`);
                assert.notDeepEqual(await groups(), []);
                if (remover === "somebody") await worker.ctr("containers", "rm", nameOf(made));
                await made.remove();
                assert.deepEqual(await groups(), [], remover);
            }
        });

        it("go with their pod", async () => {
            const name = "lost";
            const containers = { one: { image, args: ["sleep", "1000000"], stop: { signal: "SIGKILL" } } };
            const args = { owner: ownerOf("Pod", name), name, network: "none", containers };
            const made = await create(run, pod, args);
            await plant(`default/${name}/${name}.other/within`);
            await made.remove();
            assert.deepEqual(await groups(), []);
        });

        it("are not removed under a process: that is an error, and the next removal succeeds", async () => {
            const made = await service();
            const group = `default/${nameOf(made)}`;
            await plant(group);
            // One hierarchy is enough to be in, and it is not one that is removed first.
            const pid = await worker.run(
                'at=/sys/fs/cgroup/pids; [ -d "$at" ] || at=/sys/fs/cgroup; sleep 1000000 >/dev/null 2>&1 & echo $! >"$at/$1/cgroup.procs"; echo $!',
                group,
            );
            try {
                const refusal = /control group \/default\/crash-.* cannot be removed: in it are the processes \d+/;
                await assert.rejects(made.remove(), refusal);
                assert.notDeepEqual(await groups(), []);
            } finally {
                await worker.run('kill -9 "$1"', pid.trim());
            }
            await made.remove();
            assert.deepEqual(await groups(), []);
        });

        it(`are gone after removal, ${CUTS} times (TEST_SEED=${SEED})`, async () => {
            const next = random(SEED);
            let cut = 0;
            for (let round = 0; round < CUTS; round++) {
                const made = await service();
                const client = await Client.connect(unixTransport("here", worker.address), "default");
                const starting = startProcess(client, nameOf(made)).catch(() => cut++);
                await sleep(next() * START);
                client.close();
                await starting;
                await made.remove();
                await eventually(`round ${round}: nothing of it runs`, async () => {
                    const { cgroups, tasks, processes } = await census(worker);
                    return [...cgroups, ...tasks, ...processes].length === 0;
                });
            }
            assert.ok(cut > 0, "no start was cut");
        });
    });
}
