/** Row: memory of the provider process while a layer of 2 GB goes through it from a registry into containerd. */
import { rm } from "node:fs/promises";
import { bigImage } from "../../playground/images";
import { startRegistry } from "../../playground/registry";
import { Stack } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import { byPeak, type Line } from "./measure";
import { marked, withPeak } from "./peak";
import { NODE } from "./provider";

const BYTES = 2_000_000_000;
const LIMIT = 250;
const PROGRAM = `
const pulumi = require("@pulumi/pulumi");
const { Image } = require("pulumi-containerd");
new Image("large", { ref: new pulumi.Config("test").require("image") });
`;

/** `worker` must be one whose image comes through us: containerd 1.6. */
export async function layer(worker: Worker): Promise<Line[]> {
    const image = await bigImage({ layers: 1, bytes: BYTES });
    const registry = await startRegistry();
    const mark = "layer";
    try {
        const reference = await registry.push(image, "large:1");
        const config = {
            "test:image": reference,
            "containerd:node": NODE,
            "containerd:nodes": { [NODE]: { socket: worker.address } },
        };
        const stack = await Stack.create({ program: PROGRAM, config, env: marked(mark) });
        try {
            const { result, megabytes } = await withPeak(mark, () => stack.up());
            if (result.code !== 0) throw new Error(result.stdout + result.stderr);
            const what = "memory of the provider process, a layer of 2 GB";
            return [byPeak({ what, against: "at its peak", limit: LIMIT }, [megabytes])];
        } finally {
            await stack.remove();
        }
    } finally {
        await registry.stop();
        // Too large to be kept for the next time.
        await rm(image.dir, { recursive: true });
    }
}
