/** Row: an image of 150 MB in 5 layers from a local registry, fetched and unpacked, against `ctr image pull`. */
import { bigImage } from "../../playground/images";
import type { Registry } from "../../playground/registry";
import type { Worker } from "../../playground/worker";
import { Client } from "../../provider/containerd/client";
import { ensureImage } from "../../provider/images/ensure";
import { releaseImage } from "../../provider/images/records";
import { parseReference } from "../../provider/registry/reference";
import { registrySource } from "../../provider/registry/source";
import { unixTransport } from "../../provider/transport/unix";
import { byRatio, interleaved, runs, timed, type Line } from "./measure";

const RUNS = runs(7);
const LIMITS = { content: 1.15, transfer: 1.1 };

export async function pulling(worker: Worker, registry: Registry): Promise<Line[]> {
    const image = await bigImage();
    const reference = await registry.push(image, "big:1");
    const client = await Client.connect(unixTransport("worker", worker.address), "default");
    const claim = { uid: "bench", owner: "urn:pulumi:bench::bench::pulumi-nodejs:dynamic/containerd:Image::big" };

    const ours = (via: "content" | "transfer") => async () => {
        const source = registrySource(parseReference(reference));
        const milliseconds = await timed(() =>
            ensureImage(client, {
                reference,
                digest: image.digest,
                source,
                registry: { insecure: true, fromNode: true },
                claim,
                pull: "missing",
                via,
            }),
        );
        await source.close();
        await releaseImage(client, { reference, digest: image.digest, uid: claim.uid });
        await assertEmpty(worker);
        return milliseconds;
    };
    const ctr =
        (...options: string[]) =>
        async () => {
            // From outside the worker's namespaces, as ours: the content and the unpacking are containerd's in both.
            const milliseconds = await timed(() => worker.ctr("image", "pull", "--plain-http", ...options, reference));
            await worker.ctr("image", "rm", "--sync", reference);
            await assertEmpty(worker);
            return milliseconds;
        };
    const what = "pull and unpack 150 MB in 5 layers";
    const line = (via: "content" | "transfer", against: string) => ({
        what: `${what} ${via === "content" ? "through us" : "by transfer"}, on containerd ${worker.version}`,
        against,
        limit: LIMITS[via],
    });
    try {
        if (worker.version === "1.6") {
            const samples = await interleaved(RUNS, { content: ours("content"), local: ctr() });
            return [byRatio(line("content", "ctr image pull"), samples.content, samples.local)];
        }
        const samples = await interleaved(RUNS, {
            content: ours("content"),
            local: ctr("--local"),
            transfer: ours("transfer"),
            byService: ctr(),
        });
        return [
            byRatio(line("content", "ctr image pull --local"), samples.content, samples.local),
            byRatio(line("transfer", "ctr image pull"), samples.transfer, samples.byService),
        ];
    } finally {
        client.close();
    }
}

/** A rest of the last pull would make the next one faster. */
async function assertEmpty(worker: Worker): Promise<void> {
    const left = await worker.run("ctr content ls -q; ctr snapshots ls | sed 1d");
    if (left.trim()) throw new Error(`the worker is not empty between two pulls: ${left}`);
}
