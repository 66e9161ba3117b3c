/**
 * An image's documents (index, manifest, config) for one platform, from wherever they can be read, and what follows from
 * them: chain ids, and the labels by which containerd's garbage collector finds its way. No I/O but the reader given.
 */
import { createHash } from "node:crypto";
import { ContainerdError, hasCode } from "../errors";
import {
    digestOf,
    isIndex,
    isLayer,
    mediaTypeOf,
    parseConfig,
    parseIndex,
    parseManifest,
    type Descriptor,
    type ImageConfig,
    type Index,
    type Manifest,
} from "../registry/oci";
import { choosePlatform, formatPlatform, parsePlatform, runsOn } from "../registry/platform";

/** A small blob, read whole, and what it says. */
export interface Document<T> {
    descriptor: Descriptor;
    bytes: Buffer;
    value: T;
}

/** A filesystem layer: its blob, and what it is once unpacked. */
export interface Layer {
    descriptor: Descriptor;
    /** Digest of the uncompressed tar. */
    diffId: string;
    /** Name of the snapshot that has this layer and all below. */
    chainId: string;
}

/** One image of one platform. */
export interface Documents {
    /** What the reference points at: the index where there is one, else the manifest. */
    root: Descriptor;
    index?: Document<Index>;
    manifest: Document<Manifest>;
    config: Document<ImageConfig>;
    /** The lowest first. */
    layers: Layer[];
    /** Name of the snapshot with all layers; empty for an image without any. */
    chainId: string;
    /** Normalized, like `linux/arm64`. */
    platform: string;
    /** Bytes of manifest, config and compressed layers. */
    size: number;
}

/** Reads a small blob: an index, a manifest or a config. Throws `NotFound` where it isn't. */
export type ReadDocument = (descriptor: Pick<Descriptor, "digest"> & Partial<Descriptor>) => Promise<Buffer>;

/**
 * Reads an image's documents from the root down.
 *
 * @param digest of the root
 * @param platform what the machine is, or which one is wanted, like `linux/amd64`
 * @param name the image, for messages
 *
 * Throws `Unsupported` (property `platform`) with the platforms there are where none fits, `Failed` where a document is
 * broken, and what `read` throws.
 */
export async function readDocuments(
    digest: string,
    platform: string,
    name: string,
    read: ReadDocument,
): Promise<Documents> {
    const rootBytes = await read({ digest });
    const root: Descriptor = { mediaType: mediaTypeOf(rootBytes, undefined, name), digest, size: rootBytes.byteLength };
    let index: Document<Index> | undefined;
    let chosen = root;
    let manifestBytes = rootBytes;
    if (isIndex(root.mediaType)) {
        index = { descriptor: root, bytes: rootBytes, value: parseIndex(rootBytes, name) };
        chosen = choose(index.value, platform, name);
        manifestBytes = await read(chosen);
        if (isIndex(mediaTypeOf(manifestBytes, undefined, name)))
            throw new ContainerdError("Unsupported", `${name} is an index of indexes: name one of those it has`);
    }
    const manifest = { descriptor: chosen, bytes: manifestBytes, value: parseManifest(manifestBytes, name) };
    const configBytes = await read(manifest.value.config);
    const config = {
        descriptor: manifest.value.config,
        bytes: configBytes,
        value: parseConfig(configBytes, name),
    };
    if (!runsOn(config.value, parsePlatform(platform)))
        throw new ContainerdError(
            "Unsupported",
            `${name} is for ${formatPlatform(config.value)}, not for ${formatPlatform(parsePlatform(platform))}`,
            { property: "platform" },
        );
    const layers = layersOf(manifest.value, config.value, name);
    return {
        root,
        index,
        manifest,
        config,
        layers,
        chainId: layers.at(-1)?.chainId ?? "",
        platform: formatPlatform(config.value),
        size: [chosen, manifest.value.config, ...manifest.value.layers].reduce((sum, { size }) => sum + size, 0),
    };
}

/** Digest and bytes fit, or `Failed`: for documents that come from elsewhere than containerd. */
export function assertDocument(bytes: Uint8Array, descriptor: Pick<Descriptor, "digest">, name: string): void {
    const algorithm = descriptor.digest.startsWith("sha512:") ? "sha512" : "sha256";
    const actual = digestOf(bytes, algorithm);
    if (actual !== descriptor.digest)
        throw new ContainerdError(
            "Failed",
            `${name}: the content is not what was asked for: expected ${descriptor.digest}, got ${actual}`,
        );
}

function choose(index: Index, platform: string, name: string): Descriptor {
    try {
        return choosePlatform(index, platform, name);
    } catch (error) {
        throw hasCode(error, "Unsupported") ? error.with({ property: "platform" }) : error;
    }
}

function layersOf(manifest: Manifest, config: ImageConfig, name: string): Layer[] {
    const blobs = manifest.layers.filter((layer) => isLayer(layer.mediaType));
    const strange = manifest.layers.find((layer) => !isLayer(layer.mediaType));
    if (strange)
        throw new ContainerdError(
            "Unsupported",
            `${name} has a layer of type ${strange.mediaType}, which is none of a container image`,
        );
    const diffIds = config.rootfs.diff_ids;
    if (blobs.length !== diffIds.length)
        throw new ContainerdError(
            "Failed",
            `${name} is broken: its manifest has ${blobs.length} layers, its config ${diffIds.length}`,
        );
    const chain = chainIds(diffIds);
    return blobs.map((descriptor, i) => ({ descriptor, diffId: diffIds[i] ?? "", chainId: chain[i] ?? "" }));
}

/** The chain id of each layer: OCI image specification, config.md, "Layer ChainID". */
export function chainIds(diffIds: readonly string[]): string[] {
    const chain: string[] = [];
    for (const diffId of diffIds) {
        const below = chain.at(-1);
        chain.push(
            below === undefined ? diffId : `sha256:${createHash("sha256").update(`${below} ${diffId}`).digest("hex")}`,
        );
    }
    return chain;
}

/** On a layer's blob: its diff id, which containerd uses to know the snapshot without reading the blob. */
export const UNCOMPRESSED = "containerd.io/uncompressed";

/** Labels on the index that keep our platform's manifest. The number is the manifest's place, as containerd's client has it. */
export function indexLabels({ index, manifest }: Documents): Record<string, string> {
    const place = index?.value.manifests.findIndex(({ digest }) => digest === manifest.descriptor.digest) ?? -1;
    return place < 0 ? {} : { [`containerd.io/gc.ref.content.m.${place}`]: manifest.descriptor.digest };
}

/** Labels on the manifest that keep config and layers. */
export function manifestLabels({ manifest: { value } }: Documents): Record<string, string> {
    return {
        "containerd.io/gc.ref.content.config": value.config.digest,
        ...Object.fromEntries(value.layers.map(({ digest }, i) => [`containerd.io/gc.ref.content.l.${i}`, digest])),
    };
}

/** Labels on the config that keep the snapshot of all layers. */
export function configLabels({ chainId }: Documents, snapshotter: string): Record<string, string> {
    return chainId ? { [`containerd.io/gc.ref.snapshot.${snapshotter}`]: chainId } : {};
}
