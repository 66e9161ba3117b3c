/** Index, manifest and config, read from the root down, and the labels that follow. */
import assert from "node:assert/strict";
import { ContainerdError } from "../../provider/errors";
import {
    chainIds,
    configLabels,
    indexLabels,
    manifestLabels,
    readDocuments,
    type ReadDocument,
} from "../../provider/images/documents";
import { digestOf, MediaType, type Descriptor } from "../../provider/registry/oci";

/** A store of documents in memory: what `read` is given. */
class Blobs {
    readonly #bytes = new Map<string, Buffer>();
    put(mediaType: string, value: unknown): Descriptor {
        const bytes = Buffer.from(JSON.stringify(value));
        const digest = digestOf(bytes);
        this.#bytes.set(digest, bytes);
        return { mediaType, digest, size: bytes.byteLength };
    }
    readonly read: ReadDocument = async ({ digest }) => {
        const bytes = this.#bytes.get(digest);
        if (!bytes) throw new ContainerdError("NotFound", digest);
        return bytes;
    };
}

const diffIds = ["a", "b", "c"].map((letter) => `sha256:${letter.repeat(64)}`);

function image(blobs: Blobs, architecture: string, layers = diffIds): Descriptor {
    const config = blobs.put(MediaType.ociConfig, {
        os: "linux",
        architecture,
        rootfs: { type: "layers", diff_ids: layers },
    });
    const manifest = blobs.put(MediaType.ociManifest, {
        schemaVersion: 2,
        mediaType: MediaType.ociManifest,
        config,
        layers: diffIds.map((_, i) => ({
            mediaType: MediaType.ociLayerGzip,
            digest: `sha256:${String(i).repeat(64)}`,
            size: 100 + i,
        })),
    });
    return { ...manifest, platform: { os: "linux", architecture } };
}

describe("images: documents", () => {
    it("chain ids are those of the OCI specification", () => {
        assert.deepEqual(chainIds([]), []);
        const [a = "", b = "", c = ""] = diffIds;
        const ab = digestOf(Buffer.from(`${a} ${b}`));
        assert.deepEqual(chainIds(diffIds), [a, ab, digestOf(Buffer.from(`${ab} ${c}`))]);
    });

    it("takes the platform's manifest of an index, and labels what keeps it", async () => {
        const blobs = new Blobs();
        const manifests = [image(blobs, "arm64"), image(blobs, "amd64")];
        const index = blobs.put(MediaType.ociIndex, { schemaVersion: 2, mediaType: MediaType.ociIndex, manifests });
        const documents = await readDocuments(index.digest, "linux/amd64", "app:1", blobs.read);
        assert.equal(documents.manifest.descriptor.digest, manifests[1]?.digest);
        assert.equal(documents.platform, "linux/amd64");
        assert.deepEqual(documents.root, index);
        assert.equal(documents.chainId, chainIds(diffIds).at(-1));
        assert.deepEqual(indexLabels(documents), { "containerd.io/gc.ref.content.m.1": manifests[1]?.digest });
        assert.deepEqual(manifestLabels(documents), {
            "containerd.io/gc.ref.content.config": documents.config.descriptor.digest,
            "containerd.io/gc.ref.content.l.0": `sha256:${"0".repeat(64)}`,
            "containerd.io/gc.ref.content.l.1": `sha256:${"1".repeat(64)}`,
            "containerd.io/gc.ref.content.l.2": `sha256:${"2".repeat(64)}`,
        });
        assert.deepEqual(configLabels(documents, "native"), {
            "containerd.io/gc.ref.snapshot.native": documents.chainId,
        });
    });

    it("a manifest alone has no index, and no labels of one", async () => {
        const blobs = new Blobs();
        const documents = await readDocuments(image(blobs, "amd64").digest, "linux/amd64", "app:1", blobs.read);
        assert.equal(documents.index, undefined);
        assert.deepEqual(indexLabels(documents), {});
        assert.equal(
            documents.size,
            documents.manifest.descriptor.size + documents.config.descriptor.size + 100 + 101 + 102,
        );
    });

    it("another platform is refused with those there are, of an index and of a manifest alone", async () => {
        const blobs = new Blobs();
        const arm = image(blobs, "arm64");
        const index = blobs.put(MediaType.ociIndex, { schemaVersion: 2, manifests: [arm] });
        for (const { digest } of [arm, index])
            await assert.rejects(
                readDocuments(digest, "linux/amd64", "app:1", blobs.read),
                (error: ContainerdError) => {
                    assert.equal(error.code, "Unsupported");
                    assert.equal(error.property, "platform");
                    assert.match(error.message, /linux\/arm64/);
                    return true;
                },
            );
    });

    it("as many diff ids as layers, or it is broken", async () => {
        const blobs = new Blobs();
        const { digest } = image(blobs, "amd64", diffIds.slice(1));
        await assert.rejects(readDocuments(digest, "linux/amd64", "app:1", blobs.read), /3 layers, its config 2/);
    });
});
