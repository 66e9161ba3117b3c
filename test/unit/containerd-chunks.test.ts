/** How a blob's bytes are cut into messages, and what a snapshot's mounts say of its layers. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { chunks } from "../../provider/containerd/blobs";
import { layersOf } from "../../provider/containerd/snapshot-files";

async function* from(pieces: Uint8Array[]) {
    yield* pieces;
}

async function all(pieces: Uint8Array[], size: number): Promise<Buffer[]> {
    const found: Buffer[] = [];
    for await (const chunk of chunks(from(pieces), size)) found.push(chunk);
    return found;
}

describe("chunks", () => {
    it("gives the same bytes in pieces of one size, whatever the source's pieces", () =>
        fc.assert(
            fc.asyncProperty(
                fc.array(fc.uint8Array({ maxLength: 40 })),
                fc.integer({ min: 1, max: 16 }),
                async (pieces, size) => {
                    const cut = await all(pieces, size);
                    assert.deepEqual(Buffer.concat(cut), Buffer.concat(pieces));
                    assert.ok(cut.slice(0, -1).every(({ length }) => length === size));
                    assert.ok(cut.every(({ length }) => length > 0 && length <= size));
                },
            ),
        ));

    it("does not copy a piece that fits", async () => {
        const piece = new Uint8Array(8);
        const [chunk] = await all([piece], 4);
        assert.equal(chunk?.buffer, piece.buffer);
    });
});

describe("layersOf", () => {
    it("reads overlayfs' options, the top layer first", () => {
        const options = ["index=off", "workdir=/w", "upperdir=/u", "lowerdir=/b:/a"];
        assert.deepEqual(layersOf([{ type: "overlay", source: "overlay", options }]), ["/u", "/b", "/a"]);
    });
    it("takes a bind mount for the one layer that it is", () => {
        assert.deepEqual(layersOf([{ type: "bind", source: "/s/1/fs", options: ["rbind", "ro"] }]), ["/s/1/fs"]);
    });
    it("does not know other file systems", () => {
        assert.equal(layersOf([{ type: "btrfs", source: "/dev/x", options: [] }]), undefined);
        assert.equal(layersOf([]), undefined);
    });
});
