/** The line that people read while an image is pulled, and how often. */
import assert from "node:assert/strict";
import { formatProgress, throttle, type PullProgress } from "../../provider/images/progress";
import { Meter } from "../../provider/images/meter";
import type { Documents } from "../../provider/images/documents";

const at = (phase: PullProgress["phase"], layers: number, bytes: number): PullProgress => ({
    phase,
    layers: { done: layers, total: 5 },
    bytes: { done: bytes, total: 150e6 },
});

describe("images: progress", () => {
    it("is one line with layers and decimal megabytes", () => {
        assert.equal(formatProgress(at("downloading", 3, 84.2e6)), "3/5 layers, 84.2/150.0 MB");
        assert.equal(formatProgress(at("unpacking", 3, 150e6)), "3/5 layers, 150.0/150.0 MB, unpacking");
        assert.equal(formatProgress(at("done", 5, 150e6)), "5/5 layers, 150.0/150.0 MB, done");
        assert.equal(formatProgress(at("resolving", 0, 0)), "resolving");
    });

    it("is told every three seconds at most, and the end only if anything was said", () => {
        let now = 0;
        const said: string[] = [];
        const listener = throttle(
            (p) => said.push(formatProgress(p)),
            3000,
            () => now,
        );
        listener(at("downloading", 0, 1e6));
        now = 2999;
        listener(at("downloading", 1, 2e6));
        assert.deepEqual(said, []);
        now = 3000;
        listener(at("downloading", 1, 3e6));
        now = 4000;
        listener(at("downloading", 1, 4e6));
        listener(at("done", 5, 150e6));
        assert.deepEqual(said, ["1/5 layers, 3.0/150.0 MB", "5/5 layers, 150.0/150.0 MB, done"]);
    });

    it("says nothing at all of a quick pull", () => {
        const said: PullProgress[] = [];
        const listener = throttle(
            (p) => said.push(p),
            3000,
            () => 0,
        );
        listener(at("downloading", 1, 1e6));
        listener(at("done", 5, 150e6));
        assert.deepEqual(said, []);
    });

    it("counts each blob once, however often it is told", () => {
        const said: PullProgress[] = [];
        const meter = new Meter((p) => said.push(p));
        const layer = (digest: string, size: number): Documents["layers"][number] => ({
            descriptor: { mediaType: "", digest, size },
            diffId: "",
            chainId: "",
        });
        meter.begin({ layers: [layer("a", 100), layer("b", 50), layer("b", 50)] });
        meter.blob("a", 60);
        meter.blob("a", 100);
        meter.blob("b", 50);
        meter.blob("b", 50);
        meter.layers(3);
        assert.deepEqual(said.at(-1), {
            phase: "downloading",
            layers: { done: 3, total: 3 },
            bytes: { done: 150, total: 150 },
        });
    });
});
