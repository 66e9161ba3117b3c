/**
 * Images in a `docker save` archive (the image specification of Docker, v1.2): `manifest.json`, configs, and layers as
 * tars. It has no manifest in a registry's sense and no digests: both are made here, the same each time.
 */
import { createHash } from "node:crypto";
import { ContainerdError } from "../errors";
import { readFile, type Files } from "./files";
import { chooseByName, sized, type LocalSourceOptions } from "./layout";
import {
    digestOf,
    maxConfigSize,
    maxManifestSize,
    MediaType,
    parseConfig,
    type Descriptor,
    type Manifest,
} from "./oci";
import type { ImageSource } from "./source";

/** An entry of manifest.json. */
interface SavedImage {
    Config: string;
    RepoTags?: string[] | null;
    Layers: string[];
}

/** A descriptor and where its bytes are in the archive. */
interface Placed {
    descriptor: Descriptor;
    path: string;
}

/** The image in a `docker save` archive. Reads each of its layers once. Closes `files` when closed, and when this fails. */
export async function dockerArchiveOf(files: Files, options: LocalSourceOptions): Promise<ImageSource> {
    try {
        const saved = await readSaved(files);
        const image = chooseByName(saved, ({ RepoTags }) => RepoTags ?? [], options.reference, files.name);
        return await sourceOf(files, image);
    } catch (error) {
        await files.close();
        throw error;
    }
}

async function sourceOf(files: Files, image: SavedImage): Promise<ImageSource> {
    const config = await readFile(files, image.Config, maxConfigSize);
    const { rootfs } = parseConfig(config, files.name);
    if (rootfs.diff_ids.length !== image.Layers.length)
        throw new ContainerdError(
            "Failed",
            `${files.name}: its config has ${rootfs.diff_ids.length} layers, its manifest.json ${image.Layers.length}`,
        );
    const layers: Placed[] = [];
    for (const [i, path] of image.Layers.entries()) layers.push(await layerOf(files, path, rootfs.diff_ids[i]!));

    const placedConfig: Placed = {
        descriptor: { mediaType: MediaType.ociConfig, digest: digestOf(config), size: config.byteLength },
        path: image.Config,
    };
    const manifest: Manifest = {
        schemaVersion: 2,
        mediaType: MediaType.ociManifest,
        config: placedConfig.descriptor,
        layers: layers.map(({ descriptor }) => descriptor),
    };
    const bytes = Buffer.from(JSON.stringify(manifest));
    const root: Descriptor = { mediaType: MediaType.ociManifest, digest: digestOf(bytes), size: bytes.byteLength };
    const paths = new Map([placedConfig, ...layers].map(({ descriptor, path }) => [descriptor.digest, path]));
    const absent = (digest: string): ContainerdError =>
        new ContainerdError("NotFound", `${files.name}: ${digest} is not in it`);
    return {
        name: files.name,
        resolve: async () => root,
        manifest: async (digest) => {
            if (digest !== root.digest) throw absent(digest);
            return { bytes, mediaType: root.mediaType };
        },
        blob: async function* (descriptor, offset) {
            const path = paths.get(descriptor.digest);
            if (path === undefined) throw absent(descriptor.digest);
            yield* sized(files, path, descriptor, offset);
        },
        close: () => files.close(),
    };
}

/** A layer's descriptor, by reading it. Throws `Failed` when an uncompressed one is not what the config says. */
async function layerOf(files: Files, path: string, diffId: string): Promise<Placed> {
    const hash = createHash("sha256");
    let size = 0;
    let mediaType: string = MediaType.ociLayer;
    for await (const chunk of files.stream(path, 0)) {
        if (size === 0) mediaType = layerType(chunk);
        hash.update(chunk);
        size += chunk.byteLength;
    }
    const digest = `sha256:${hash.digest("hex")}`;
    if (mediaType === MediaType.ociLayer && digest !== diffId)
        throw new ContainerdError("Failed", `${files.name}: the layer ${path} is ${digest}; its config says ${diffId}`);
    return { descriptor: { mediaType, digest, size }, path };
}

/** By the first bytes: gzip (RFC 1952), zstd (RFC 8878), else a bare tar. */
function layerType(start: Uint8Array): string {
    const magic = Buffer.from(start.subarray(0, 4)).toString("hex");
    if (magic.startsWith("1f8b")) return MediaType.ociLayerGzip;
    if (magic === "28b52ffd") return MediaType.ociLayerZstd;
    return MediaType.ociLayer;
}

async function readSaved(files: Files): Promise<SavedImage[]> {
    const bytes = await readFile(files, "manifest.json", maxManifestSize);
    let value: unknown;
    try {
        value = JSON.parse(bytes.toString("utf8"));
    } catch {
        value = undefined;
    }
    if (!Array.isArray(value) || !value.every(isSavedImage))
        throw new ContainerdError(
            "Invalid",
            `${files.name} is no image archive: its manifest.json is not as docker save writes it`,
        );
    return value;
}

function isSavedImage(value: unknown): value is SavedImage {
    if (typeof value !== "object" || value === null) return false;
    const { Config, RepoTags, Layers } = value as Partial<Record<keyof SavedImage, unknown>>;
    const texts = (list: unknown): boolean => Array.isArray(list) && list.every((text) => typeof text === "string");
    return typeof Config === "string" && (RepoTags == null || texts(RepoTags)) && texts(Layers);
}
