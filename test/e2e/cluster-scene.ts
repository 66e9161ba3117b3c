/** Where tests of several machines play: workers that are reached by SSH alone, a registry, and stacks that deploy to them. */
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { busyboxImage } from "../../playground/images";
import { type Cluster, type ClusterWorker, startCluster } from "../../playground/cluster";
import { nodeEntry } from "../../playground/node-config";
import { type Registry, startRegistry } from "../../playground/registry";
import { type ConfigValue, Stack, type StackOptions } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import { type Census, census } from "../helpers/census";
import { eventually, PREAMBLE } from "./scene";

/** Workers and a registry. Close it in `after`. */
export class ClusterScene {
    readonly #stacks: Stack[] = [];

    private constructor(
        readonly cluster: Cluster,
        readonly registry: Registry,
        /** Reference of busybox in the registry. */
        readonly busybox: string,
    ) {}

    /**
     * Starts them, with busybox pushed as `busybox:1`.
     *
     * @param reach whether the workers reach the registry by themselves; else images come through the tunnel. Default: true.
     */
    static async open(workers: readonly ClusterWorker[], reach = true): Promise<ClusterScene> {
        const registry = await startRegistry();
        try {
            const busybox = await registry.push(await busyboxImage(), "busybox:1");
            const ports = reach ? [registry.port] : [];
            return new ClusterScene(await startCluster({ workers, reach: ports }), registry, busybox);
        } catch (error) {
            await registry.stop();
            throw error;
        }
    }

    get workers(): readonly Worker[] {
        return this.cluster.workers;
    }

    /** The stack config `containerd:nodes` for all workers, by SSH. */
    get nodes(): Record<string, Record<string, ConfigValue>> {
        return Object.fromEntries(this.workers.map((worker) => [worker.hostname, { ...nodeEntry(worker) }]));
    }

    /** A stack with a program in JavaScript, or with a folder's; it is removed by `close`. */
    async stack(program: StackOptions["program"], options: Partial<StackOptions> = {}): Promise<Stack> {
        const config = { "containerd:nodes": this.nodes, "test:image": this.busybox, ...options.config };
        const text = typeof program === "string" ? PREAMBLE + program : program;
        const stack = await Stack.create({ program: text, ...options, config });
        this.#stacks.push(stack);
        return stack;
    }

    /** What one worker holds, when containerd has collected its garbage. */
    async censusOf(worker: Worker): Promise<Census> {
        await eventually("nothing waits for the collector", async () => {
            const before = await census(worker);
            return isDeepStrictEqual(before, await census(worker));
        });
        return census(worker);
    }

    /** What each worker holds. */
    async census(): Promise<Record<string, Census>> {
        const counted = this.workers.map(async (worker) => [worker.hostname, await census(worker)] as const);
        return Object.fromEntries(await Promise.all(counted));
    }

    /** The workers hold what they did before; content goes when containerd has collected its garbage. */
    async holdOnly(before: Record<string, Census>): Promise<void> {
        let now = await this.census();
        const same = async (): Promise<boolean> => {
            now = await this.census();
            return isDeepStrictEqual(now, before);
        };
        await eventually("the workers hold what they did before", same).catch(() => assert.deepEqual(now, before));
    }

    /** Removes everything, also what tests that failed left. */
    async close(): Promise<void> {
        await Promise.all(this.#stacks.map((stack) => stack.remove()));
        await this.cluster.stop();
        await this.registry.stop();
    }
}
