/** The cache of blobs: one download for all, also across processes, damaged and full disks, and who may have what. */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdir, readdir, readFile, stat, truncate, utimes, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { output } from "../../playground/process";
import { startRegistry, type Registry } from "../../playground/registry";
import { BlobCache, type BlobCacheOptions } from "../../provider/registry/blob-cache";
import { nameOf } from "../../provider/registry/blob-folder";
import { cachedSource } from "../../provider/registry/cached-source";
import { type Descriptor, digestOf, parseManifest } from "../../provider/registry/oci";
import { type ImageSource, registrySource, type RegistrySourceOptions } from "../../provider/registry/source";
import { startFront, type Front } from "../helpers/front";
import { bytesOf, failsWith, temporary } from "../helpers/image";
import { craftLayout, tarOf } from "./images-fixtures";

const MB = 1_000_000;

/** What the front does with a blob's request. */
type Answer = "pass" | "stall" | "fail" | "fail later";

describe("blob cache", function () {
    this.timeout(60_000);
    let registry: Registry;
    let front: Front;
    let work: Awaited<ReturnType<typeof temporary>>;
    let folder: string;
    let reference: string;
    let layers: Descriptor[];
    let children: ChildProcess[];
    let closing: (() => Promise<void>)[];
    let warnings: string[];
    /** What the front does with the n-th request for a blob. */
    let answer: (count: number) => Answer;
    let proceed: () => void;

    before(async () => {
        registry = await startRegistry();
    });
    after(() => registry.stop());

    beforeEach(async () => {
        work = await temporary();
        folder = path.join(work.folder, "cache", "blobs");
        [children, closing, warnings] = [[], [], []];
        answer = () => "pass";
        let count = 0;
        const proceeding = new Promise<void>((resolve) => (proceed = resolve));
        front = await startFront({
            target: registry.address,
            intercept: async ({ url, headers }, response) => {
                const what = url.includes("/blobs/") ? answer(++count) : "pass";
                if (what === "pass") return false;
                if (what === "fail later") await proceeding;
                if (what.startsWith("fail")) return (response.writeHead(503).end(), true);
                const { range } = headers;
                const upstream = await fetch(`http://${registry.address}${url}`, { headers: range ? { range } : {} });
                const body = Buffer.from(await upstream.arrayBuffer());
                response.writeHead(upstream.status, Object.fromEntries(upstream.headers));
                response.write(body.subarray(0, 1.5 * MB));
                await proceeding;
                response.end(body.subarray(1.5 * MB));
                return true;
            },
        });
        await push(3);
    });
    afterEach(async () => {
        proceed();
        for (const child of children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)) {
            child.kill("SIGKILL");
            await once(child, "exit");
        }
        for (const close of closing) await close();
        await front.close();
        await work.remove();
    });

    /** An image of one layer for each size, in MB, behind the front. */
    async function push(...sizes: number[]): Promise<void> {
        const made = [];
        for (const size of sizes)
            made.push({
                tar: await tarOf([{ name: "noise", content: randomBytes(size * MB) }]),
            });
        const dir = path.join(work.folder, `layout-${sizes.join("-")}`);
        const digest = await craftLayout(dir, made);
        const pushed = await registry.push({ dir, tag: "latest", digest }, "cached:1");
        layers = parseManifest(await readFile(path.join(dir, "blobs", digest.replace(":", "/"))), dir).layers;
        reference = pushed.replace(registry.address, front.address);
    }

    const cache = (options: Partial<BlobCacheOptions> = {}): BlobCache =>
        new BlobCache({ folder, reserve: 0, onUnusable: (reason) => warnings.push(reason), ...options });

    function open(through: BlobCache, options: RegistrySourceOptions = {}, name = reference): ImageSource {
        const limits = { retries: 0, idle: 20_000 };
        const source = registrySource(name, { limits, ...options });
        // A download that nobody wants any more ends a moment later: until then it may write to the folder.
        closing.push(async () => {
            await through.left(source);
            await source.close();
        });
        return cachedSource(source, through);
    }

    /** A layer, whole or from an offset on, its bytes checked by whoever calls. */
    const read = (source: ImageSource, layer = layers[0]!, offset = 0): Promise<Buffer> =>
        bytesOf(source.blob(layer, offset));

    async function assertReads(source: ImageSource, layer = layers[0]!): Promise<void> {
        assert.equal(digestOf(await read(source, layer), "sha256"), layer.digest);
    }

    /** The `Range` of each request for a blob, `all` where it has none. */
    const requests = (layer = layers[0]!): string[] =>
        front.seen
            .filter(({ method, url }) => method === "GET" && url.endsWith(`/blobs/${layer.digest}`))
            .map(({ headers }) => headers.range ?? "all");

    const held = async (): Promise<string[]> => (await readdir(folder)).sort();

    async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
        while (!(await condition())) await sleep(10);
    }

    /** A reader in a process of its own; what it wrote when it has ended. */
    function reader(): { child: ChildProcess; text: Promise<string> } {
        const child = spawn(
            process.execPath,
            ["--import", "tsx", path.join(__dirname, "blob-cache-reader.ts"), folder, reference],
            { stdio: ["ignore", "pipe", "inherit"], cwd: path.join(__dirname, "../..") },
        );
        children.push(child);
        return { child, text: bytesOf(child.stdout!).then((bytes) => bytes.toString().trim()) };
    }

    /** A killed process's download: 1.5 MB of the layer lie there. */
    async function killedDownload(): Promise<void> {
        answer = () => "stall";
        const { child } = reader();
        await partial(1);
        child.kill("SIGKILL");
        await once(child, "exit");
        answer = () => "pass";
    }

    async function partial(bytes: number): Promise<void> {
        await until(async () => {
            const [file] = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".partial"));
            return file !== undefined && (await stat(path.join(folder, file))).size >= bytes;
        });
    }

    it("brings a blob once, and gives it from any offset", async () => {
        await assertReads(open(cache()));
        const source = open(cache());
        await assertReads(source);
        assert.equal((await read(source, layers[0], 2 * MB)).length, layers[0]!.size - 2 * MB);
        assert.deepEqual(requests(), ["all"]);
        assert.deepEqual(await held(), [nameOf(layers[0]!)]);
        assert.equal((await stat(folder)).mode & 0o777, 0o700);
        assert.equal((await stat(path.join(folder, nameOf(layers[0]!)))).mode & 0o777, 0o600);
        assert.deepEqual(warnings, []);
    });

    it("brings it once for several at a time, in one cache and in several", async () => {
        const one = cache();
        await Promise.all([one, one, one, cache(), cache()].map((through) => assertReads(open(through))));
        assert.deepEqual(requests(), ["all"]);
        assert.deepEqual(await held(), [nameOf(layers[0]!)]);
    });

    it("brings it once for several processes", async () => {
        const texts = [reader(), reader(), reader()].map(({ text }) => text);
        assert.deepEqual(await Promise.all(texts), Array(3).fill(layers[0]!.digest));
        assert.deepEqual(requests(), ["all"]);
        assert.deepEqual(await held(), [nameOf(layers[0]!)]);
    });

    it("lets a slow reader hold nobody back", async () => {
        const through = cache();
        const slow = open(through).blob(layers[0]!, 0)[Symbol.asyncIterator]();
        const first = await slow.next();
        await assertReads(open(through));
        let bytes = first.value!.length;
        for (let next = await slow.next(); !next.done; next = await slow.next()) bytes += next.value.length;
        assert.equal(bytes, layers[0]!.size);
        assert.deepEqual(requests(), ["all"]);
    });

    it("gives what has come before all has", async () => {
        answer = () => "stall";
        const through = cache();
        const reading = [open(through), open(through)].map((source) =>
            source.blob(layers[0]!, 0)[Symbol.asyncIterator](),
        );
        for (const one of reading) assert.ok((await one.next()).value!.length > 0);
        for (const one of reading) await one.return?.();
    });

    it("removes a damaged blob and brings it anew", async () => {
        await assertReads(open(cache()));
        const file = path.join(folder, nameOf(layers[0]!));
        const content = await readFile(file);
        const damages = [
            () => {
                const other = Buffer.from(content);
                other[MB]! ^= 1;
                return writeFile(file, other);
            },
            () => truncate(file, MB),
            () => writeFile(file, Buffer.concat([content, content])),
        ];
        for (const [i, damage] of damages.entries()) {
            await damage();
            await Promise.all([1, 2].map(() => assertReads(open(cache()))));
            assert.equal(requests().length, i + 2);
            assert.deepEqual(await readFile(file), content);
        }
    });

    it("gives nothing of a download that has another digest, keeps nothing of it, and says so", async () => {
        const layer = layers[0]!;
        await front.close();
        front = await startFront({
            target: registry.address,
            intercept: ({ url }, response) => url.includes("/blobs/") && (response.end(randomBytes(layer.size)), true),
        });
        reference = `${front.address}/cached:1`;
        await assert.rejects(read(open(cache()), layer), failsWith("Failed", /does not have that digest/));
        assert.deepEqual(await held(), []);
    });

    it("goes on with what a killed process left", async () => {
        await killedDownload();
        assert.equal((await held()).length, 2, "a rest and a dead process's mark");
        await assertReads(open(cache()));
        assert.deepEqual(
            requests().map((range) => range.replace(/[1-9]\d*/, "N")),
            ["all", "bytes=N-"],
        );
        assert.deepEqual(await held(), [nameOf(layers[0]!)]);
    });

    it("begins anew where the rest of a killed process is damaged", async () => {
        await killedDownload();
        const [rest] = (await held()).filter((name) => name.endsWith(".partial"));
        await writeFile(path.join(folder, rest!), randomBytes(1000));
        await assertReads(open(cache()));
        assert.deepEqual(requests(), ["all", "bytes=1000-", "all"]);
    });

    it("waits for another process, and takes over when that is killed", async () => {
        answer = () => "stall";
        const { child } = reader();
        await partial(1);
        answer = () => "pass";
        const waiting = assertReads(open(cache()));
        await sleep(300);
        assert.equal(requests().length, 1, "it waits");
        child.kill("SIGKILL");
        await waiting;
        assert.equal(requests().length, 2);
        assert.deepEqual(await held(), [nameOf(layers[0]!)]);
    });

    it("goes without the cache when another process does not get on", async () => {
        answer = (count) => (count === 1 ? "stall" : "pass");
        reader();
        await partial(1);
        await assertReads(open(cache({ patience: 200 })));
        assert.deepEqual(requests(), ["all", "all"]);
        assert.match(warnings.join(), /does not get on/);
    });

    it("stops waiting when told to", async () => {
        answer = () => "stall";
        reader();
        await partial(1);
        const stop = new AbortController();
        const waiting = bytesOf(open(cache()).blob(layers[0]!, 0, stop.signal));
        waiting.catch(() => undefined);
        await sleep(100);
        stop.abort(new Error("enough"));
        await assert.rejects(waiting);
    });

    it("lets the next take over when the first one's download fails or is left", async () => {
        answer = (count) => (count === 1 ? "fail" : "pass");
        const through = cache();
        const both = await Promise.allSettled([read(open(through)), read(open(through))]);
        // Which one comes first is not for us to say.
        assert.deepEqual(both.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
        answer = (count) => (count === 3 ? "stall" : "pass");
        await push(4);
        const leaving = open(through);
        const reading = leaving.blob(layers[0]!, 0)[Symbol.asyncIterator]();
        await reading.next();
        const staying = open(through).blob(layers[0]!, 0)[Symbol.asyncIterator]();
        let bytes = (await staying.next()).value!.length;
        await reading.return?.();
        await leaving.close();
        proceed();
        for (let next = await staying.next(); !next.done; next = await staying.next()) bytes += next.value.length;
        assert.equal(bytes, layers[0]!.size);
        assert.deepEqual(requests(), ["all"], "the download went on without who had begun it");
    });

    it("does not try for each reader when a registry stays away", async () => {
        answer = () => "fail later";
        const through = cache();
        const readers = [1, 2, 3, 4, 5, 6].map(() => open(through));
        await Promise.all(readers.map((source) => source.resolve()));
        const reading = Promise.allSettled(readers.map((source) => read(source)));
        await until(() => requests().length > 0);
        // Time for all to join; one that comes after a failure may try by itself.
        await sleep(300);
        proceed();
        const all = await reading;
        for (const one of all) assert.equal(one.status, "rejected");
        assert.ok(requests().length <= 3, String(requests().length));
    });

    it("evicts what was not used for longest, and nothing that is in use", async () => {
        await push(3, 3.1, 3.2, 3.3);
        const through = cache({ size: 7 * MB });
        const [a, b, c, d] = layers as [Descriptor, Descriptor, Descriptor, Descriptor];
        const source = open(through);
        await assertReads(source, a);
        await assertReads(source, b);
        await utimes(path.join(folder, nameOf(b)), new Date(0), new Date(0));
        await assertReads(source, c);
        assert.deepEqual(await held(), [nameOf(a), nameOf(c)].sort());
        await utimes(path.join(folder, nameOf(a)), new Date(0), new Date(0));
        const reading = source.blob(a, 0)[Symbol.asyncIterator]();
        await reading.next();
        await utimes(path.join(folder, nameOf(a)), new Date(0), new Date(0));
        await assertReads(open(cache({ size: 7 * MB })), d);
        await reading.return?.();
        assert.deepEqual(await held(), [nameOf(a), nameOf(d)].sort());
        await assertReads(open(cache({ size: MB })), b);
        assert.deepEqual(requests(b), ["all", "all"], "one larger than the cache passes by");
        assert.deepEqual(warnings, []);
    });

    describe("on a small disk", () => {
        beforeEach(async () => {
            await mkdir(folder, { recursive: true });
            await output("mount", ["-t", "tmpfs", "-o", "size=6m", "tmpfs", folder]);
            await chmod(folder, 0o700);
        });
        afterEach(() => output("umount", [folder]));

        it("goes without the cache below its reserve", async () => {
            await assertReads(open(cache({ reserve: undefined })));
            assert.deepEqual(await held(), []);
            assert.match(warnings.join(), /too little space/);
        });

        it("makes room when the disk has none, and keeps what fits", async () => {
            await push(3, 3.5);
            const source = open(cache());
            await assertReads(source, layers[0]);
            await assertReads(source, layers[1]);
            assert.deepEqual(await held(), [nameOf(layers[1]!)]);
            assert.deepEqual(warnings, []);
        });

        it("goes on without it when the disk gets full", async () => {
            answer = (count) => (count === 1 ? "stall" : "pass");
            const through = cache();
            const reading = [1, 2].map(() => assertReads(open(through)));
            await partial(1);
            await output("sh", ["-c", 'dd if=/dev/zero of="$1/filler" bs=64k 2>/dev/null; true', "sh", folder]);
            proceed();
            await Promise.all(reading);
            assert.deepEqual(await held(), ["filler"]);
            assert.match(warnings.join(), /disk is full/);
        });
    });

    it("goes without a folder that can't be used", async () => {
        await writeFile(path.join(work.folder, "file"), "");
        await assertReads(open(cache({ folder: path.join(work.folder, "file", "blobs") })));
        assert.match(warnings.join(), /ENOTDIR/);
    });

    it("gives nothing to whom the registry would not", async () => {
        // The password is "wonderland".
        const htpasswd = "alice:$2b$05$abcdefghijklmnopqrstuuA0vov2GDneHB3.8.cv9UF9g.RdvScIW\n";
        const guarded = await startRegistry({ htpasswd });
        try {
            const credentials = { username: "alice", password: "wonderland" };
            const dir = path.join(work.folder, "layout-3");
            const name = await guarded.push({ dir, tag: "latest", digest: "" }, "cached:1", credentials);
            const through = cache();
            await assertReads(open(through, { credentials }, name));
            const docker = { folder: work.folder };
            const stranger = open(through, { docker }, name);
            const got: Uint8Array[] = [];
            const reading = async (): Promise<void> => {
                for await (const chunk of stranger.blob(layers[0]!, 0)) got.push(chunk);
            };
            await assert.rejects(reading(), failsWith("Unauthorized", /./));
            assert.deepEqual(got, []);
            await assert.rejects(reading(), failsWith("Unauthorized", /./), "nor at the second try");
        } finally {
            await guarded.stop();
        }
    });
});
