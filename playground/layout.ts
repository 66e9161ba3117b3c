/** Writes images as OCI layouts (image-layout.md of the OCI image specification), the same bytes for the same content. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { output } from "./process";

/** An image on disk. */
export interface Layout {
    /** The layout's folder. */
    dir: string;
    /** Its `org.opencontainers.image.ref.name`. */
    tag: string;
    /** Digest of what the tag names: a manifest, or an index for several platforms. */
    digest: string;
}

/** The part of an OCI image config that says how to run it. */
export interface ImageConfig {
    User?: string;
    Env?: string[];
    Entrypoint?: string[];
    Cmd?: string[];
    WorkingDir?: string;
    StopSignal?: string;
    ExposedPorts?: Record<string, object>;
    Labels?: Record<string, string>;
}

/** One platform's image. */
export interface PlatformImage {
    /** Default: that of this machine. */
    architecture?: string;
    config: ImageConfig;
    /** Folders that become one layer each, the lowest first. */
    layers: string[];
    /** Default: `gzip`. */
    compression?: "gzip" | "none";
}

interface Descriptor {
    mediaType: string;
    digest: string;
    size: number;
    platform?: { os: string; architecture: string };
    annotations?: Record<string, string>;
}

const OCI = "application/vnd.oci.image";
const TAG = "latest";
/** Go's names of architectures, by Node's. */
const ARCHITECTURES: Partial<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

/** This machine's architecture, as OCI names it. */
export const machineArchitecture = ARCHITECTURES[process.arch] ?? process.arch;

/** Writes a layout of one image, or of an index when there are several platforms. The folder appears when it is whole. */
export async function writeLayout(dir: string, images: readonly PlatformImage[]): Promise<Layout> {
    await mkdir(path.dirname(dir), { recursive: true });
    const work = await mkdtemp(`${dir}.`);
    try {
        const blobs = new Blobs(work);
        await mkdir(blobs.folder, { recursive: true });
        const manifests: Descriptor[] = [];
        for (const image of images) manifests.push(await writeImage(blobs, image));
        const [only] = manifests;
        const named =
            manifests.length === 1 && only
                ? only
                : await blobs.json(`${OCI}.index.v1+json`, {
                      schemaVersion: 2,
                      mediaType: `${OCI}.index.v1+json`,
                      manifests,
                  });
        const annotations = { "org.opencontainers.image.ref.name": TAG };
        const index = { schemaVersion: 2, manifests: [{ ...named, annotations }] };
        await writeFile(path.join(work, "index.json"), JSON.stringify(index));
        await writeFile(path.join(work, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
        await rename(work, dir).catch(async (error: NodeJS.ErrnoException) => {
            // Another process made the same meanwhile.
            if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
        });
        return { dir, tag: TAG, digest: named.digest };
    } finally {
        await rm(work, { recursive: true, force: true });
    }
}

async function writeImage(blobs: Blobs, image: PlatformImage): Promise<Descriptor> {
    const architecture = image.architecture ?? machineArchitecture;
    const layers: Descriptor[] = [];
    const diffIds: string[] = [];
    for (const folder of image.layers) {
        const { diffId, descriptor } = await blobs.layer(folder, image.compression ?? "gzip");
        layers.push(descriptor);
        diffIds.push(diffId);
    }
    const config = await blobs.json(`${OCI}.config.v1+json`, {
        created: "1970-01-01T00:00:00Z",
        architecture,
        os: "linux",
        config: image.config,
        rootfs: { type: "layers", diff_ids: diffIds },
        history: diffIds.map(() => ({ created: "1970-01-01T00:00:00Z", created_by: "playground" })),
    });
    const mediaType = `${OCI}.manifest.v1+json`;
    const manifest = await blobs.json(mediaType, { schemaVersion: 2, mediaType, config, layers });
    return { ...manifest, platform: { os: "linux", architecture } };
}

/** The blobs of a layout. */
class Blobs {
    readonly folder: string;

    constructor(private readonly layout: string) {
        this.folder = path.join(layout, "blobs/sha256");
    }

    async json(mediaType: string, content: object): Promise<Descriptor> {
        const bytes = Buffer.from(JSON.stringify(content));
        const hex = createHash("sha256").update(bytes).digest("hex");
        await writeFile(path.join(this.folder, hex), bytes);
        return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
    }

    /** A folder as a layer: sorted, without times and owners of this machine, so that its digest depends on content alone. */
    async layer(folder: string, compression: "gzip" | "none"): Promise<{ diffId: string; descriptor: Descriptor }> {
        const tar = path.join(this.layout, "layer.tar");
        const stable = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"];
        await output("tar", ["--create", ...stable, "--file", tar, "--directory", folder, "."]);
        const diffId = `sha256:${await sha256(tar)}`;
        let file = tar;
        if (compression === "gzip") {
            await output("gzip", ["--no-name", "-1", "--force", tar]);
            file = `${tar}.gz`;
        }
        const hex = await sha256(file);
        const { size } = await stat(file);
        await rename(file, path.join(this.folder, hex));
        const mediaType = `${OCI}.layer.v1.tar${compression === "gzip" ? "+gzip" : ""}`;
        return { diffId, descriptor: { mediaType, digest: `sha256:${hex}`, size } };
    }
}

async function sha256(file: string): Promise<string> {
    const hash = createHash("sha256");
    await pipeline(createReadStream(file), hash);
    return hash.digest("hex");
}
