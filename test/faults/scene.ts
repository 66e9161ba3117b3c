/**
 * A worker, a registry, the proxy between the provider and containerd, and a stack: what the fault tests disturb, and what
 * they compare with an undisturbed run.
 */
import assert from "node:assert/strict";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Stack, type UpdateResult } from "../../playground/engine";
import type { ContainerdVersion } from "../../playground/environment";
import { type Registry, startRegistry } from "../../playground/registry";
import { startWorker, type Worker, type WorkerOptions } from "../../playground/worker";
import { type Census, census } from "../helpers/census";
import { differences, normalized } from "./comparison";
import { type Fault, ContainerdProxy } from "./proxy";
import { type Images, program, pushImages, SECRET } from "./program";
import { unlock } from "./runs";

/** What is done with the stack; each begins where the one before has ended. */
export const PHASES = ["up", "update", "destroy"] as const;
export type Phase = (typeof PHASES)[number];

/** containerd collects what is no longer held in the background; a restart of its monitor's takes an interval. */
const SETTLE = 8_000;

/** All that a fault test needs. Start it with `Scene.start`, give it up with `stop`. */
export class Scene {
    private constructor(
        readonly worker: Worker,
        readonly registry: Registry,
        readonly images: Images,
        readonly proxy: ContainerdProxy,
        readonly stack: Stack,
    ) {}

    static async start(version: ContainerdVersion, options: Partial<WorkerOptions> = {}): Promise<Scene> {
        const registry = await startRegistry();
        const worker = await startWorker({ version, ...options });
        const proxy = await ContainerdProxy.listen(path.join(worker.dir, "proxy.sock"), worker.address);
        const images = await pushImages(registry);
        const stack = await Stack.create({
            program: program(images, false),
            config: { "containerd:node": "worker", "containerd:nodes": { worker: { socket: proxy.address } } },
        });
        return new Scene(worker, registry, images, proxy, stack);
    }

    async stop(): Promise<void> {
        await this.stack.remove();
        await this.proxy.close();
        await this.worker.stop();
        await this.registry.stop();
    }

    /** From now on the provider reaches containerd without the proxy. */
    async direct(): Promise<void> {
        await this.stack.configure({ "containerd:nodes": { worker: { socket: this.worker.address } } });
    }

    /** Does one phase, under a fault. `onEngine` hears the engine's process id. */
    async run(phase: Phase, fault?: Fault, onEngine?: (pid: number) => void): Promise<UpdateResult> {
        this.proxy.reset(fault);
        const options = { onStart: onEngine };
        if (phase === "destroy") return this.stack.destroy([], options);
        await this.stack.write({ "index.js": program(this.images, phase === "update") });
        return this.stack.up([], options);
    }

    /** What a user does after a crash of the engine: takes the lock away. */
    unlock(): Promise<void> {
        return unlock(this.stack);
    }

    /** What is on the worker, without what is random. */
    async census(): Promise<Census> {
        return normalized(await census(this.worker));
    }

    /** What a secret file came in must be gone from the content store, where it would lie readable for whoever has its digest. */
    async expectNoSecretInContent(): Promise<void> {
        const search = 'grep -rlF -e "$1" /var/lib/containerd/io.containerd.content.v1.content || true';
        assert.equal(await this.worker.run(search, SECRET), "", "a secret is left in the content store");
    }

    /** Waits until the census is this one, and says what differs if it does not become so. */
    async expectCensus(expected: Census, what: string): Promise<void> {
        const end = Date.now() + SETTLE;
        for (;;) {
            const found = await this.census();
            const difference = differences(expected, found);
            if (difference.length === 0) return;
            if (Date.now() > end) assert.fail(`${what}: on the worker\n  ${difference.join("\n  ")}`);
            await sleep(250);
        }
    }
}
