/**
 * The playground that stays, which goes on when the command that started it ends: a worker on this machine's network, a
 * cluster of workers that are reached by SSH, and a registry. The demo runs on it, and `playground/cli.ts` is for looking
 * around in it.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ContainerdError } from "../provider/errors";
import { type Cluster, openCluster, startCluster } from "./cluster";
import { type ContainerdVersion, environment, playgroundFolder, repository } from "./environment";
import { nodeEntry, sshConfig } from "./node-config";
import { type ProcessId, isAlive } from "./process-id";
import { type Registry, connectRegistry, freePort, startRegistry } from "./registry";
import { type Worker, openWorker, startWorker } from "./worker";

/** Two clones on one machine do not meet. */
const CLONE = createHash("sha256").update(repository).digest("hex").slice(0, 8);
const NAME = `demo-${CLONE}`;
const CLUSTER = `edge-${CLONE}`;
/** What the worker on this machine's network is called among the nodes. */
export const LOCAL = "local";
const MEMORY = path.join(playgroundFolder, "standing.json");

/** How a user reaches the nodes by hand. */
export const files = {
    /** `ssh -F FILE edge-1`. */
    sshConfig: path.join(playgroundFolder, "ssh_config"),
    /** The stack config `containerd:nodes`, for `pulumi config set-all --json`: a text of JSON would be no map that can be changed. */
    config: path.join(playgroundFolder, "config.json"),
};

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
    await worker?.ensure();
    worker ??= await startWorker({ name: NAME, hostname: LOCAL, version, persistent: true });
    const registry = await ensureRegistry();
    await writeNodes();
    return { worker, registry };
}

/**
 * Starts the workers `edge-1`, `edge-2`, …, of both versions of containerd in turn, or switches on what is off. The registry
 * of `ensureStanding` has the same references there. `count`: how many. Throws `AlreadyExists` when there are others already.
 */
export async function ensureStandingCluster(count: number): Promise<Cluster> {
    const { port } = await ensureRegistry();
    let cluster = await openCluster(CLUSTER);
    if (cluster && cluster.workers.length !== count) {
        const there = `the playground has ${cluster.workers.length} workers with SSH, not ${count}`;
        throw new ContainerdError("AlreadyExists", `${there}: remove it first (\`npm run playground -- down\`)`);
    }
    await cluster?.ensure();
    cluster ??= await startCluster({
        name: CLUSTER,
        persistent: true,
        reach: [port],
        workers: Array.from({ length: count }, (_, index) => ({
            name: `edge-${index + 1}`,
            version: versionOf(index),
        })),
    });
    await writeNodes();
    return cluster;
}

/** The worker on this machine's network, when there is one. */
export function standingWorker(): Promise<Worker | undefined> {
    return openWorker(NAME);
}

/** The workers that are reached by SSH, when there are some. */
export function standingCluster(): Promise<Cluster | undefined> {
    return openCluster(CLUSTER);
}

/** All workers by their nodes' names. */
export async function standingNodes(): Promise<Map<string, Worker>> {
    const local = await standingWorker();
    const { workers = [] } = (await standingCluster()) ?? {};
    const named = workers.map((worker) => [worker.hostname, worker] as const);
    return new Map([...(local ? [[LOCAL, local] as const] : []), ...named]);
}

/** The registry's address, when it runs. */
export async function standingRegistry(): Promise<string | undefined> {
    const { registry } = await recall();
    return registry && (await isAlive(registry.process)) ? `127.0.0.1:${registry.port}` : undefined;
}

/** Ends and removes all of it, and what else this clone's playground has on disk. */
export async function removeStanding(): Promise<void> {
    await (await standingWorker())?.stop();
    await (await standingCluster())?.stop();
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

function versionOf(index: number): ContainerdVersion {
    return index % 2 === 0 && environment().containerd["2"] ? "2" : "1.6";
}

/** Writes down how the nodes are reached. */
async function writeNodes(): Promise<void> {
    const nodes = await standingNodes();
    const entries = Object.fromEntries([...nodes].map(([name, worker]) => [name, nodeEntry(worker)]));
    const config = { "containerd:nodes": { value: JSON.stringify(entries), objectValue: entries } };
    await writeFile(files.config, `${JSON.stringify(config, null, 2)}\n`);
    await writeFile(files.sshConfig, sshConfig([...nodes.values()].filter((worker) => worker.hasNetwork)));
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
