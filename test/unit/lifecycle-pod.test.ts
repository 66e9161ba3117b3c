/** Pods, as tables: what is refused, in which order members go, what of them is made anew. */
import assert from "node:assert/strict";
import { podDefaults, podProblems, podSchema } from "../../provider/lifecycle/check/pod";
import { validate } from "../../provider/lifecycle/check/validate";
import { pod } from "../../provider/lifecycle/pod";
import {
    inOrder,
    madeFrom,
    memberContainer,
    memberUid,
    type PodInputs,
    type PodState,
} from "../../provider/lifecycle/pod/inputs";
import { inReverse } from "../../provider/lifecycle/pod/remove-pod";
import { LABEL } from "../../provider/lifecycle/ownership";
import { UNKNOWN } from "../../provider/lifecycle/unknown";

const owner = "urn:pulumi:dev::p::pulumi-nodejs:dynamic/containerd:Pod::web";
const image = `nginx@sha256:${"0123456789abcdef".repeat(4)}`;

describe("pods: wrong arguments", () => {
    const rows: [args: Record<string, unknown>, says: RegExp][] = [
        [{ containers: undefined }, /^containers: is missing/],
        [{ containers: {} }, /^containers: is empty: a pod has one member at least$/],
        [{ containers: { "A B": { image } } }, /^containers\["A B"\]: the name of a member may hold small letters/],
        [{ containers: { a: {} } }, /^containers\.a\.image: is missing/],
        [{ containers: { a: { image, command: ["x"] } } }, /^containers\.a\.command: means different things/],
        [{ containers: { a: { image, ports: ["80:80"] } } }, /^containers\.a\.ports: is not an argument/],
        [
            { containers: { a: { image, after: ["b"] } } },
            /^containers\.a\.after\[0\]: there is no b among `containers`$/,
        ],
        [{ containers: { a: { image, after: ["a"] } } }, /^containers\.a\.after\[0\]: can't wait for itself$/],
        [
            { containers: { a: { image, after: ["b"] }, b: { image, after: ["a"] } } },
            /^containers: wait for each other in a circle/,
        ],
        [{ initContainers: { a: { image } } }, /^initContainers\.a: is the name of a member too$/],
        [{ containers: { a: { image, memory: { swap: 1 << 26 } } } }, /^containers\.a\.memory\.swap: needs/],
        [
            { containers: { a: { image, mounts: { "/": { bind: "/s" } } } } },
            /^containers\.a\.mounts\["\/"\]: is the root/,
        ],
        [{ network: { container: "default/x/1" } }, /^network: can't be another's/],
        [{ once: true, restart: "always" }, /^restart: a job/],
        [{ once: true, containers: { a: { image, health: { tcp: { port: 1 } } } } }, /^containers\.a\.health: a job/],
        [{ network: "host", ports: ["80:80"] }, /^ports: say nothing with network "host"/],
        [{ name: "x".repeat(70), containers: { "abc-defg": { image } } }, /^containers\.abc-defg: with the pod's name/],
        [
            { containers: Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`m${i}`, { image }])) },
            /^containers: holds 300, and a pod has at most 250$/,
        ],
    ];
    for (const [args, says] of rows) {
        it(JSON.stringify(args).slice(0, 90), () => {
            const { value, failures } = validate(podSchema, { owner, containers: { a: { image } }, ...args });
            const found = failures.length ? failures : podProblems(podDefaults(value as { owner: string }));
            assert.match(`${found[0]?.property}: ${found[0]?.reason}`, says);
            assert.equal(found.length, 1, JSON.stringify(found));
        });
    }
});

describe("pods: the order of members", () => {
    const rows: [after: Record<string, string[]>, groups: string[][] | undefined][] = [
        [{ a: [], b: [] }, [["a", "b"]]],
        [{ b: ["a"], a: [] }, [["a"], ["b"]]],
        [{ proxy: ["media", "db"], media: ["db"], db: [], web: [] }, [["db", "web"], ["media"], ["proxy"]]],
        [{ a: ["b"], b: ["c"], c: ["a"] }, undefined],
    ];
    for (const [after, groups] of rows) {
        it(JSON.stringify(after), () =>
            assert.deepEqual(
                inOrder(Object.fromEntries(Object.entries(after).map(([k, v]) => [k, { after: v }]))),
                groups,
            ),
        );
    }

    it("stops in reverse, what starts together together", () => {
        const members = [0, 2, 1, 1].map((order, index) => ({
            id: `m${index}`,
            labels: { [LABEL.order]: String(order) },
        }));
        assert.deepEqual(
            inReverse(members).map((group) => group.map(({ id }) => id)),
            [["m1"], ["m2", "m3"], ["m0"]],
        );
    });
});

