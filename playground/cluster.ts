/** Clusters of the playground: workers with a network in common, each with its own address and sshd. */
import { randomBytes } from "node:crypto";
import path from "node:path";
import { ContainerdError } from "../provider/errors";
import { Switch } from "./network/switch";
import { listWorkers, removeAbandoned } from "./worker";
import { WORKERS } from "./worker/registration";
import { Worker, type WorkerOptions } from "./worker/worker";

/** A worker of a cluster. `name` is its node's name, and its host name. Default: `node-1`, `node-2`, … */
export type ClusterWorker = Omit<WorkerOptions, "network" | "plug" | "persistent" | "dir" | "hostname">;

export interface ClusterOptions {
    workers: readonly ClusterWorker[];
    /** Unique on this machine. Default: a random one. */
    name?: string;
    /** Goes on when this process ends; `openCluster` finds it again. Default: false. */
    persistent?: boolean;
    /** For all workers; see `WorkerOptions.reach`. */
    reach?: readonly number[];
}

export class Cluster {
    constructor(
        readonly name: string,
        /** In the order in which they were given. */
        readonly workers: readonly Worker[],
        private readonly hub: Switch,
    ) {}

    /** The worker of a node's name. Throws `NotFound`, with the names that there are. */
    worker(node: string): Worker {
        const found = this.workers.find((worker) => worker.hostname === node);
        if (found) return found;
        const names = this.workers.map((worker) => worker.hostname).join(", ");
        throw new ContainerdError("NotFound", `no node ${node} in the playground: there are ${names}`);
    }

    /** Sees to it that all of it is on and runs. */
    async ensure(): Promise<void> {
        // Before the workers look for it, all at once.
        await this.hub.ensure();
        await all(this.workers.map((worker) => worker.ensure()));
    }

    /** Switches all off and removes all. */
    async stop(): Promise<void> {
        await all(this.workers.map((worker) => worker.stop()));
        await this.hub.stop();
    }
}

/**
 * Starts a cluster, its workers side by side, after removing what killed processes left. All or nothing.
 *
 * @example
 * const cluster = await startCluster({ workers: [{ version: "1.6" }, { version: "2" }] });
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
    await removeAbandoned();
    const { name = `c-${randomBytes(4).toString("hex")}`, persistent = false, reach = [] } = options;
    const hub = await Switch.start(path.join(WORKERS, name), persistent);
    try {
        const workers = await all(
            options.workers.map((worker, index) => {
                const node = worker.name ?? `node-${index + 1}`;
                return Worker.start({
                    ...worker,
                    name: `${name}-${node}`,
                    hostname: node,
                    persistent,
                    network: "own",
                    reach: [...reach, ...(worker.reach ?? [])],
                    plug: { switch: hub, index },
                });
            }),
        );
        return new Cluster(name, workers, hub);
    } catch (error) {
        const cluster = await openCluster(name);
        await cluster?.stop();
        throw error;
    }
}

/** Finds a cluster that another process started; undefined when there is none. It may be off: see `ensure`. */
export async function openCluster(name: string): Promise<Cluster | undefined> {
    const hub = await Switch.open(path.join(WORKERS, name));
    if (!hub) return undefined;
    const workers = (await listWorkers()).filter((worker) => worker.switchDir === hub.dir);
    workers.sort((one, other) => (one.index ?? 0) - (other.index ?? 0));
    return new Cluster(name, workers, hub);
}

/** Waits for all, also when one fails: what is under way must be over before it is cleaned up. */
async function all<T>(promises: readonly Promise<T>[]): Promise<T[]> {
    await Promise.allSettled(promises);
    return Promise.all(promises);
}
