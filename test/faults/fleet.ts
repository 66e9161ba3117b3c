/**
 * Three machines that are reached by SSH, and a stack of twenty resources on them: what the tests of nodes disturb, and what
 * they compare with an undisturbed run.
 */
import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Stack, UpdateResult } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import { ClusterScene } from "../e2e/cluster-scene";
import { type Census, census } from "../helpers/census";
import { differences, normalized } from "./comparison";
import { assertDone } from "./runs";

/** What is done with the stack. */
export const PHASES = ["up", "destroy"] as const;
export type Phase = (typeof PHASES)[number];

/** Censuses by node. */
export type Fleetwide = Record<string, Census>;

/** On each node an image, and services with a file; on one of them one service less, to make it twenty. */
const PROGRAM = `
const image = new pulumi.Config("test").require("image");
containerd.configuredNodes().forEach(({ name }, index) => {
    const node = new containerd.Node(name);
    const base = new containerd.Image(name + "-base", { node, ref: image });
    for (const service of index === 0 ? ["a", "b", "c"] : ["a", "b"]) {
        const container = new containerd.Container(name + "-" + service, {
            node,
            image: base,
            network: "none",
            args: ["sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait"],
            files: { "/etc/service.conf": "this is " + service },
        });
        new containerd.Task(name + "-" + service, { container, stop: { timeout: "2s" } });
    }
});
`;

/** containerd collects what is no longer held in the background; after a reboot its monitor starts what ran, at its interval. */
const SETTLE = 15_000;
const POLL = 20;

/** What an undisturbed phase leaves, and how long it works on the nodes. */
interface Reference {
    census: Fleetwide;
    /** Milliseconds from the first login to the end. */
    span: number;
}

/** The machines and the stack. Start it with `Fleet.start`, give it up with `stop`. */
export class Fleet {
    readonly #references = new Map<Phase, Reference>();

    private constructor(
        readonly scene: ClusterScene,
        readonly stack: Stack,
    ) {}

    /** Starts them, and lives once undisturbed. */
    static async start(): Promise<Fleet> {
        const scene = await ClusterScene.open([{ version: "1.6" }, { version: "2" }, { version: "2" }]);
        try {
            const fleet = new Fleet(scene, await scene.stack(PROGRAM));
            const empty = await fleet.census();
            for (const phase of PHASES) fleet.#references.set(phase, await fleet.#undisturbed(phase));
            await fleet.expect(empty, "after the undisturbed destroy");
            return fleet;
        } catch (error) {
            await scene.close();
            throw error;
        }
    }

    get workers(): readonly Worker[] {
        return this.scene.workers;
    }

    stop(): Promise<void> {
        return this.scene.close();
    }

    /** Does one phase. `onEngine` hears the engine's process id. */
    run(phase: Phase, onEngine?: (pid: number) => void): Promise<UpdateResult> {
        return this.stack[phase]([], { onStart: onEngine });
    }

    /** How long an undisturbed phase works on the nodes, in milliseconds. */
    spanOf(phase: Phase): number {
        return this.#reference(phase).span;
    }

    /** Resolves with true when somebody logs in at a worker after this was called, with false when `over` does first. */
    async login(worker: Worker, over: () => boolean): Promise<boolean> {
        const log = path.join(worker.dir, "sshd.log");
        const before = (await stat(log)).size;
        while ((await stat(log)).size === before) {
            if (over()) return false;
            await sleep(POLL);
        }
        return true;
    }

    /** The machines hold what they do after an undisturbed phase. */
    async expectAfter(phase: Phase, what: string): Promise<void> {
        await this.expect(this.#reference(phase).census, what);
    }

    /** Waits until the machines hold this, and says what differs if they do not. */
    async expect(expected: Fleetwide, what: string): Promise<void> {
        const end = Date.now() + SETTLE;
        for (;;) {
            const found = await this.census();
            const difference = Object.entries(expected).flatMap(([node, one]) =>
                differences(one, found[node] ?? one).map((line) => `${node}: ${line}`),
            );
            if (difference.length === 0) return;
            if (Date.now() > end) assert.fail(`${what}:\n  ${difference.join("\n  ")}`);
            await sleep(250);
        }
    }

    /** What is on each machine, without what is random. */
    async census(): Promise<Fleetwide> {
        const counted = this.workers.map(
            async (worker) => [worker.hostname, normalized(await census(worker))] as const,
        );
        return Object.fromEntries(await Promise.all(counted));
    }

    #reference(phase: Phase): Reference {
        const reference = this.#references.get(phase);
        assert.ok(reference);
        return reference;
    }

    async #undisturbed(phase: Phase): Promise<Reference> {
        const [worker] = this.workers;
        assert.ok(worker);
        let over = false;
        const login = this.login(worker, () => over).then(() => Date.now());
        assertDone(await this.run(phase), `the undisturbed ${phase}`);
        over = true;
        const span = Date.now() - (await login);
        // After a destroy the collector is still at work: `start` compares that with what was before the up.
        return { census: await this.census(), span };
    }
}
