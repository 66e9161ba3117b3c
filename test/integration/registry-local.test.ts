/** Images from OCI layout folders and from archives as skopeo and docker save write them, and what is none. */
import assert from "node:assert/strict";
import { copyFile, cp, mkdir, readFile, readdir, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { createReadStream, createWriteStream } from "node:fs";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { pack } from "tar-stream";
import type { Layout } from "../../playground/layout";
import { output } from "../../playground/process";
import { digestOf, isIndex, MediaType, type Descriptor, type Manifest } from "../../provider/registry/oci";
import { archiveSource, layoutSource, type ImageSource } from "../../provider/registry/source";
import { bytesOf, failsWith, readWhole, smallImage, temporary } from "../helpers/image";

/** Reads the whole image of a source that it closes. */
async function whole(opening: Promise<ImageSource>): Promise<{ root: Descriptor; manifest: Manifest }> {
    const source = await opening;
    try {
        return { root: await source.resolve(), manifest: await readWhole(source) };
    } finally {
        await source.close();
        await source.close();
    }
}

describe("local image sources", () => {
    let work: Awaited<ReturnType<typeof temporary>>;
    let image: Layout;
    let several: Layout;
    const at = (name: string): string => path.join(work.folder, name);

    before(async () => {
        work = await temporary();
        await mkdir(at("one"));
        await mkdir(at("two"));
        image = await smallImage(at("one"));
        several = await smallImage(at("two"), ["amd64", "arm64"], 1000);
        await output("tar", ["--create", "--file", at("oci.tar"), "--directory", image.dir, "."]);
        await skopeo(`docker-archive:${at("docker.tar")}:docker.io/team/app:1`);
    });
    after(() => work.remove());

    async function skopeo(to: string): Promise<void> {
        await output("skopeo", ["copy", "--quiet", "--insecure-policy", `oci:${image.dir}:${image.tag}`, to]);
    }
    /** Writes a tar with these files and links. */
    async function tar(name: string, entries: Record<string, string | Buffer | { link: string }>): Promise<string> {
        const archive = pack();
        for (const [name, content] of Object.entries(entries))
            if (typeof content === "object" && "link" in content)
                archive.entry({ name, type: "symlink", linkname: content.link });
            else archive.entry({ name }, content);
        archive.finalize();
        await pipeline(archive, createWriteStream(at(name)));
        return at(name);
    }
    /** The parts of a docker save archive of one layer. */
    async function saved(): Promise<{ config: Buffer; layer: Buffer }> {
        const source = await archiveSource(at("docker.tar"));
        const manifest = await readWhole(source);
        const [config, layer] = await Promise.all(
            [manifest.config, manifest.layers[0]!].map((descriptor) => bytesOf(source.blob(descriptor, 0))),
        );
        await source.close();
        return { config: config!, layer: layer! };
    }

    describe("layout", () => {
        it("gives its only image", async () => {
            assert.equal((await whole(layoutSource(image.dir))).root.digest, image.digest);
        });
        it("gives an index", async () => {
            const { root } = await whole(layoutSource(several.dir));
            assert.equal(root.digest, several.digest);
            assert.ok(isIndex(root.mediaType));
        });
        it("reads from an offset on", async () => {
            const source = await layoutSource(image.dir);
            const [layer] = (await readWhole(source)).layers;
            const all = await bytesOf(source.blob(layer!, 0));
            assert.deepEqual(await bytesOf(source.blob(layer!, 1234)), all.subarray(1234));
            assert.equal((await bytesOf(source.blob(layer!, layer!.size))).byteLength, 0);
        });
        it("gives the one of several that is asked for", async () => {
            const dir = at("names");
            await output("skopeo", [
                "copy",
                "--quiet",
                "--insecure-policy",
                `oci:${image.dir}:latest`,
                `oci:${dir}:first`,
            ]);
            const second = ["--multi-arch", "all", `oci:${several.dir}:latest`, `oci:${dir}:registry.example/app:2`];
            await output("skopeo", ["copy", "--quiet", "--insecure-policy", ...second]);
            assert.equal((await whole(layoutSource(dir, { reference: "first" }))).root.digest, image.digest);
            const { root } = await whole(layoutSource(dir, { reference: "registry.example/app:2" }));
            assert.equal(root.digest, several.digest);
            await assert.rejects(
                layoutSource(dir),
                failsWith("Invalid", /has 2 images: say which; there are first, registry\.example\/app:2$/),
            );
            await assert.rejects(
                layoutSource(dir, { reference: "third" }),
                failsWith("Invalid", /has no image "third"; there are first/),
            );
        });

        it("refuses what is none", async () => {
            await assert.rejects(layoutSource(at("nothing")), failsWith("Invalid", /nothing: no such folder/));
            await assert.rejects(layoutSource(at("oci.tar")), failsWith("Invalid", /oci\.tar is no folder/));
            await assert.rejects(layoutSource(at("one")), failsWith("Invalid", /is no OCI layout: there is no index/));
        });
        it("refuses a layer of another size", async () => {
            const dir = at("short");
            await cp(image.dir, dir, { recursive: true });
            const { layers } = (await whole(layoutSource(dir))).manifest;
            await truncate(path.join(dir, "blobs", layers[0]!.digest.replace(":", "/")), 100);
            await assert.rejects(
                whole(layoutSource(dir)),
                failsWith("Failed", new RegExp(`has 100 bytes; its manifest says ${layers[0]!.size}`)),
            );
        });
        it("refuses a manifest that is not its digest's", async () => {
            const dir = at("changed");
            await cp(image.dir, dir, { recursive: true });
            const file = path.join(dir, "blobs", image.digest.replace(":", "/"));
            const text = await readFile(file, "utf8");
            await writeFile(file, text.replace("amd64", "amd46").replace('"schemaVersion":2', '"schemaVersion":3'));
            await assert.rejects(whole(layoutSource(dir)), failsWith("Failed", new RegExp(`expected ${image.digest}`)));
        });
        it("refuses paths and links that leave it", async () => {
            const dir = at("leaving");
            await cp(image.dir, dir, { recursive: true });
            const index = JSON.parse(await readFile(path.join(dir, "index.json"), "utf8")) as {
                manifests: Descriptor[];
            };
            const escape = { ...index.manifests[0]!, digest: "sha256:../../../../etc/passwd" };
            await writeFile(path.join(dir, "index.json"), JSON.stringify({ ...index, manifests: [escape] }));
            await assert.rejects(layoutSource(dir), failsWith("Failed", /no digest/));

            const linked = at("linked");
            await cp(image.dir, linked, { recursive: true });
            const { layers } = (await whole(layoutSource(linked))).manifest;
            const file = path.join(linked, "blobs", layers[0]!.digest.replace(":", "/"));
            await copyFile(file, at("outside"));
            await output("rm", [file]);
            await symlink(at("outside"), file);
            await assert.rejects(whole(layoutSource(linked)), failsWith("Invalid", /leads out of it; refused/));
        });
    });

    describe("OCI archive", () => {
        it("gives the same image as the folder, plain and by gzip", async () => {
            assert.equal((await whole(archiveSource(at("oci.tar")))).root.digest, image.digest);
            await pipeline(createReadStream(at("oci.tar")), createGzip(), createWriteStream(at("oci.tgz")));
            const temporary = process.env.TMPDIR;
            await mkdir(at("tmp"), { recursive: true });
            process.env.TMPDIR = at("tmp");
            try {
                const source = await archiveSource(at("oci.tgz"));
                // Nothing has a name there even while it is open: a kill leaves nothing.
                assert.deepEqual(await readdir(at("tmp")), []);
                assert.equal((await source.resolve()).digest, image.digest);
                await readWhole(source);
                await source.close();
            } finally {
                if (temporary === undefined) delete process.env.TMPDIR;
                else process.env.TMPDIR = temporary;
            }
        });
        it("is read as skopeo writes it", async () => {
            await skopeo(`oci-archive:${at("skopeo-oci.tar")}:app`);
            const { root } = await whole(archiveSource(at("skopeo-oci.tar"), { reference: "app" }));
            assert.equal(root.digest, image.digest);
        });
        it("keeps memory small", async function () {
            this.timeout(120_000);
            // A file with a hole: large, and no bytes on disk.
            const size = 600 << 20;
            await mkdir(at("big"));
            await writeFile(path.join(at("big"), "index.json"), '{"schemaVersion":2,"manifests":[]}');
            await writeFile(path.join(at("big"), "hole"), "");
            await truncate(path.join(at("big"), "hole"), size);
            await output("tar", ["--create", "--file", at("big.tar"), "--directory", at("big"), "index.json", "hole"]);
            assert.ok((await stat(at("big.tar"))).size > size);
            const before = process.memoryUsage().rss;
            let most = before;
            const timer = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 5);
            await assert.rejects(archiveSource(at("big.tar")), failsWith("Invalid", /has no image in it/));
            clearInterval(timer);
            assert.ok(most - before < 150 << 20, `${(most - before) >> 20} MiB more`);
        });
    });

    describe("docker save archive", () => {
        it("gives an image with the same config and layers, and the same digest each time", async () => {
            const first = await whole(archiveSource(at("docker.tar")));
            const second = await whole(archiveSource(at("docker.tar"), { reference: "team/app:1" }));
            assert.deepEqual(first, second);
            const original = await whole(layoutSource(image.dir));
            assert.equal(first.manifest.config.digest, original.manifest.config.digest);
            assert.equal(first.root.mediaType, MediaType.ociManifest);
            assert.equal(first.manifest.layers[0]!.mediaType, MediaType.ociLayer);
            // The only image there is, whatever it is called: who names an archive means what is in it.
            assert.deepEqual(await whole(archiveSource(at("docker.tar"), { reference: "team/other" })), first);
        });
        it("follows the links of older ones, and takes compressed layers", async () => {
            const { config, layer } = await saved();
            const entries = [{ Config: "c.json", RepoTags: null, Layers: ["b/layer.tar"] }];
            const old = await tar("old.tar", {
                "c.json": config,
                "a/layer.tar": layer,
                "b/layer.tar": { link: "../a/layer.tar" },
                "manifest.json": JSON.stringify(entries),
            });
            assert.equal((await whole(archiveSource(old))).manifest.layers[0]!.digest, digestOf(layer));
            const compressed = await bytesOf(createReadStream(await gzip(layer)));
            const packed = await tar("packed.tar", {
                "manifest.json": JSON.stringify(entries),
                "c.json": config,
                "b/layer.tar": compressed,
            });
            const { manifest } = await whole(archiveSource(packed));
            assert.equal(manifest.layers[0]!.mediaType, MediaType.ociLayerGzip);
        });
        async function gzip(bytes: Buffer): Promise<string> {
            await pipeline([bytes], createGzip(), createWriteStream(at("layer.gz")));
            return at("layer.gz");
        }

        it("refuses a layer that is not the config's, and layers that are missing", async () => {
            const { config, layer } = await saved();
            const index = (...Layers: string[]): string => JSON.stringify([{ Config: "c.json", Layers }]);
            const changed = Buffer.from(layer);
            changed[600]! ^= 1;
            const parts = { "c.json": config, "layer.tar": changed, "manifest.json": index("layer.tar") };
            await assert.rejects(
                archiveSource(await tar("changed.tar", parts)),
                failsWith(
                    "Failed",
                    new RegExp(`layer\\.tar is ${digestOf(changed)}; its config says ${digestOf(layer)}`),
                ),
            );
            await assert.rejects(
                archiveSource(await tar("missing.tar", { ...parts, "manifest.json": index("gone.tar") })),
                failsWith("NotFound", /gone\.tar is not in it/),
            );
            await assert.rejects(
                archiveSource(await tar("fewer.tar", { ...parts, "manifest.json": index() })),
                failsWith("Failed", /config has 1 layers, its manifest\.json 0/),
            );
        });
        it("refuses paths and links that leave it, and circles", async () => {
            const { config, layer } = await saved();
            const index = JSON.stringify([{ Config: "c.json", Layers: ["layer.tar"] }]);
            const parts = { "c.json": config, "manifest.json": index };
            const leaving = failsWith("Invalid", /leads out of it; refused/);
            await assert.rejects(
                archiveSource(await tar("out1.tar", { ...parts, "layer.tar": { link: "../../etc/passwd" } })),
                leaving,
            );
            await assert.rejects(
                archiveSource(await tar("out2.tar", { ...parts, "layer.tar": { link: "/etc/passwd" } })),
                leaving,
            );
            await assert.rejects(archiveSource(await tar("out3.tar", { ...parts, "../layer.tar": layer })), leaving);
            const named = JSON.stringify([{ Config: "c.json", Layers: ["../../../etc/passwd"] }]);
            await assert.rejects(archiveSource(await tar("out4.tar", { ...parts, "manifest.json": named })), leaving);
            await assert.rejects(
                archiveSource(await tar("circle.tar", { ...parts, "layer.tar": { link: "layer.tar" } })),
                failsWith("NotFound", /layer\.tar is not in it/),
            );
        });
    });

    it("refuses archives that are none, with a sentence", async () => {
        const files: [name: string, content: string | Buffer, message: RegExp][] = [
            ["text", "hello ".repeat(500), /text is no image archive: it is no tar/],
            ["empty", "", /empty is no image archive: it has neither/],
            ["zeros", Buffer.alloc(4096), /zeros is no image archive/],
            ["broken.gz", Buffer.from("1f8b0800", "hex"), /broken\.gz is no image archive: its gzip/],
            ["half.tar", (await readFile(at("oci.tar"))).subarray(0, 200_000), /half\.tar is no image archive/],
        ];
        for (const [name, content, message] of files) {
            await writeFile(at(name), content);
            await assert.rejects(archiveSource(at(name)), failsWith("Invalid", message), name);
        }
        const other = await tar("other.tar", { "hello.txt": "hello" });
        await assert.rejects(archiveSource(other), failsWith("Invalid", /neither the index\.json/));
        const wrong = await tar("wrong.tar", { "manifest.json": '{"a":1}' });
        await assert.rejects(archiveSource(wrong), failsWith("Invalid", /not as docker save writes it/));
        await assert.rejects(archiveSource(at("nothing.tar")), failsWith("Invalid", /nothing\.tar: no such file/));
        await assert.rejects(archiveSource(image.dir), failsWith("Invalid", /is no file/));
    });
});
