/**
 * What an image is made of, as the OCI image specification 1.1 and Docker's schema 2 write it: descriptors, indexes,
 * manifests, configs, their media types, and parsers that refuse what is not one. Pure.
 */
import { createHash } from "node:crypto";
import { ContainerdError } from "../errors";

/** Media types of the OCI image specification (media-types.md) and of Docker's image manifest version 2, schema 2. */
export const MediaType = {
    ociIndex: "application/vnd.oci.image.index.v1+json",
    ociManifest: "application/vnd.oci.image.manifest.v1+json",
    ociConfig: "application/vnd.oci.image.config.v1+json",
    ociLayer: "application/vnd.oci.image.layer.v1.tar",
    ociLayerGzip: "application/vnd.oci.image.layer.v1.tar+gzip",
    ociLayerZstd: "application/vnd.oci.image.layer.v1.tar+zstd",
    dockerIndex: "application/vnd.docker.distribution.manifest.list.v2+json",
    dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
    dockerConfig: "application/vnd.docker.container.image.v1+json",
    dockerLayer: "application/vnd.docker.image.rootfs.diff.tar",
    dockerLayerGzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    dockerForeignLayer: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
} as const;

/** Most bytes that a manifest or an index may have: what the distribution specification asks registries to take at least. */
export const maxManifestSize = 4 << 20;

/** Most bytes that an image config may have. */
export const maxConfigSize = 8 << 20;

/** A digest of the algorithms registered by the OCI specification: `sha256:` and 64, or `sha512:` and 128 hex digits. */
export const digestPattern = /^(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$/;

/** Points to content by its digest (descriptor.md of the OCI image specification). */
export interface Descriptor {
    mediaType: string;
    /** `sha256:…` */
    digest: string;
    /** Bytes. */
    size: number;
    platform?: Platform;
    annotations?: Record<string, string>;
    artifactType?: string;
}

/** Operating system and machine, in Go's names. */
export interface Platform {
    os: string;
    architecture: string;
    /** Like `v7` of `arm`. */
    variant?: string;
    "os.version"?: string;
    "os.features"?: string[];
}

/** Several manifests, one a platform (image-index.md), or Docker's manifest list. */
export interface Index {
    schemaVersion: 2;
    mediaType?: string;
    manifests: Descriptor[];
    annotations?: Record<string, string>;
}

/** One image: its config and its layers, the lowest first (manifest.md). */
export interface Manifest {
    schemaVersion: 2;
    mediaType?: string;
    config: Descriptor;
    layers: Descriptor[];
    annotations?: Record<string, string>;
}

/** What a container of this image runs by default (config.md, `config`). */
export interface ImageRunConfig {
    User?: string;
    ExposedPorts?: Record<string, object>;
    Env?: string[];
    Entrypoint?: string[];
    Cmd?: string[];
    Volumes?: Record<string, object>;
    WorkingDir?: string;
    Labels?: Record<string, string>;
    StopSignal?: string;
}

/** An image's config (config.md). */
export interface ImageConfig extends Platform {
    created?: string;
    config?: ImageRunConfig;
    rootfs: {
        type: "layers";
        /** Digests of the layers as uncompressed tars, the lowest first. */
        diff_ids: string[];
    };
}

const indexTypes: readonly string[] = [MediaType.ociIndex, MediaType.dockerIndex];
const manifestTypes: readonly string[] = [MediaType.ociManifest, MediaType.dockerManifest];

/** What we tell a registry that we understand. */
export const acceptedManifestTypes: readonly string[] = [...indexTypes, ...manifestTypes];

/** Whether it is an OCI index or a Docker manifest list. */
export function isIndex(mediaType: string): boolean {
    return indexTypes.includes(mediaType);
}

/** Whether it is the manifest of one image, OCI's or Docker's. */
export function isManifest(mediaType: string): boolean {
    return manifestTypes.includes(mediaType);
}

/** Whether it is an image config, OCI's or Docker's. */
export function isConfig(mediaType: string): boolean {
    return mediaType === MediaType.ociConfig || mediaType === MediaType.dockerConfig;
}

/** Whether it is a filesystem layer of any compression (also of Docker's and the older "non-distributable" kinds). */
export function isLayer(mediaType: string): boolean {
    return (
        /^application\/vnd\.oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+(?:gzip|zstd))?$/.test(mediaType) ||
        /^application\/vnd\.docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.(?:gzip|zstd))?$/.test(mediaType)
    );
}

/** The digest of some bytes: `sha256:…`, or by another of the registered algorithms. */
export function digestOf(bytes: Uint8Array, algorithm: "sha256" | "sha512" = "sha256"): string {
    return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}