const log = { driver: "file", maxSize: 1 << 20, maxFiles: 2 } as const;
const thePod: PodInputs = {
    owner,
    uid: "0123",
    revision: 1,
    node: "here",
    namespace: "default",
    name: "web-0123abc",
    network: "bridge",
    ports: ["8080:80/tcp"],
    restart: "always",
    once: false,
    containers: {
        a: { image, log, restart: "always", env: { A: "1" }, files: { "/f": { content: "1" } } },
        b: { image, log, restart: "always" },
    },
};
const theState: PodState = {
    ...thePod,
    podName: thePod.name,
    address: "10.127.0.5",
    published: {},
    members: {},
    ready: true,
};

describe("pods: what a member is made from", () => {
    const mark = (change: object) => madeFrom(memberContainer(thePod, "a", { ...thePod.containers["a"]!, ...change }));
    const rows: [change: object, anew: boolean][] = [
        [{}, false],
        [{ env: { A: "2" } }, true],
        [{ image: image.replace("0", "1") }, true],
        [{ args: ["x"] }, true],
        [{ mounts: { "/m": { bind: "/s" } } }, true],
        [{ files: { "/f": { content: "2" } } }, false],
        [{ files: { "/f": { content: "1" }, "/g": { content: "1" } } }, true],
        [{ memory: { limit: 1 << 26 } }, false],
        [{ labels: { a: "b" } }, false],
        [{ log: { ...log, maxFiles: 3 } }, false],
        [{ secrets: { pw: "x" } }, true],
    ];
    for (const [change, anew] of rows) {
        it(`${JSON.stringify(change)}: ${anew ? "anew" : "in place"}`, () =>
            assert.equal(mark(change) !== mark({}), anew));
    }

    it("does not depend on the order of keys", () => {
        assert.equal(mark({ env: { A: "1", B: "2" } }), mark({ env: { B: "2", A: "1" } }));
    });
    it("members have uids of their own, the same each time", () => {
        assert.notEqual(memberUid(thePod, "a"), memberUid(thePod, "b"));
        assert.equal(memberUid(thePod, "a"), memberUid({ uid: "0123" }, "a"));
    });
});

describe("pods: diff", () => {
    const a = thePod.containers["a"]!;
    const rows: [why: string, olds: Partial<PodState>, news: Partial<PodInputs>, expected: object][] = [
        ["nothing", {}, {}, { changed: [], replaces: [], deleteBeforeReplace: false }],
        [
            "a member's env",
            {},
            { containers: { ...thePod.containers, a: { ...a, env: { A: "2" } } } },
            { changed: ["containers"], replaces: [] },
        ],
        ["ports", {}, { ports: ["9090:80/tcp"] }, { changed: ["ports"], replaces: [] }],
        [
            "an init container",
            {},
            { initContainers: { i: { image, log } } },
            { changed: ["initContainers"], replaces: ["initContainers"], deleteBeforeReplace: false },
        ],
        [
            "host network, another init",
            { network: "host", ports: undefined },
            { network: "host", ports: undefined, triggers: [2] },
            { replaces: ["triggers"], deleteBeforeReplace: true },
        ],
        [
            "a fixed name",
            { name: "sip" },
            { name: "sip", triggers: [2] },
            { replaces: ["triggers"], deleteBeforeReplace: true },
        ],
        ["not ready", { ready: false }, {}, { changed: ["ready"], replaces: [] }],
        [
            "an image that is not known yet",
            {},
            { containers: { ...thePod.containers, a: { ...a, image: UNKNOWN } } },
            { changed: ["containers"], replaces: [] },
        ],
        [
            "a job that does something else",
            { once: true },
            { once: true, containers: { a: { ...a, args: ["x"] } } },
            { changed: ["containers"], replaces: ["containers"] },
        ],
        [
            "a job whose limit changes",
            { once: true },
            { once: true, containers: { ...thePod.containers, a: { ...a, memory: { limit: 1 } } } },
            { changed: ["containers"], replaces: [] },
        ],
    ];
    for (const [why, olds, news, expected] of rows) {
        it(why, () => {
            const found = pod.diff({ ...theState, ...olds }, { ...thePod, ...news });
            for (const [key, value] of Object.entries(expected))
                assert.deepEqual(found[key as keyof typeof found], value, key);
        });
    }
});
