/** Row: 100 containers on 3 workers by a real `pulumi up`, over SSH, against the same workers by their sockets on this machine. */
import { busyboxImage } from "../../playground/images";
import { nodeEntry } from "../../playground/node-config";
import type { Registry } from "../../playground/registry";
import { Stack, type UpdateResult } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import { byRatio, interleaved, runs, timed, type Line } from "./measure";

const COUNT = 100;
const RUNS = runs(3);
const LIMIT = 1.3;
const PROGRAM = `
const pulumi = require("@pulumi/pulumi");
const containerd = require("pulumi-containerd");
const image = new pulumi.Config("test").require("image");
const nodes = containerd.configuredNodes();
for (let index = 0; index < ${COUNT}; index++) {
    const node = nodes[index % nodes.length].name;
    const container = new containerd.Container("c" + index, { node, image, network: "host", args: ["sleep", "infinity"] });
    new containerd.Task("c" + index, { container, stop: { signal: "SIGKILL" } });
}
`;

/** `workers` have a network of their own, and reach the registry. */
export async function fleet(workers: readonly Worker[], registry: Registry): Promise<Line[]> {
    const image = await registry.push(await busyboxImage(), "busybox:1");
    const up = (nodes: Record<string, object>) => async () => {
        const stack = await Stack.create({
            program: PROGRAM,
            config: { "containerd:nodes": nodes, "test:image": image },
        });
        try {
            const milliseconds = await timed(async () => succeeded(await stack.up()));
            succeeded(await stack.destroy());
            return milliseconds;
        } finally {
            await stack.remove();
        }
    };
    const entries = (entry: (worker: Worker) => object) =>
        Object.fromEntries(workers.map((worker) => [worker.hostname, entry(worker)]));
    const samples = await interleaved(RUNS, {
        ssh: up(entries(nodeEntry)),
        sockets: up(entries(({ address }) => ({ socket: address }))),
    });
    const what = `up of ${COUNT} containers and their tasks on ${workers.length} workers over SSH`;
    return [byRatio({ what, against: "their sockets on this machine", limit: LIMIT }, samples.ssh, samples.sockets)];
}

function succeeded({ code, stdout, stderr }: UpdateResult): void {
    if (code !== 0) throw new Error(`${stdout.slice(-2000)}${stderr}`);
}