/** The algorithm that made a digest. Throws `Invalid` for what is not a digest, so that none gets into a path or an URL. */
export function algorithmOf(digest: string): "sha256" | "sha512" {
    if (!digestPattern.test(digest))
        throw new ContainerdError("Invalid", `"${digest}" is no digest: sha256:, then 64 hex digits, is expected`);
    return digest.startsWith("sha512:") ? "sha512" : "sha256";
}

/** Parses an index. Throws `Failed` with what is wrong in it; `name` says in the message what it is the index of. */
export function parseIndex(bytes: Uint8Array, name: string): Index {
    const value = parseObject(bytes, `the index of ${name}`);
    if (!Array.isArray(value.manifests)) throw broken(`the index of ${name}`, "it has no list of manifests");
    value.manifests.forEach((entry, i) => assertDescriptor(entry, `manifest ${i} in the index of ${name}`));
    return value as unknown as Index;
}

/** Parses a manifest. Throws `Failed` with what is wrong in it; `name` says in the message what it is the manifest of. */
export function parseManifest(bytes: Uint8Array, name: string): Manifest {
    const what = `the manifest of ${name}`;
    const value = parseObject(bytes, what);
    if (value.schemaVersion === 1)
        throw new ContainerdError(
            "Unsupported",
            `${what} has Docker's old schema 1: push the image again with a current tool`,
        );
    assertDescriptor(value.config, `the config in ${what}`);
    if (!Array.isArray(value.layers)) throw broken(what, "it has no list of layers");
    value.layers.forEach((layer, i) => assertDescriptor(layer, `layer ${i} in ${what}`));
    return value as unknown as Manifest;
}

/** Parses an image config. Throws `Failed` with what is wrong in it; `name` says in the message whose config it is. */
export function parseConfig(bytes: Uint8Array, name: string): ImageConfig {
    const what = `the config of ${name}`;
    const value = parseObject(bytes, what);
    const rootfs = value.rootfs;
    if (!isObject(rootfs) || !Array.isArray(rootfs.diff_ids) || !rootfs.diff_ids.every((id) => isDigest(id)))
        throw broken(what, "it has no rootfs.diff_ids: is it a container image?");
    if (typeof value.architecture !== "string" || typeof value.os !== "string")
        throw broken(what, "it names no os and architecture");
    return value as unknown as ImageConfig;
}

/**
 * The media type of a manifest or an index, from the server's Content-Type and from what it says itself. Throws `Failed`
 * where the two differ in kind: content that can be read as either is refused (CVE-2021-41190), and for what is neither.
 */
export function mediaTypeOf(bytes: Uint8Array, contentType: string | undefined, name: string): string {
    const value = parseObject(bytes, `the manifest of ${name}`);
    const manifest = "config" in value || "layers" in value;
    const index = "manifests" in value;
    const guessed = index ? MediaType.ociIndex : manifest ? MediaType.ociManifest : undefined;
    const sent = contentType !== undefined && acceptedManifestTypes.includes(contentType) ? contentType : undefined;
    const written = typeof value.mediaType === "string" ? value.mediaType : undefined;
    const mediaType = written ?? sent ?? guessed;
    if (manifest && index) throw broken(`the manifest of ${name}`, "it is an index and a manifest at once");
    if (mediaType === undefined || !acceptedManifestTypes.includes(mediaType))
        throw new ContainerdError(
            "Unsupported",
            `${name} is no container image: its media type is ${mediaType ?? contentType ?? "unknown"}`,
        );
    if ((sent !== undefined && isIndex(sent) !== isIndex(mediaType)) || isIndex(mediaType) !== index)
        throw broken(`the manifest of ${name}`, `it is not what its media type ${mediaType} says`);
    return mediaType;
}

/** Bytes as a JSON object. Throws `Failed`, naming `what`. */
export function parseObject(bytes: Uint8Array, what: string): Record<string, unknown> {
    let value: unknown;
    try {
        value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    } catch (cause) {
        throw new ContainerdError("Failed", `${what} is no JSON`, { cause });
    }
    if (!isObject(value)) throw broken(what, "it is no JSON object");
    return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
    return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isDigest(value: unknown): value is string {
    return typeof value === "string" && digestPattern.test(value);
}

function assertDescriptor(value: unknown, what: string): void {
    if (!isObject(value)) throw broken(what, "it is no descriptor");
    if (typeof value.mediaType !== "string") throw broken(what, "it has no mediaType");
    if (!isDigest(value.digest)) throw broken(what, "it has no digest of sha256 or sha512");
    if (typeof value.size !== "number" || !Number.isSafeInteger(value.size) || value.size < 0)
        throw broken(what, "its size is no number of bytes");
}

function broken(what: string, why: string): ContainerdError {
    return new ContainerdError("Failed", `${what} is broken: ${why}`);
}
