/** Bringing images onto real nodes, by both ways, and giving them up again: what is there afterwards, seen by `ctr` too. */
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import path from "node:path";
import { busyboxImage, foreignImage, multiPlatformImage } from "../../playground/images";
import { startRegistry, type Registry } from "../../playground/registry";
import { startWorker, type Worker } from "../../playground/worker";
import { Client } from "../../provider/containerd/client";
import type { ContainerdError } from "../../provider/errors";
import { ensureImage, type EnsuredImage, type EnsureRequest } from "../../provider/images/ensure";
import { findImage, imageConfig, inspectImage } from "../../provider/images/inspect";
import { recordNames } from "../../provider/images/names";
import type { PullProgress } from "../../provider/images/progress";
import { labelImage, releaseImage } from "../../provider/images/records";
import { layoutSource, registrySource } from "../../provider/registry/source";
import { unixTransport } from "../../provider/transport/unix";
import { startFront, type Front } from "../helpers/front";
import { failsWith, temporary } from "../helpers/image";
import { craftLayout, held, nothing, tarOf } from "./images-fixtures";

const owner = "urn:pulumi:test::images::pulumi-nodejs:dynamic/containerd:Image::a";

for (const version of ["1.6", "2"] as const)
    for (const via of version === "2" ? (["content", "transfer"] as const) : (["content"] as const))
        describe(`images on containerd ${version}, by ${via}`, function () {
            this.timeout(120_000);
            let worker: Worker;
            let client: Client;
            let registry: Registry;
            let front: Front;

            before(async () => {
                worker = await startWorker({ version });
                client = await Client.connect(unixTransport("edge-1", worker.address), "images");
                registry = await startRegistry();
                front = await startFront({ target: registry.address });
            });
            after(async () => {
                client?.close();
                await front?.close();
                await registry?.stop();
                await worker?.stop();
            });
            afterEach(async () => {
                for (const name of (await held(client)).images) await client.images.delete({ name, sync: true });
                assert.deepEqual(await held(client), nothing);
                front.seen.length = 0;
            });

            /** Blobs that were asked for. */
            const blobs = (): string[] => front.seen.filter(({ url }) => url.includes("/blobs/")).map(({ url }) => url);
            const ctr = (...args: string[]): Promise<string> => worker.ctr("-n", "images", ...args);

            async function ensure(
                reference: string,
                uid: string,
                request: Partial<EnsureRequest> = {},
            ): Promise<EnsuredImage> {
                const source = registrySource(reference);
                try {
                    const { digest } = await source.resolve();
                    return await ensureImage(client, {
                        reference,
                        digest,
                        source,
                        registry: { insecure: true },
                        claim: { uid, owner },
                        pull: "missing",
                        via,
                        ...request,
                    });
                } finally {
                    await source.close();
                }
            }

            async function pushed(image: Parameters<Registry["push"]>[0], name: string): Promise<string> {
                return (await registry.push(image, name)).replace(registry.address, front.address);
            }

            it("is complete, unpacked and claimed; goes with the last claim, and leaves nothing", async () => {
                const reference = await pushed(await multiPlatformImage(), "multi:1");
                const progress: PullProgress[] = [];
                const first = await ensure(reference, "u1", { onProgress: (p) => progress.push(p) });
                assert.equal(first.brought, true);
                assert.equal(first.config.architecture, process.arch === "x64" ? "amd64" : process.arch);
                assert.notEqual(first.manifestDigest, first.digest);
                assert.equal(progress.at(-1)?.phase, "done");
                assert.deepEqual(progress.at(-1)?.bytes.done, progress.at(-1)?.bytes.total);
                assert.equal(progress.at(-1)?.layers.done, progress.at(-1)?.layers.total);

                const there = await held(client);
                const names = recordNames(reference, first.digest);
                assert.deepEqual(there.images, [names.tag, names.digest].sort());
                assert.deepEqual(there.leases, []);
                assert.ok(there.snapshots.includes(first.chainId));
                const check = await ctr("images", "check");
                for (const name of there.images) assert.match(check, new RegExp(`${name} .* complete .* true`));

                const asked = blobs().length;
                const second = await ensure(reference, "u2");
                assert.equal(second.brought, false);
                assert.equal(second.chainId, first.chainId);
                assert.equal(blobs().length, asked, "nothing is fetched that is there");
                assert.deepEqual(await held(client), there);

                const key = { reference, digest: first.digest };
                await releaseImage(client, { ...key, uid: "u1" });
                await releaseImage(client, { ...key, uid: "u1" });
                const state = await inspectImage(client, { ...key, uid: "u2" });
                assert.deepEqual(state, {
                    present: true,
                    complete: true,
                    unpacked: true,
                    claimed: true,
                    brought: true,
                    size: first.size,
                    labels: {},
                    tag: { digest: first.digest, brought: true },
                });
                assert.deepEqual(await held(client), there);
                await releaseImage(client, { ...key, uid: "u2" });
                assert.deepEqual(await held(client), nothing);
                assert.equal((await inspectImage(client, { ...key, uid: "u2" })).present, false);
            });

            it("brings only what is missing, and unpacks what is not", async () => {
                const reference = await pushed(await busyboxImage(), "part:1");
                const whole = await ensure(reference, "u1");
                await client.snapshots.remove({ snapshotter: "overlayfs", key: whole.chainId });
                const key = { reference, digest: whole.digest, uid: "u1" };
                assert.deepEqual((await inspectImage(client, key)).unpacked, false);
                assert.equal((await ensure(reference, "u1")).brought, true);
                assert.deepEqual((await inspectImage(client, key)).unpacked, true);

                const layer = (await held(client)).content.find((digest) =>
                    blobs().some((url) => url.endsWith(digest)),
                );
                assert.ok(layer);
                front.seen.length = 0;
                await client.content.delete({ digest: layer });
                await held(client);
                await ensure(reference, "u1");
                assert.deepEqual(new Set(blobs().map((url) => url.slice(url.lastIndexOf("/") + 1))), new Set([layer]));
                assert.equal((await inspectImage(client, key)).complete, true);
            });

            it("several at once that share layers, in one process, do each part once", async () => {
                const { folder, remove } = await temporary();
                try {
                    const base = { tar: await tarOf([{ name: "base", content: Buffer.alloc(3_000_000, 1) }]) };
                    const references = [];
                    for (const name of ["a", "b", "c"]) {
                        const dir = path.join(folder, name);
                        const own = { tar: await tarOf([{ name, content: Buffer.from(name) }]) };
                        const digest = await craftLayout(dir, [base, own]);
                        references.push(await pushed({ dir, tag: "latest", digest }, `shared-${name}:1`));
                    }
                    const images = await Promise.all(references.map((reference, i) => ensure(reference, `u${i}`)));
                    assert.equal(new Set(images.map(({ chainId }) => chainId)).size, 3);
                    assert.equal((await held(client)).snapshots.length, 4);
                    if (via === "content") assert.equal(blobs().length, new Set(blobs().map((u) => u.slice(-64))).size);
                } finally {
                    await remove();
                }
            });

            it("leaves a tag alone that somebody else made, and moves one of ours", async () => {
                const one = await pushed(await busyboxImage(), "tag:1");
                const first = await ensure(one, "u1");
                const other = await pushed(await multiPlatformImage(), "tag:1");
                assert.equal(other, one);
                const second = await ensure(one, "u2");
                assert.notEqual(second.digest, first.digest);
                const tagOf = async (): Promise<string | undefined> =>
                    (await client.images.get({ name: one })).image?.target?.digest;
                assert.equal(await tagOf(), second.digest, "the newest claim decides");
                await ensure(one, "u1", { digest: first.digest });
                assert.equal(await tagOf(), second.digest, "an older one does not take it back");
                await releaseImage(client, { reference: one, digest: second.digest, uid: "u2" });
                await releaseImage(client, { reference: one, digest: first.digest, uid: "u1" });
                assert.deepEqual(await held(client), nothing);

                await ctr("images", "pull", "--plain-http", one);
                const before = (await client.images.get({ name: one })).image;
                const mine = await ensure(one, "u3");
                assert.equal(mine.brought, false);
                assert.deepEqual((await client.images.get({ name: one })).image, before);
                await releaseImage(client, { reference: one, digest: mine.digest, uid: "u3" });
                assert.deepEqual((await held(client)).images, [one]);
                assert.match(await ctr("images", "check"), /complete .* true/);
            });

            it("finds, reads and labels what is there", async () => {
                const reference = await pushed(await busyboxImage(), "look:1");
                const { digest, chainId, config, manifestDigest, platform } = await ensure(reference, "u1", {
                    labels: { team: "sip" },
                });
                assert.deepEqual(await imageConfig(client, digest), { config, chainId, manifestDigest, platform });
                assert.equal((await findImage(client, `${reference}@${digest}`))?.target?.digest, digest);
                await labelImage(client, { reference, digest }, { team: "", stage: "live" });
                const state = await inspectImage(client, { reference, digest, uid: "u1" });
                assert.deepEqual(state.labels, { stage: "live" });
                assert.equal(state.claimed, true);
                await assert.rejects(
                    imageConfig(client, `sha256:${"0".repeat(64)}`),
                    failsWith("NotFound", /not on the node/),
                );
            });

            it("refuses what cannot be, before anything is touched", async () => {
                const reference = await pushed(await foreignImage(), "foreign:1");
                const of = (property: string, message: RegExp) => (error: ContainerdError) => {
                    assert.equal(error.property, property);
                    return failsWith("Unsupported", message)(error);
                };
                await assert.rejects(
                    ensure(reference, "u1", { via: "content" }),
                    of("platform", /is for linux\/|there are/),
                );
                await assert.rejects(
                    ensure(reference, "u1", { snapshotter: "zfs9" }),
                    of("snapshotter", /no snapshotter zfs9; it has .*overlayfs/),
                );
                await assert.rejects(ensure(reference, "u1", { pull: "never" }), (error: ContainerdError) => {
                    assert.equal(error.property, "pull");
                    return failsWith("NotFound", /pull is "never"/)(error);
                });
                assert.deepEqual(await held(client), nothing);
            });

            it("takes another platform where it is asked for", async () => {
                const reference = await pushed(await foreignImage(), "foreign:1");
                const platform = process.arch === "x64" ? "linux/arm64" : "linux/amd64";
                const { config, chainId } = await ensure(reference, "u1", { platform });
                assert.equal(config.architecture, platform.slice("linux/".length));
                assert.ok((await held(client)).snapshots.includes(chainId));
            });

            it("other snapshotters", async () => {
                const reference = await pushed(await busyboxImage(), "native:1");
                const { chainId, digest } = await ensure(reference, "u1", { snapshotter: "native", via: undefined });
                await held(client);
                await client.snapshots.stat({ snapshotter: "native", key: chainId });
                await releaseImage(client, { reference, digest, uid: "u1" });
                await held(client);
                await assert.rejects(
                    client.snapshots.stat({ snapshotter: "native", key: chainId }),
                    failsWith("NotFound", /./),
                );
            });

            it("layouts too, of gzip, zstd and uncompressed layers", async () => {
                const { folder, remove } = await temporary();
                try {
                    const layers = await Promise.all(
                        (["gzip", "zstd", "none"] as const).map(async (compression) => ({
                            compression,
                            tar: await tarOf([{ name: compression, content: Buffer.alloc(100_000, compression) }]),
                        })),
                    );
                    const digest = await craftLayout(folder, layers);
                    const source = await layoutSource(folder);
                    const reference = "example.com/local/app:1";
                    const claim = { uid: "u1", owner };
                    const image = await ensureImage(client, { reference, digest, source, claim, pull: "missing" });
                    await source.close();
                    await rm(folder, { recursive: true });
                    assert.ok((await held(client)).snapshots.includes(image.chainId));
                    assert.match(await ctr("images", "check"), /complete .* true/);
                } finally {
                    await remove();
                }
            });
        });
