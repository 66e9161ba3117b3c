/** Rows: a preview of 1,000 containers on 1,000 nodes that nobody answers for, against the same containers on one such node. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { busyboxImage } from "../../playground/images";
import type { Registry } from "../../playground/registry";
import { Stack } from "../../playground/stack";
import { byPeak, byRatio, interleaved, runs, spread, type Line } from "./measure";
import { marked, withPeak } from "./peak";

const COUNT = 1000;
const RUNS = runs(3);
const LIMIT = 1.2;
const MEMORY_LIMIT = 250;
const PROGRAM = `
const pulumi = require("@pulumi/pulumi");
const containerd = require("pulumi-containerd");
const image = new pulumi.Config("test").require("image");
const nodes = containerd.configuredNodes();
for (let index = 0; index < ${COUNT}; index++) {
    new containerd.Container("c" + index, { node: nodes[index % nodes.length].name, image, network: "host", args: ["sleep", "infinity"] });
}
`;

export async function planning(registry: Registry): Promise<Line[]> {
    const image = await registry.push(await busyboxImage(), "busybox:1");
    let asked = 0;
    const machines = await Promise.all(Array.from({ length: COUNT }, () => absent(() => asked++)));
    const peaks = { many: [] as number[], one: [] as number[] };
    let rounds = 0;
    const preview = (which: "many" | "one", count: number) => async () => {
        const entries = machines
            .slice(0, count)
            .map(({ port }, index) => [`edge-${index + 1}`, { host: "127.0.0.1", port }]);
        const nodes: Record<string, object> = Object.fromEntries(entries);
        const mark = `plan-${which}-${++rounds}`;
        const config = { "containerd:nodes": nodes, "test:image": image };
        const stack = await Stack.create({ program: PROGRAM, config, env: marked(mark) });
        try {
            let milliseconds = 0;
            const { result, megabytes } = await withPeak(mark, async () => {
                const start = performance.now();
                const previewed = await stack.preview();
                milliseconds = performance.now() - start;
                return previewed;
            });
            if (result.code !== 0 || result.changes.length !== COUNT) {
                throw new Error(`${result.changes.length} of ${COUNT} changes: ${result.stdout.slice(-2000)}`);
            }
            peaks[which].push(megabytes);
            return milliseconds;
        } finally {
            await stack.remove();
        }
    };
    try {
        const samples = await interleaved(RUNS, { many: preview("many", COUNT), one: preview("one", 1) });
        if (asked > 0) throw new Error(`a preview asked a node ${asked} times`);
        const perNode = ((spread(peaks.many).median - spread(peaks.one).median) * 1000) / COUNT;
        const memory = `with one node ${Math.max(...peaks.one).toFixed(0)} MB; by the medians ${perNode.toFixed(1)} kB for each node.`;
        return [
            byRatio(
                {
                    what: "preview of 1,000 containers on 1,000 absent nodes",
                    against: "on one absent node",
                    limit: LIMIT,
                },
                samples.many,
                samples.one,
            ),
            byPeak(
                {
                    what: "memory of the provider process, 1,000 nodes",
                    against: "at its peak",
                    limit: MEMORY_LIMIT,
                    note: memory,
                },
                peaks.many,
            ),
        ];
    } finally {
        for (const { server } of machines) server.close();
    }
}

/** A machine that is not there: a port that hangs up, and says so. */
async function absent(asked: () => void): Promise<{ server: Server; port: number }> {
    const server = createServer((socket) => {
        asked();
        socket.destroy();
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return { server, port: (server.address() as AddressInfo).port };
}
