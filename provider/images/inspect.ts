/**
 * What of an image is on a node: for deciding what is left to do, for refresh, and for making containers of what is there.
 */
import { readBlob } from "../containerd/blobs";
import type { Client } from "../containerd/client";
import { nodeFacts } from "../containerd/facts";
import { hasSnapshot } from "../containerd/snapshots";
import { ContainerdError, hasCode } from "../errors";
import type { Descriptor, ImageConfig } from "../registry/oci";
import { readDocuments, type Documents, type ReadDocument } from "./documents";
import { claimsOf, type ImageKey, isBrought, keyOf, recordNames } from "./names";
import { findRecord } from "./records";

/** containerd's own default, where a node has it. */
export const DEFAULT_SNAPSHOTTER = "overlayfs";

/** What `refresh` wants to know of an image. */
export interface ImageState {
    /** The record that keeps the content is there. */
    present: boolean;
    /** Index, manifest, config and all layers of the platform are there. */
    complete: boolean;
    /** The snapshot with all layers is there. */
    unpacked: boolean;
    /** The record that keeps the content has this claim. */
    claimed: boolean;
    /** We made the record that keeps the content. */
    brought: boolean;
    /** Bytes of manifest, config and compressed layers; 0 where the documents that say so are missing. */
    size: number;
    /** Labels of that record that are the user's. */
    labels: Record<string, string>;
    /** The tag's record, if there is one: what it points at, and whether we made it. */
    tag?: { digest: string; brought: boolean };
}

/** Reads documents from the node's content. */
export function onNode(client: Client): ReadDocument {
    return (descriptor) => readBlob(client, descriptor.digest);
}

/** The platform asked for, or the node's own. */
export async function platformFor(client: Client, asked?: string): Promise<string> {
    return asked ?? (await nodeFacts(client)).platform;
}

/** The snapshotter asked for, or the node's default. Throws `Unsupported` (property `snapshotter`) with those there are. */
export async function snapshotterFor(client: Client, asked?: string): Promise<string> {
    const { snapshotters } = await nodeFacts(client);
    const wanted = asked ?? DEFAULT_SNAPSHOTTER;
    if (snapshotters.includes(wanted)) return wanted;
    throw new ContainerdError(
        "Unsupported",
        `the node has no snapshotter ${wanted}; it has ${snapshotters.join(", ") || "none"}`,
        { property: "snapshotter" },
    );
}

/** The documents of an image as far as they are on the node; nothing if any is missing. */
export async function documentsOnNode(
    client: Client,
    digest: string,
    platform: string,
    name: string,
): Promise<Documents | undefined> {
    try {
        return await readDocuments(digest, platform, name, onNode(client));
    } catch (error) {
        if (hasCode(error, "NotFound")) return undefined;
        throw error;
    }
}

/** Which of these blobs the node has, and how many bytes each of them has. */
export async function blobsOnNode(client: Client, blobs: readonly Descriptor[]): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    await Promise.all(
        blobs.map(async ({ digest }) => {
            try {
                const { info } = await client.content.info({ digest });
                if (info) found.set(digest, Number(info.size));
            } catch (error) {
                if (!hasCode(error, "NotFound")) throw error;
            }
        }),
    );
    return found;
}

/** How much of an image is on the node. */
export async function completeness(
    client: Client,
    documents: Documents,
    snapshotter: string,
): Promise<{ complete: boolean; unpacked: boolean }> {
    const layers = documents.layers.map(({ descriptor }) => descriptor);
    const [blobs, unpacked] = await Promise.all([
        blobsOnNode(client, layers),
        documents.chainId === "" || hasSnapshot(client, snapshotter, documents.chainId),
    ]);
    return { complete: layers.every(({ digest }) => blobs.has(digest)), unpacked };
}

/** An image as the node has it. Nothing there is an answer, not an error. */
export async function inspectImage(
    client: Client,
    image: ImageKey & { uid: string; platform?: string; snapshotter?: string },
): Promise<ImageState> {
    const names = recordNames(image.reference, image.digest);
    const [record, tag, platform, snapshotter] = await Promise.all([
        findRecord(client, names.digest),
        names.tag === undefined ? undefined : findRecord(client, names.tag),
        platformFor(client, image.platform),
        snapshotterFor(client, image.snapshotter),
    ]);
    const documents = await documentsOnNode(client, image.digest, platform, image.reference);
    const there = documents ? await completeness(client, documents, snapshotter) : { complete: false, unpacked: false };
    return {
        present: record !== undefined,
        ...there,
        claimed: claimsOf(record?.labels).has(image.uid),
        brought: isBrought(record?.labels),
        size: documents?.size ?? 0,
        labels: userLabels(record?.labels),
        tag: tag?.target ? { digest: tag.target.digest, brought: isBrought(tag.labels) } : undefined,
    };
}

/** What a container needs of an image. */
export interface ImageForContainer {
    config: ImageConfig;
    /** Name of the snapshot to be the parent of the container's own; empty for an image without layers. */
    chainId: string;
    /** Digest of the platform's manifest. */
    manifestDigest: string;
    platform: string;
}

/** Documents never change under a digest: read once for each connection. Whether they are still there is not asked again. */
const configs = new WeakMap<object, Map<string, Promise<ImageForContainer>>>();

/**
 * The config of an image that is on the node, by the digest of its root. Throws `NotFound` where it isn't, `Unsupported`
 * where it is for other platforms.
 */
export function imageConfig(client: Client, digest: string, platform?: string): Promise<ImageForContainer> {
    let known = configs.get(client.connection);
    if (!known) configs.set(client.connection, (known = new Map()));
    const key = `${client.namespace} ${digest} ${platform ?? ""}`;
    const found = known.get(key);
    if (found) return found;
    const reading = readConfig(client, digest, platform);
    known.set(key, reading);
    reading.catch(() => known.delete(key));
    return reading;
}

async function readConfig(client: Client, digest: string, platform?: string): Promise<ImageForContainer> {
    const documents = await documentsOnNode(client, digest, await platformFor(client, platform), digest);
    if (!documents)
        throw new ContainerdError("NotFound", `the image ${digest} is not on the node: it has to be pulled first`);
    return {
        config: documents.config.value,
        chainId: documents.chainId,
        manifestDigest: documents.manifest.descriptor.digest,
        platform: documents.platform,
    };
}

/** The record of an image by its pinned reference (`docker.io/library/nginx:1.27@sha256:…`), or nothing. */
export function findImage(client: Client, pinned: string): ReturnType<typeof findRecord> {
    const { reference, digest } = keyOf(pinned);
    return findRecord(client, recordNames(reference, digest).digest);
}

function userLabels(labels: Record<string, string> = {}): Record<string, string> {
    return Object.fromEntries(
        Object.entries(labels).filter(([key]) => !/^(?:pulumi-containerd|containerd\.io)\//.test(key)),
    );
}
