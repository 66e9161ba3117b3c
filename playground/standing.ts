/**
 * The playground that stays: one worker and one registry of this clone, which go on when the command that started them ends.
 * The demo runs on it, and `playground/cli.ts` is for looking around in it.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ContainerdVersion, playgroundFolder, repository } from "./environment";
import { type ProcessId, isAlive } from "./process-id";
import { type Registry, connectRegistry, freePort, startRegistry } from "./registry";
import { type Worker, openWorker, startWorker } from "./worker";

/** One worker a clone: two clones on one machine do not meet. */
const NAME = `demo-${createHash("sha256").update(repository).digest("hex").slice(0, 8)}`;
const MEMORY = path.join(playgroundFolder, "standing.json");

/** What is remembered between commands. */
interface Memory {
    registry?: { port: number; process: ProcessId };
    /** Where the demo's page is served. */
    page?: number;
}

export interface Standing {
    worker: Worker;
    registry: Registry;
}

/** Starts what does not run; a worker that was switched off (by a reboot of this machine) is switched on again. */
export async function ensureStanding(version: ContainerdVersion): Promise<Standing> {
    let worker = await openWorker(NAME);
    if (worker?.running) await worker.ensureContainerd();
    else await worker?.boot();
    worker ??= await startWorker({ name: NAME, version, persistent: true });
    return { worker, registry: await ensureRegistry() };
}

/** The worker, when there is one. */
export function standingWorker(): Promise<Worker | undefined> {
    return openWorker(NAME);
}

/** The registry's address, when it runs. */
export async function standingRegistry(): Promise<string | undefined> {
    const { registry } = await recall();
    return registry && (await isAlive(registry.process)) ? `127.0.0.1:${registry.port}` : undefined;
}

/** Ends and removes both, and what else this clone's playground has on disk. */
export async function removeStanding(): Promise<void> {
    await (await standingWorker())?.stop();
    const { registry } = await recall();
    if (registry && (await isAlive(registry.process))) {
        process.kill(registry.process.pid, "SIGKILL");
        while (await isAlive(registry.process)) await sleep(25);
    }
    await rm(playgroundFolder, { recursive: true, force: true });
}

/** The port for the demo's page: the wanted one if it is free, else another; the same one in every run. */
export async function pagePort(wanted: number): Promise<number> {
    const memory = await recall();
    const page = memory.page ?? (await freePort(wanted));
    await remember({ ...memory, page });
    return page;
}

async function ensureRegistry(): Promise<Registry> {
    const memory = await recall();
    const known = memory.registry;
    if (known && (await isAlive(known.process))) return connectRegistry(known.port, known.process);
    // The same port again: image references hold it.
    const dir = path.join(playgroundFolder, "registry");
    const registry = await startRegistry({ dir, port: known?.port, persistent: true });
    await remember({ ...memory, registry: { port: registry.port, process: registry.process } });
    return registry;
}

async function recall(): Promise<Memory> {
    const text = await readFile(MEMORY, "utf8").catch(() => "{}");
    return JSON.parse(text) as Memory;
}

async function remember(memory: Memory): Promise<void> {
    await mkdir(playgroundFolder, { recursive: true });
    await writeFile(`${MEMORY}.new`, JSON.stringify(memory));
    await rename(`${MEMORY}.new`, MEMORY);
}
