/** What a Node's facts refuse in the preview. */
import assert from "node:assert/strict";
import { factsOf, lacking } from "../../provider/lifecycle/check/facts";

const old = { containerd: "1.6.20~ds1", snapshotters: ["native", "overlayfs"] };
const modern = { ...old, containerd: "2.4.2" };
const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

describe("lifecycle: what a Node lacks", () => {
    const rows: [what: string, wanted: object, facts: object | undefined, refused: RegExp | undefined][] = [
        ["a snapshotter that is there", { snapshotter: "native" }, old, undefined],
        [
            "one that is not",
            { snapshotter: "zfs" },
            old,
            /^snapshotter: node n1 has no snapshotter zfs.*native, overlayfs/,
        ],
        ["one that nobody knows of", { snapshotter: "zfs" }, undefined, undefined],
        ["one that is not known yet", { snapshotter: UNKNOWN }, old, undefined],
        ["on-failure where it is known", { restart: "on-failure:3" }, modern, undefined],
        ["on-failure where the gate has to keep it", { restart: "on-failure" }, old, undefined],
        ["always", { restart: "always" }, old, undefined],
        ["on-failure before the machine is there", { restart: "on-failure" }, undefined, undefined],
    ];
    for (const [what, wanted, facts, refused] of rows) {
        it(`${what} is ${refused ? "refused" : "taken"}`, () => {
            const [failure, ...more] = lacking({ node: "n1", ...wanted }, facts);
            assert.deepEqual(more, []);
            if (refused) assert.match(`${failure?.property}: ${failure?.reason}`, refused);
            else assert.equal(failure, undefined);
        });
    }

    it("is not asked where the facts are not known yet", () => {
        assert.equal(factsOf({ facts: UNKNOWN }), undefined);
        assert.equal(factsOf({}), undefined);
        assert.deepEqual(factsOf({ facts: old }), old);
    });
});
