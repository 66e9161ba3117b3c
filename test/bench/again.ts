/** Rows: how soon a published page answers again, asked for from outside: after a kill beside Docker's, and after a boot. */
import { stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Registry } from "../../playground/registry";
import type { Worker } from "../../playground/worker";
import { byLongest, interleaved, runs, type Line } from "./measure";
import { answer, dockerOn, HTTPD, published } from "./page";
import { busyboxOn } from "./workbench";

const KILL_RUNS = runs(10);
/** Of the restart monitor, in milliseconds. */
const INTERVAL = 1000;
const KILL_LIMIT = INTERVAL + 500;
/** Docker waits longer each time, unless the container ran for ten seconds. */
const SETTLED = 11_000;

const BOOT_RUNS = runs(5);
const BOOT_LIMIT = 1500;

/** From `kill -9` of the process to its page. `ours` and `peer` have a network in common, and the second one gets Docker. */
export async function killed([ours, peer]: readonly Worker[], registry: Registry): Promise<Line> {
    const { pinned } = await busyboxOn(ours!, registry);
    const docker = await dockerOn(peer!);
    const args = [...HTTPD, "80"];
    const made = await published(ours!, { image: pinned, name: "page", ports: ["8080:80"], args });
    try {
        await docker.run("run", "-d", "--name", "page", "--restart", "always", "-p", "8080:80", "busybox:1", ...args);
        const again = async (worker: Worker) => {
            const port = await worker.forward(8080);
            await answer(port);
            await sleep(SETTLED + Math.random() * INTERVAL);
            await worker.run("pkill -KILL -x httpd");
            const start = performance.now();
            await answer(port);
            return performance.now() - start;
        };
        const measures = { ours: () => again(ours!), docker: () => again(peer!) };
        const samples = await interleaved(KILL_RUNS, measures, { warmUp: false });
        return byLongest(
            {
                what: "kill -9 to answering again",
                against: "the longest; beside it Docker's --restart always",
                limit: KILL_LIMIT,
                note: `containerd's restart monitor looks every ${INTERVAL} ms.`,
            },
            samples.ours,
            samples.docker,
        );
    } finally {
        await docker.run("rm", "--force", "page");
        await made.remove();
    }
}

/** From containerd's start after a power loss to the page; the interval of the restart monitor is the worker's. */
export async function booted(worker: Worker, registry: Registry, interval: string): Promise<Line> {
    const { pinned } = await busyboxOn(worker, registry);
    const made = await published(worker, { image: pinned, name: "page", ports: ["8080:80"], args: [...HTTPD, "80"] });
    const samples: number[] = [];
    try {
        for (let round = 0; round < BOOT_RUNS; round++) {
            const port = await worker.forward(8080);
            await answer(port);
            await worker.kill();
            // It may answer before all else of the machine is ready.
            const [answered] = await Promise.all([answer(port).then(() => Date.now()), worker.boot()]);
            // Written by the shell that becomes containerd.
            const { mtimeMs } = await stat(path.join(worker.dir, "run/containerd.pid"));
            samples.push(answered - mtimeMs);
        }
    } finally {
        await made.remove();
    }
    return byLongest(
        {
            what: `boot to answering again, interval ${interval}, on containerd ${worker.version}`,
            against: "from containerd's start, the longest",
            limit: BOOT_LIMIT,
        },
        samples,
    );
}
