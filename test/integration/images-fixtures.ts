/** Images made by hand for the tests of `images/`: of any layers, also of such as nobody should make. */
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import * as tar from "tar-stream";
import type { Client } from "../../provider/containerd/client";
import { MediaType, type Descriptor } from "../../provider/registry/oci";

/** A layer: an uncompressed tar, and what is to be said of it. */
export interface CraftedLayer {
    tar: Buffer;
    compression?: "gzip" | "zstd" | "none";
    /** Says this size instead of the true one. */
    claimedSize?: number;
    /** Says this diff id instead of the true one. */
    claimedDiffId?: string;
    /** Stores this under the layer's digest. */
    stored?: Buffer;
}

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

const compressions = {
    gzip: { type: MediaType.ociLayerGzip, compress: (bytes: Buffer) => gzipSync(bytes, { level: 1 }) },
    zstd: { type: MediaType.ociLayerZstd, compress: (bytes: Buffer) => zstdCompressSync(bytes) },
    none: { type: MediaType.ociLayer, compress: (bytes: Buffer) => bytes },
};

/** A tar of entries as given, also with names and links that no honest tool writes. */
export async function tarOf(
    entries: readonly (Partial<tar.Header> & { name: string; content?: Buffer })[],
): Promise<Buffer> {
    const pack = tar.pack();
    for (const { content, ...header } of entries) pack.entry(header, content ?? Buffer.alloc(0));
    pack.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of pack) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
}

/** Writes an OCI layout of one image into a new folder, and gives the digest of its manifest. */
export async function craftLayout(folder: string, layers: readonly CraftedLayer[]): Promise<string> {
    const blobs = path.join(folder, "blobs", "sha256");
    await mkdir(blobs, { recursive: true });
    const store = async (bytes: Buffer, mediaType: string, stored = bytes): Promise<Descriptor> => {
        const digest = sha256(bytes);
        await writeFile(path.join(blobs, digest.slice("sha256:".length)), stored);
        return { mediaType, digest, size: bytes.byteLength };
    };
    const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

    const descriptors: Descriptor[] = [];
    for (const layer of layers) {
        const { type, compress } = compressions[layer.compression ?? "gzip"];
        const descriptor = await store(compress(layer.tar), type, layer.stored);
        descriptors.push({ ...descriptor, size: layer.claimedSize ?? descriptor.size });
    }
    const architecture = process.arch === "x64" ? "amd64" : process.arch;
    const diffIds = layers.map((layer) => layer.claimedDiffId ?? sha256(layer.tar));
    const config = await store(
        json({ os: "linux", architecture, config: {}, rootfs: { type: "layers", diff_ids: diffIds } }),
        MediaType.ociConfig,
    );
    const manifest = await store(
        json({ schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers: descriptors }),
        MediaType.ociManifest,
    );
    const annotations = { "org.opencontainers.image.ref.name": "latest" };
    await writeFile(
        path.join(folder, "index.json"),
        json({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
    );
    await writeFile(path.join(folder, "oci-layout"), json({ imageLayoutVersion: "1.0.0" }));
    return manifest.digest;
}

/** All that a namespace holds of images. */
export interface Held {
    images: string[];
    content: string[];
    snapshots: string[];
    leases: string[];
    writes: string[];
}

/** Nothing at all. */
export const nothing: Held = { images: [], content: [], snapshots: [], leases: [], writes: [] };

/** What is there, sorted, once garbage is collected. */
export async function held(client: Client): Promise<Held> {
    await collectGarbage(client);
    const found: Held = { images: [], content: [], snapshots: [], leases: [], writes: [] };
    for (const { name } of (await client.images.list({ filters: [] })).images) found.images.push(name);
    for (const { id } of (await client.leases.list({ filters: [] })).leases) found.leases.push(id);
    for await (const { info } of client.content.list({ filters: [] }))
        for (const { digest } of info) found.content.push(digest);
    for await (const { info } of client.snapshots.list({ snapshotter: "overlayfs", filters: [] }))
        for (const { name } of info) found.snapshots.push(name);
    for (const { ref } of (await client.content.listStatuses({ filters: [] })).statuses) found.writes.push(ref);
    for (const list of Object.values(found) as string[][]) list.sort();
    return found;
}

/** Ending a lease with `sync` collects. */
async function collectGarbage(client: Client): Promise<void> {
    const id = "images-test-collect";
    await client.leases.create({ id });
    await client.leases.delete({ id, sync: true });
}
