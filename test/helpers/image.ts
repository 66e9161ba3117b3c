/** A small image of one layer for the tests of sources, with ways to read it. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import path from "node:path";
import assert from "node:assert/strict";
import { hasCode, type ErrorCode } from "../../provider/errors";
import { writeLayout, type Layout } from "../../playground/layout";
import { isIndex, parseIndex, parseManifest, type Manifest } from "../../provider/registry/oci";
import type { ImageSource } from "../../provider/registry/source";
import { verified } from "../../provider/registry/verify";

/** A temporary folder that `remove` removes. */
export async function temporary(): Promise<{ folder: string; remove: () => Promise<void> }> {
    const folder = await mkdtemp(path.join(tmpdir(), "pulumi-containerd-test-"));
    return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** A layout in `folder` of an image for each architecture, with `bytes` of noise in its layer. */
export async function smallImage(folder: string, architectures = ["amd64"], bytes = 300_000): Promise<Layout> {
    const images = [];
    for (const architecture of architectures) {
        const layer = path.join(folder, `layer-${architecture}`);
        await mkdir(layer, { recursive: true });
        await writeFile(path.join(layer, "noise"), randomBytes(bytes));
        images.push({ architecture, config: { Cmd: ["/bin/true"] }, layers: [layer] });
    }
    return writeLayout(path.join(folder, "layout"), images);
}

/** All bytes of a stream. */
export async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    return Buffer.concat(chunks);
}

/** The first manifest of an image, everything below it read and held against its digest. */
export async function readWhole(source: ImageSource): Promise<Manifest> {
    const root = await source.resolve();
    const top = await source.manifest(root.digest);
    assert.equal(top.mediaType, root.mediaType);
    assert.equal(top.bytes.byteLength, root.size);
    const [first] = isIndex(top.mediaType) ? parseIndex(top.bytes, source.name).manifests : [];
    const { bytes } = first ? await source.manifest(first.digest) : top;
    const manifest = parseManifest(bytes, source.name);
    for (const descriptor of [manifest.config, ...manifest.layers])
        await bytesOf(verified(descriptor, source.blob(descriptor, 0)));
    return manifest;
}

/** For assert.rejects: an error of this package, by code and message. */
export function failsWith(code: ErrorCode, message: RegExp): (error: unknown) => boolean {
    return (error) => {
        assert.ok(hasCode(error, code), `expected ${code}: ${String(error)}`);
        assert.match(error.message, message);
        return true;
    };
}
