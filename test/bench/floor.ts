/**
 * Rows of a thousand resources with the real engine: preview without changes, `up` from nothing, and how large the provider
 * process gets; against the engine's floor, which is the same program with a resource that does nothing.
 */
import pLimit from "p-limit";
import { availableParallelism } from "node:os";
import { busyboxImage } from "../../playground/images";
import type { Registry } from "../../playground/registry";
import { Stack, type UpdateResult } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import { Client } from "../../provider/containerd/client";
import { unixTransport } from "../../provider/transport/unix";
import { byPeak, byRatio, runs, timed, type Line } from "./measure";
import { marked, withPeak } from "./peak";
import { floorProgram, floorProvider, ourProgram } from "./programs";
import { NODE } from "./provider";

const COUNT = 1000;
const ROUNDS = runs(3);
const LIMIT = 1.2;
const MEMORY_LIMIT = 250;
/** As many resources as the engine works on at once by default. */
const PARALLEL = 4 * availableParallelism();
const TIMEOUT = { timeout: 30 * 60_000 };

export async function thousand(worker: Worker, registry: Registry): Promise<Line[]> {
    const image = await registry.push(await busyboxImage(), "busybox:1");
    const samples: Record<"up" | "floorUp" | "preview" | "floorPreview" | "memory" | "floorMemory", number[]> = {
        up: [],
        floorUp: [],
        preview: [],
        floorPreview: [],
        memory: [],
        floorMemory: [],
    };
    const config = {
        "test:image": image,
        "containerd:node": NODE,
        "containerd:nodes": { [NODE]: { socket: worker.address } },
    };

    const floor = async (round: number): Promise<void> => {
        const program = { program: floorProgram(COUNT), files: { "floor.js": floorProvider } };
        const stack = await Stack.create({
            ...program,
            config: { "test:image": image },
            env: marked(`floor-${round}`),
        });
        const { up, preview, megabytes } = await upAndPreview(stack, `floor-${round}`);
        samples.floorPreview.push(preview);
        samples.floorUp.push(up);
        samples.floorMemory.push(megabytes);
    };
    const ours = async (round: number): Promise<void> => {
        // A namespace of its own for each round, so that nothing is there yet; the worker is thrown away as a whole.
        const namespace = `round-${round}`;
        const program = { program: ourProgram(COUNT), config: { ...config, "containerd:namespace": namespace } };
        const stack = await Stack.create({ ...program, env: marked(`ours-${round}`) });
        const { up, preview, megabytes } = await upAndPreview(stack, `ours-${round}`);
        samples.preview.push(preview);
        samples.up.push(up);
        samples.memory.push(megabytes);
    };
    for (let round = 1; round <= ROUNDS; round++) {
        for (const one of round % 2 ? [floor, ours] : [ours, floor]) await one(round);
        const bare = await bareCalls(worker, `round-${round}`);
        samples.floorUp[round - 1]! += bare;
    }
    const peer = "the engine's floor";
    return [
        byRatio(
            { what: "preview of 1,000 unchanged resources", against: peer, limit: LIMIT },
            samples.preview,
            samples.floorPreview,
        ),
        byRatio(
            { what: "up of 1,000 small resources", against: `${peer} + bare calls`, limit: LIMIT },
            samples.up,
            samples.floorUp,
        ),
        byPeak(
            {
                what: "memory of the provider process, 1,000 resources",
                against: "at its peak",
                limit: MEMORY_LIMIT,
                note: `a provider that does nothing reaches ${Math.max(...samples.floorMemory).toFixed(0)} MB.`,
            },
            samples.memory,
        ),
    ];
}

/** An `up` of everything and a preview without changes, in milliseconds, and the peak of the larger provider. */
async function upAndPreview(stack: Stack, mark: string): Promise<{ up: number; preview: number; megabytes: number }> {
    const measured = async (work: () => Promise<UpdateResult>, changes: number) => {
        let milliseconds = 0;
        const { megabytes } = await withPeak(mark, async () => {
            milliseconds = await timed(async () => {
                const result = await work();
                if (result.code !== 0 || result.changes.length !== changes) {
                    throw new Error(
                        `${result.changes.length} of ${changes} changes: ${result.stdout.slice(-2000)}${result.stderr}`,
                    );
                }
            });
        });
        return { milliseconds, megabytes };
    };
    try {
        const up = await measured(() => stack.up([], TIMEOUT), COUNT);
        const preview = await measured(() => stack.preview([], TIMEOUT), 0);
        const megabytes = Math.max(up.megabytes, preview.megabytes);
        return { up: up.milliseconds, preview: preview.milliseconds, megabytes };
    } finally {
        await stack.remove();
    }
}

/**
 * The calls that creating the containers takes, with what is there as the content and nothing around them: milliseconds.
 * That these are all is seen from containerd's own counters (`[metrics]`): one of each a container.
 */
async function bareCalls(worker: Worker, namespace: string): Promise<number> {
    const client = await Client.connect(unixTransport(NODE, worker.address), namespace);
    const bare = client.inNamespace(`${namespace}-bare`);
    try {
        const { containers } = await client.containers.list({ filters: ["labels.index==1"] });
        const { images } = await client.images.list({ filters: [] });
        const [model, image] = [containers[0], images[0]];
        if (!model || !image) throw new Error(`nothing to repeat in namespace ${namespace}`);
        const { info } = await client.snapshots.stat({ snapshotter: model.snapshotter, key: model.snapshot_key });
        // Another namespace needs a layer of its own to stand on.
        await bare.snapshots.prepare({ snapshotter: model.snapshotter, key: "layer" });
        await bare.snapshots.commit({ snapshotter: model.snapshotter, key: "layer", name: "parent" });
        await bare.images.create({ image: { name: image.name, target: image.target } });
        const { image: imageName, labels, snapshotter, runtime, spec } = model;
        const make = async (id: string): Promise<void> => {
            const container = { id, image: imageName, labels, snapshotter, snapshot_key: id, runtime };
            const empty = { type_url: spec?.type_url ?? "", value: Buffer.from("{}") };
            await bare.containers.create({ container: { ...container, spec: empty } });
            await bare.images.get({ name: image.name });
            await bare.snapshots.prepare({ snapshotter, key: id, parent: "parent", labels: info?.labels });
            await bare.containers.update({
                container: { id, labels, spec },
                update_mask: { paths: ["labels", "spec"] },
            });
        };
        const limit = pLimit(PARALLEL);
        const ids = Array.from({ length: COUNT - 1 }, (_, index) => `bare-${index + 1}`);
        return await timed(() => Promise.all(ids.map((id) => limit(() => make(id)))));
    } finally {
        client.close();
    }
}
