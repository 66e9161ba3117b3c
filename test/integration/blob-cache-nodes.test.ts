/** Several nodes that get an image through this machine: one download of each blob serves all. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { access, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { startRegistry, type Registry } from "../../playground/registry";
import { startWorker, type Worker } from "../../playground/worker";
import { image } from "../../provider/lifecycle/image";
import { Run } from "../../provider/lifecycle/run";
import { readSettings } from "../../provider/lifecycle/settings";
import { localSshFiles } from "../../provider/transport/ssh/ssh-files";
import { create } from "../bench/provider";
import { startFront, type Front } from "../helpers/front";
import { temporary } from "../helpers/image";
import { craftLayout, tarOf } from "./images-fixtures";

describe("an image for three nodes, containerd 1.6", function () {
    this.timeout(120_000);
    const workers: Worker[] = [];
    let registry: Registry;
    let front: Front;
    let work: Awaited<ReturnType<typeof temporary>>;
    let folder: string;
    let reference: string;
    let digests: string[];
    let warnings: string[];

    before(async () => {
        registry = await startRegistry();
        workers.push(...(await Promise.all([1, 2, 3].map(() => startWorker({ version: "1.6" })))));
    });
    after(async () => {
        await Promise.all(workers.map((worker) => worker.stop()));
        await registry?.stop();
    });
    beforeEach(async () => {
        work = await temporary();
        folder = path.join(work.folder, "cache");
        warnings = [];
        front = await startFront({ target: registry.address });
        const layers = await Promise.all(
            [2, 3].map(async (size) => ({ tar: await tarOf([{ name: "noise", content: randomBytes(size << 20) }]) })),
        );
        const dir = path.join(work.folder, "layout");
        const digest = await craftLayout(dir, layers);
        reference = (await registry.push({ dir, tag: "latest", digest }, "three:1")).replace(
            registry.address,
            front.address,
        );
        const blobs = (await readdir(path.join(dir, "blobs/sha256"))).map((hex) => `sha256:${hex}`);
        digests = blobs.filter((blob) => blob !== digest).sort();
    });
    afterEach(async () => {
        await front.close();
        await work.remove();
    });

    /** A run of the provider with the first so many of the workers. */
    function start(count: number): Run {
        const names = workers.slice(0, count).map((worker, i) => [`edge-${i + 1}`, { socket: worker.address }]);
        const config: Record<string, unknown> = { nodes: Object.fromEntries(names), cache: { folder, size: "1GiB" } };
        const settings = readSettings((key) => {
            const value = config[key.replace("containerd:", "")];
            return value === undefined ? undefined : JSON.stringify(value);
        });
        const warn = (_owner: string, text: string): void => void warnings.push(text);
        return Run.start(settings, { progress: () => {}, warn }, localSshFiles());
    }

    /** Has an image on each node, and removes it. Gives the blobs that the registry was asked for. */
    async function bringAll(run: Run, nodes: number): Promise<string[]> {
        front.seen.length = 0;
        const made = await Promise.all(
            Array.from({ length: nodes }, (_, i) => {
                const node = `edge-${i + 1}`;
                const owner = `urn:pulumi:test::test::pulumi-nodejs:dynamic/containerd:Image::${node}`;
                return create(run, image, { owner, node, ref: reference });
            }),
        );
        await Promise.all(made.map(({ remove }) => remove()));
        await run.close();
        const asked = front.seen.filter(({ method, url }) => method === "GET" && url.includes("/blobs/"));
        return asked.map(({ url }) => url.slice(url.lastIndexOf("/") + 1)).sort();
    }

    it("downloads each blob once, and none in the next run", async () => {
        assert.deepEqual(await bringAll(start(3), 3), digests);
        assert.deepEqual(await bringAll(start(3), 3), []);
        assert.ok(
            front.seen.some(({ url }) => url.includes("/manifests/")),
            "the registry was asked all the same",
        );
        assert.deepEqual(warnings, []);
    });

    it("brings a blob anew that was damaged in the cache", async () => {
        await bringAll(start(3), 3);
        const [first] = digests;
        const file = path.join(folder, first!.replace(":", "-"));
        const content = await readFile(file);
        content[content.length >> 1]! ^= 1;
        await writeFile(file, content);
        assert.deepEqual(await bringAll(start(3), 3), [first]);
        assert.deepEqual(warnings, []);
    });

    it("does without a cache for one node", async () => {
        assert.deepEqual(await bringAll(start(1), 1), digests);
        await assert.rejects(access(folder));
    });
});
