/**
 * Fetching through us: blobs come from a registry, a layout or an archive on our side and are written into the node's
 * content store. Only what is not there is fetched; what an earlier try left is gone on with.
 */
import { setTimeout as sleep } from "node:timers/promises";
import pLimit from "p-limit";
import { writeBlob, type BlobSource, type BlobTarget } from "../containerd/blobs";
import type { Client } from "../containerd/client";
import { ContainerdError, hasCode } from "../errors";
import { isConfig, isIndex, isLayer, isManifest, type Descriptor } from "../registry/oci";
import type { ImageSource } from "../registry/source";
import { verified } from "../registry/verify";
import { assertDocument, type Document, type ReadDocument } from "./documents";
import type { Meter } from "./meter";
import { inTurn } from "./turns";

/** As many blobs of one node at once; containerd's own client has the same default. */
const PARALLEL = 3;
/** How long another process that writes the same blob is waited for, without seeing it get on. */
const PATIENCE = 10 * 60_000;

/** Where blobs go, and how. */
export interface FetchTarget {
    /** The client with the lease. */
    client: Client;
    source: ImageSource;
    meter: Meter;
    signal?: AbortSignal;
}

const limits = new WeakMap<object, ReturnType<typeof pLimit>>();

function limitOf({ connection: owner }: Client): ReturnType<typeof pLimit> {
    let limit = limits.get(owner);
    if (!limit) limits.set(owner, (limit = pLimit(PARALLEL)));
    return limit;
}

/** Reads documents from the node, or where it hasn't them, from the source. */
export function nodeOrSource(node: ReadDocument, source: ImageSource, root: string): ReadDocument {
    return async (descriptor) => {
        try {
            return await node(descriptor);
        } catch (error) {
            if (!hasCode(error, "NotFound")) throw error;
        }
        const bytes = isDocumentOfManifests(descriptor, root)
            ? (await source.manifest(descriptor.digest)).bytes
            : await collect(source.blob(descriptor as Descriptor, 0), descriptor as Descriptor);
        assertDocument(bytes, descriptor, source.name);
        return bytes;
    };
}

/** Roots and manifests are served as such; a config is a blob. */
function isDocumentOfManifests({ digest, mediaType }: Partial<Descriptor>, root: string): boolean {
    return digest === root || isIndex(mediaType ?? "") || isManifest(mediaType ?? "");
}

async function collect(stream: AsyncIterable<Uint8Array>, descriptor: Descriptor): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of verified(descriptor, stream)) chunks.push(chunk);
    return Buffer.concat(chunks);
}

/** Writes a document that is read already, with its labels, or puts the labels on the one that is there. */
export async function writeDocument(
    to: FetchTarget,
    { descriptor, bytes }: Document<unknown>,
    labels: Record<string, string>,
): Promise<void> {
    await write(to, descriptor, labels, async function* (offset) {
        yield bytes.subarray(offset);
    });
}

/** Brings one layer's blob, if it isn't there. Its digest and size are checked while it is written. */
export async function fetchLayer(to: FetchTarget, descriptor: Descriptor): Promise<void> {
    await write(
        to,
        descriptor,
        {},
        (offset) => to.source.blob(descriptor, offset, to.signal),
        (bytes) => to.meter.blob(descriptor.digest, bytes),
    );
}

/** Writes a blob, or finds it there. Several callers with the same blob take turns. */
async function write(
    to: FetchTarget,
    descriptor: Descriptor,
    labels: Record<string, string>,
    source: BlobSource,
    onProgress?: (bytes: number) => void,
): Promise<void> {
    const { digest, size } = descriptor;
    const target: BlobTarget = { ref: refOf(descriptor), digest, size, labels, signal: to.signal };
    await inTurn(to.client, `blob ${digest}`, () =>
        limitOf(to.client)(() => writeWhenFree(to.client, target, source, onProgress)),
    );
}

/** The name of a write: that of containerd's own client, so that a `ctr image pull` at the same time does not do it twice. */
function refOf({ mediaType, digest }: Descriptor): string {
    if (isLayer(mediaType)) return `layer-${digest}`;
    if (isConfig(mediaType)) return `config-${digest}`;
    return `${isIndex(mediaType) ? "index" : "manifest"}-${digest}`;
}

/** Waits while another process writes the same blob, as long as it gets on; a broken rest of an earlier try is dropped once. */
async function writeWhenFree(
    client: Client,
    target: BlobTarget,
    source: BlobSource,
    onProgress?: (bytes: number) => void,
): Promise<void> {
    let seen = -1;
    let since = performance.now();
    for (;;) {
        target.signal?.throwIfAborted();
        let start = 0;
        try {
            await writeBlob(client, target, (offset) => source((start = offset)), onProgress);
            return;
        } catch (error) {
            if (isWrongContent(error)) {
                // What lies there now is not the beginning of anything: nobody should go on with it.
                await abort(client, target.ref);
                if (start > 0) continue;
            }
            if (!hasCode(error, "Conflict")) throw explained(error, target);
        }
        const offset = await offsetOf(client, target.ref);
        if (offset !== seen) [seen, since] = [offset, performance.now()];
        else if (performance.now() - since > PATIENCE)
            throw new ContainerdError("Conflict", `another process writes ${target.digest} and does not get on`);
        await sleep(200, undefined, { signal: target.signal });
    }
}

/** How many bytes of a write are there; -1 if there is none. */
async function offsetOf(client: Client, ref: string): Promise<number> {
    try {
        return Number((await client.content.status({ ref })).status?.offset ?? 0);
    } catch (error) {
        if (hasCode(error, "NotFound")) return -1;
        throw error;
    }
}

/** Drops what was written under a name. */
async function abort(client: Client, ref: string): Promise<void> {
    try {
        await client.content.abort({ ref });
    } catch (error) {
        if (!hasCode(error, "NotFound")) throw error;
    }
}

/** The bytes are not those announced. */
function isWrongContent(error: unknown): boolean {
    return hasCode(error, "Failed") && /does not have that digest|is longer than|ended after/.test(error.reason);
}

/** Why a blob could not be written, and what to do. */
function explained(error: unknown, { digest }: Pick<Descriptor, "digest">): unknown {
    if (error instanceof ContainerdError && /no space left on device|disk quota exceeded/i.test(error.reason))
        return new ContainerdError("Failed", `no space left on the node for ${digest}: make room and try again`, {
            cause: error,
        });
    return error;
}
