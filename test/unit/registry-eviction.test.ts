/** Which blobs of the cache go. */
import assert from "node:assert/strict";
import { type CacheEntry, type Room, toEvict } from "../../provider/registry/blob-eviction";

const entry = (name: string, size: number, used: number, inUse = false): CacheEntry => ({ name, size, used, inUse });
const room = (given: Partial<Room>): Room => ({ limit: 100, incoming: 0, free: 1000, reserve: 10, ...given });
const names = (entries: readonly CacheEntry[], given: Partial<Room>): string[] | undefined =>
    toEvict(entries, room(given))?.map(({ name }) => name);

describe("what the blob cache evicts", () => {
    const entries = [entry("b", 30, 2), entry("a", 30, 1), entry("c", 30, 3)];

    it("nothing while there is room", () => assert.deepEqual(names(entries, { incoming: 10 }), []));
    it("the least recently used first, and no more than it takes", () => {
        assert.deepEqual(names(entries, { incoming: 11 }), ["a"]);
        assert.deepEqual(names(entries, { incoming: 41 }), ["a", "b"]);
        assert.deepEqual(names(entries, { incoming: 100 }), ["a", "b", "c"]);
    });
    it("never what is in use", () => {
        const used = [entry("a", 30, 1, true), entry("b", 30, 2), entry("c", 30, 3)];
        assert.deepEqual(names(used, { incoming: 20 }), ["b"]);
        assert.equal(names(used, { incoming: 71 }), undefined);
    });
    it("none where all together would not be enough", () => {
        assert.equal(names(entries, { incoming: 101 }), undefined);
        assert.equal(names([], { incoming: 101 }), undefined);
        assert.equal(names(entries, { incoming: 5, free: 0, reserve: 90 }), undefined);
    });
    it("what the disk's reserve needs", () => {
        assert.deepEqual(names(entries, { incoming: 5, free: 20, reserve: 10 }), []);
        assert.deepEqual(names(entries, { incoming: 5, free: 14, reserve: 10 }), ["a"]);
        assert.deepEqual(names(entries, { incoming: 5, free: 0, reserve: 30 }), ["a", "b"]);
    });
    it("what is too much because the limit was lowered", () =>
        assert.deepEqual(names(entries, { limit: 50 }), ["a", "b"]));
});
