/**
 * Fetching through us: blobs come from a registry, a layout or an archive on our side and are written into the node's
 * content store. Only what is not there is fetched; what an earlier try left is gone on with.
 */
import { setTimeout as sleep } from "node:timers/promises";
import pLimit from "p-limit";
import { writeBlob } from "../containerd/blobs";
import type { Client } from "../containerd/client";
import { ContainerdError, hasCode } from "../errors";
import type { Descriptor } from "../registry/oci";
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
    /** The client that keeps other works of this process on the same node apart. */
    turns: object;
    /** The client with the lease. */
    client: Client;
    source: ImageSource;
    meter: Meter;
    signal?: AbortSignal;
}

const limits = new WeakMap<object, ReturnType<typeof pLimit>>();

function limitOf(owner: object): ReturnType<typeof pLimit> {
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
    return digest === root || /\.(?:manifest|index|manifest\.list)\.v\d\+json$/.test(mediaType ?? "");
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

/** Brings one layer's blob, if it isn't there. Several callers with the same blob take turns. */
export async function fetchLayer(to: FetchTarget, descriptor: Descriptor): Promise<void> {
    await write(to, descriptor, {}, (offset) => {
        const counted = count(to.source.blob(descriptor, offset), offset, (bytes) =>
            to.meter.blob(descriptor.digest, bytes),
        );
        return verified(descriptor, counted, offset);
    });
    to.meter.blob(descriptor.digest, descriptor.size);
}

async function* count(
    stream: AsyncIterable<Uint8Array>,
    start: number,
    tell: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
    let position = start;
    for await (const chunk of stream) {
        yield chunk;
        tell((position += chunk.byteLength));
    }
}
