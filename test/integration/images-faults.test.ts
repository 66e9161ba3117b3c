/** Images that are broken or hostile, registries that fail, full disks, killed pulls: what is said, and that nothing is left. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { access } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startRegistry, type Registry } from "../../playground/registry";
import { startWorker, type Worker } from "../../playground/worker";
import { Client } from "../../provider/containerd/client";
import { ensureImage, type EnsureRequest } from "../../provider/images/ensure";
import { inspectImage } from "../../provider/images/inspect";
import { releaseImage } from "../../provider/images/records";
import { sweepImageLeftovers } from "../../provider/images/sweep";
import { RegistryClient } from "../../provider/registry/client";
import { layoutSource, registrySource, type ImageSource } from "../../provider/registry/source";
import { unixTransport } from "../../provider/transport/unix";
import { startFront, type Front } from "../helpers/front";
import { failsWith, temporary } from "../helpers/image";
import { craftLayout, held, nothing, tarOf, type CraftedLayer } from "./images-fixtures";

const owner = "urn:pulumi:test::images::pulumi-nodejs:dynamic/containerd:Image::b";
const reference = "example.com/local/app:1";

for (const version of ["1.6", "2"] as const)
    describe(`images that fail, containerd ${version}`, function () {
        this.timeout(120_000);
        let worker: Worker;
        let client: Client;
        let registry: Registry;
        let folder: string;
        let remove: () => Promise<void>;

        before(async () => {
            worker = await startWorker({ version });
            client = await Client.connect(unixTransport("edge-1", worker.address), "images");
            registry = await startRegistry();
        });
        after(async () => {
            client?.close();
            await registry?.stop();
            await worker?.stop();
        });
        beforeEach(async () => {
            ({ folder, remove } = await temporary());
        });
        afterEach(async () => {
            await remove();
            assert.deepEqual(await held(client), nothing);
        });

        function ensure(source: ImageSource, digest: string, request: Partial<EnsureRequest> = {}) {
            return ensureImage(client, {
                reference,
                digest,
                source,
                claim: { uid: "u1", owner },
                pull: "missing",
                ...request,
            }).finally(() => source.close());
        }

        async function crafted(layers: readonly CraftedLayer[]): Promise<ReturnType<typeof ensureImage>> {
            const digest = await craftLayout(path.join(folder, "layout"), layers);
            return ensure(await layoutSource(path.join(folder, "layout")), digest);
        }

        const layer = async (bytes = 200_000): Promise<Buffer> =>
            tarOf([{ name: "file", content: randomBytes(bytes) }]);

        it("a layer that is not what its digest says", async () => {
            const stored = await layer();
            await assert.rejects(
                crafted([{ tar: await layer(), compression: "none", stored }]),
                failsWith("Failed", /does not have that digest|not what was asked for/),
            );
        });

        it("a layer that is longer or shorter than it says", async () => {
            const tar = await layer();
            for (const by of [-1000, 1000])
                await assert.rejects(
                    crafted([{ tar, compression: "none", claimedSize: tar.byteLength + by }]),
                    failsWith("Failed", /longer|ended after|bytes/),
                );
        });

        it("a layer that unpacks to something else than the config says", async () => {
            await assert.rejects(
                crafted([{ tar: await layer(), claimedDiffId: `sha256:${"1".repeat(64)}` }]),
                failsWith("Failed", /the image is broken/),
            );
        });

        it("a layer that is no archive", async () => {
            await assert.rejects(
                crafted([{ tar: randomBytes(4096), compression: "none" }]),
                failsWith("Failed", /cannot unpack layer sha256:/),
            );
        });

        it("paths and links that leave the root stay inside of it", async () => {
            const outside = path.join(worker.varLib, "outside");
            const content = Buffer.from("hostile");
            const tar = await tarOf([
                { name: "../../../../../../../../../../var/lib/outside", content },
                { name: "/var/lib/outside", content },
                { name: "link", type: "symlink", linkname: "/var/lib" },
                { name: "link/outside", content },
                { name: "up", type: "symlink", linkname: "../../../../../../../../../../var/lib" },
                { name: "up/outside", content },
            ]);
            // containerd resolves every path inside of the snapshot; refusing would be as well.
            const image = await crafted([{ tar }]).catch(failsWith("Failed", /cannot unpack layer/));
            await assert.rejects(access(outside), { code: "ENOENT" });
            if (typeof image === "object") await releaseImage(client, { reference, digest: image.digest, uid: "u1" });
        });

        it("a hard link to a file outside of the root", async () => {
            const tar = await tarOf([
                { name: "shadow", type: "link", linkname: "../../../../../../../../../etc/shadow" },
            ]);
            await assert.rejects(crafted([{ tar }]), failsWith("Failed", /cannot unpack layer/));
        });

        it("a full disk", async () => {
            const store = "/var/lib/containerd/io.containerd.content.v1.content";
            await worker.run('mount -t tmpfs -o size=1m tmpfs "$1" && mkdir -p "$1/ingest" "$1/blobs/sha256"', store);
            try {
                await assert.rejects(
                    crafted([{ tar: await layer(3_000_000) }]),
                    failsWith("Failed", /no space left on the node for sha256:.*make room/),
                );
            } finally {
                await worker.run('umount "$1"', store);
            }
        });

        describe("with a registry behind a front", () => {
            let front: Front;
            let name: string;
            let digest: string;
            /** What the front does with a layer's request; counts those that came. */
            let onLayer: (count: number) => "pass" | "cut" | "stall" = () => "pass";

            beforeEach(async () => {
                const tar = await layer(4_000_000);
                digest = await craftLayout(path.join(folder, "layout"), [{ tar }]);
                let count = 0;
                front = await startFront({
                    target: registry.address,
                    intercept: async ({ url, headers }, response) => {
                        const what = url.includes("/blobs/") ? onLayer(++count) : "pass";
                        if (what === "pass") return false;
                        const upstream = await fetch(`http://${registry.address}${url}`, {
                            headers: headers.range ? { range: headers.range } : {},
                        });
                        const body = Buffer.from(await upstream.arrayBuffer());
                        if (body.byteLength < 100_000) return (void response.end(body), true);
                        response.writeHead(upstream.status, Object.fromEntries(upstream.headers));
                        response.write(body.subarray(0, 1_500_000));
                        if (what === "stall") return true;
                        await sleep(50);
                        response.destroy();
                        return true;
                    },
                });
                const layout = { dir: path.join(folder, "layout"), tag: "latest", digest };
                name = (await registry.push(layout, "fault:1")).replace(registry.address, front.address);
            });
            afterEach(async () => {
                onLayer = () => "pass";
                await front.close();
            });

            const source = (): ImageSource =>
                registrySource(name, { client: new RegistryClient({ limits: { retries: 1 } }) });

            it("goes on where a connection broke off", async () => {
                onLayer = (count) => (count <= 2 ? "cut" : "pass");
                const image = await ensure(source(), digest);
                const ranges = front.seen.flatMap(({ headers }) =>
                    headers.range === undefined ? [] : [headers.range],
                );
                assert.ok(ranges.length > 0 && ranges.every((range) => range !== "bytes=0-"), ranges.join());
                await releaseImage(client, { reference, digest: image.digest, uid: "u1" });
            });

            it("says that the registry is unreachable when it stays away", async () => {
                onLayer = (count) => (count <= 2 ? "cut" : "pass");
                const failing = ensure(source(), digest);
                failing.catch(() => undefined);
                while (front.seen.filter(({ url }) => url.includes("/blobs/")).length < 2) await sleep(5);
                await front.close();
                await assert.rejects(failing, failsWith("Unreachable", /./));
            });

            it("stops when told to, and leaves nothing", async () => {
                onLayer = () => "stall";
                const stop = new AbortController();
                const failing = ensure(source(), digest, { signal: stop.signal });
                failing.catch(() => undefined);
                while ((await client.content.listStatuses({ filters: [] })).statuses.length === 0) await sleep(5);
                stop.abort(new Error("enough"));
                await assert.rejects(failing);
            });

            /** A pull in a process of its own that is killed while it fetches the layer. */
            async function killedPull(uid: string): Promise<void> {
                onLayer = () => "stall";
                const child = spawn(
                    process.execPath,
                    [
                        "--import",
                        "tsx",
                        path.join(__dirname, "images-pull.ts"),
                        worker.address,
                        name,
                        digest,
                        uid,
                        owner,
                    ],
                    { stdio: ["ignore", "inherit", "inherit"], cwd: path.join(__dirname, "../..") },
                );
                const exited = once(child, "exit");
                for (;;) {
                    const { statuses } = await client.content.listStatuses({ filters: [] });
                    if (statuses.some(({ ref, offset }) => ref.startsWith("layer-") && Number(offset) > 0)) break;
                    assert.equal(child.exitCode, null, "the pull ended by itself");
                    await sleep(20);
                }
                child.kill("SIGKILL");
                await exited;
                onLayer = () => "pass";
                front.seen.length = 0;
            }

            it("a killed pull is gone on with by the next, which leaves nothing else", async () => {
                await killedPull("u1");
                assert.equal((await held(client)).leases.length, 1);
                const image = await ensure(source(), digest, { reference: name });
                const ranges = front.seen.flatMap(({ headers }) => headers.range ?? []);
                assert.ok(ranges.length > 0, "what was there is not fetched again");
                const after = await held(client);
                assert.deepEqual([after.leases, after.writes], [[], []]);
                const key = { reference: name, digest, uid: "u1" };
                const state = await inspectImage(client, key);
                assert.deepEqual([state.complete, state.unpacked, state.claimed], [true, true, true]);
                assert.ok(after.snapshots.every((key) => !key.startsWith("extract-")));
                assert.equal(image.brought, true);
                await releaseImage(client, key);
            });

            it("a killed pull's rest goes by a sweep; what is kept stays", async () => {
                await killedPull("u1");
                await sweepImageLeftovers(client, owner, ["u1"]);
                assert.equal((await held(client)).leases.length, 1);
                await sweepImageLeftovers(client, `${owner}-other`, []);
                assert.equal((await held(client)).leases.length, 1);
                const image = await ensure(source(), digest, { reference: name, claim: { uid: "u2", owner } });
                await sweepImageLeftovers(client, owner, ["u2"]);
                assert.deepEqual((await held(client)).leases, []);
                assert.equal((await held(client)).images.length, 2);
                await sweepImageLeftovers(client, owner, []);
                assert.deepEqual(await held(client), nothing);
                assert.equal(image.brought, true);
            });
        });
    });

