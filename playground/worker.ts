/** The workers of this machine: starts, finds and lists them, and removes what killed processes left of theirs. */
import { readdir, rm, stat } from "node:fs/promises";
import path from "node:path";
import { Switch } from "./network/switch";
import { exists, unmountBelow } from "./system";
import { WORKERS } from "./worker/registration";
import { Worker, type WorkerOptions } from "./worker/worker";

export { Worker, type ContainerdVersion, type SshdOptions, type WorkerOptions, type WorkerSsh } from "./worker/worker";

/** How old a folder must be, in milliseconds, that nobody has written down: a start may be under way. */
const UNREGISTERED_AGE = 60_000;

/** Starts a worker, after removing what killed processes left of theirs. */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
    await removeAbandoned();
    return Worker.start(options);
}

/** Finds a worker that another process started; undefined when there is none. It may be off: see `boot`. */
export function openWorker(nameOrDir: string): Promise<Worker | undefined> {
    return Worker.open(path.resolve(WORKERS, nameOrDir));
}

/** All workers of this machine below the usual folder. */
export async function listWorkers(): Promise<Worker[]> {
    const found = await Promise.all((await folders()).map((dir) => Worker.open(dir)));
    return found.filter((worker) => worker !== undefined);
}

/** Removes the workers and switches whose process has ended without doing so. Several processes may do so at once. */
export async function removeAbandoned(): Promise<void> {
    for (const worker of await listWorkers()) {
        if (await worker.abandoned) await worker.stop();
    }
    for (const dir of await folders()) {
        const hub = await Switch.open(dir);
        if (await hub?.abandoned) await hub?.stop();
        else if (!hub && (await isForgotten(dir))) {
            await unmountBelow(dir);
            await rm(dir, { recursive: true, force: true });
        }
    }
}

async function folders(): Promise<string[]> {
    return (await readdir(WORKERS).catch(() => [])).map((name) => path.join(WORKERS, name));
}

/** Whether a folder is what a process left that was killed in the middle of making or removing it. */
async function isForgotten(dir: string): Promise<boolean> {
    if (await exists(path.join(dir, "worker.json"))) return false;
    const age = await stat(dir).then(
        ({ mtimeMs }) => Date.now() - mtimeMs,
        () => 0,
    );
    return age > UNREGISTERED_AGE;
}