describe("images by the transfer service, with a password", function () {
    this.timeout(120_000);
    // The password is "wonderland".
    const htpasswd = "alice:$2b$05$abcdefghijklmnopqrstuuA0vov2GDneHB3.8.cv9UF9g.RdvScIW\n";
    let worker: Worker;
    let client: Client;
    let registry: Registry;

    before(async () => {
        worker = await startWorker({ version: "2" });
        client = await Client.connect(unixTransport("edge-1", worker.address), "images");
        registry = await startRegistry({ htpasswd });
    });
    after(async () => {
        client?.close();
        await registry?.stop();
        await worker?.stop();
    });

    it("gives it to the node, and not another; a refusal is tried through us", async () => {
        const { folder, remove } = await temporary();
        try {
            const digest = await craftLayout(path.join(folder, "layout"), [{ tar: await tarOf([{ name: "x" }]) }]);
            const layout = { dir: path.join(folder, "layout"), tag: "latest", digest };
            const credentials = { username: "alice", password: "wonderland" };
            const name = await registry.push(layout, "private:1", credentials);
            const request = { reference: name, digest, claim: { uid: "u1", owner }, pull: "missing" as const };
            const source = await layoutSource(layout.dir);
            const wrong = { ...credentials, password: "wrong", insecure: true };
            await assert.rejects(
                ensureImage(client, { ...request, source, registry: wrong, via: "transfer" }),
                (error: Error) => !/wrong/.test(error.message),
            );
            assert.deepEqual(await held(client), nothing);
            const right = { ...credentials, insecure: true };
            const image = await ensureImage(client, { ...request, source, registry: right, via: "transfer" });
            assert.ok((await held(client)).snapshots.includes(image.chainId));
            await releaseImage(client, { reference: name, digest, uid: "u1" });
            const again = { ...wrong, fromNode: true };
            const told: string[] = [];
            const onFallback = (reason: string): number => told.push(reason);
            const brought = await ensureImage(client, { ...request, source, registry: again, onFallback });
            assert.equal(brought.brought, true);
            assert.equal(told.length, 1);
            assert.match(told[0]!, /private.*(?:401|unauthorized|authorization failed)/i);
            assert.doesNotMatch(told[0]!, /wrong|wonderland/);
            await releaseImage(client, { reference: name, digest, uid: "u1" });
            assert.deepEqual(await held(client), nothing);
            await source.close();
        } finally {
            await remove();
        }
    });
});
