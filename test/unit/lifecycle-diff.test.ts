/** What changed, and what that asks for: the three lifecycles' diff, as tables. */
import assert from "node:assert/strict";
import { compare, present } from "../../provider/lifecycle/diff";
import { container, type ContainerState } from "../../provider/lifecycle/container";
import { image, type ImageState } from "../../provider/lifecycle/image";
import type { Difference } from "../../provider/lifecycle/lifecycle";
import { needsRestart } from "../../provider/lifecycle/file-changes";
import { task, type TaskState } from "../../provider/lifecycle/task";
import { UNKNOWN } from "../../provider/lifecycle/unknown";

const placed = {
    owner: "urn:pulumi:dev::p::t::web",
    uid: "0123",
    revision: 1,
    node: "here",
    namespace: "default",
};

const theContainer: ContainerState = {
    ...placed,
    name: "web-0123abc",
    image: "docker.io/library/nginx:1@sha256:aa",
    network: "none",
    log: { driver: "file", maxSize: 1, maxFiles: 3 },
    env: { A: "1", B: "2" },
    files: { "/a": { content: "a" } },
    memory: { limit: 1 << 26 },
    labels: { tier: "web" },
    containerId: "web-0123abc",
    published: {},
    address: "",
    complete: true,
};

const theImage: ImageState = {
    ...placed,
    ref: "docker.io/library/nginx:1",
    pinned: "docker.io/library/nginx:1@sha256:aa",
    digest: "sha256:aa",
    pull: "missing",
    size: 1,
    complete: true,
};

const theTask: TaskState = {
    owner: placed.owner,
    uid: placed.uid,
    revision: placed.revision,
    node: placed.node,
    container: "default/web-0123abc/0123",
    restart: "always",
    once: false,
    desired: "running",
    ready: true,
    status: "running",
};

type Kind = "same" | "update" | "replace" | "delete first";

function kindOf({ changed, replaces, deleteBeforeReplace }: Difference): Kind {
    if (!changed.length) return "same";
    if (!replaces.length) return "update";
    return deleteBeforeReplace ? "delete first" : "replace";
}

describe("lifecycle: diff of values", () => {
    it("takes absent, undefined, null and an empty map for the same, and keeps false, 0, the empty text and list", () => {
        for (const value of [undefined, null, {}, { a: undefined }, { a: null }])
            assert.equal(present(value), undefined);
        for (const value of [false, 0, "", []]) assert.deepEqual(present(value), value);
        assert.deepEqual(present({ a: 1, b: undefined, c: [{}] }), { a: 1, c: [{}] });
        // An empty map inside says something, like a tmpfs without limits.
        assert.deepEqual(present({ "/data": { tmpfs: {}, readOnly: undefined } }), { "/data": { tmpfs: {} } });
    });

    it("does not mind the order of keys, and minds that of lists", () => {
        interface Inputs {
            a?: unknown;
            b?: unknown;
            c?: unknown;
            replaceOnChanges?: string[];
        }
        const policies = { a: "update", b: "replace", c: "none", replaceOnChanges: "none" } as const;
        const changed = (olds: object, news: object) => compare<Inputs>(policies, olds, news).changed;
        assert.deepEqual(changed({ a: { x: 1, y: { p: 1, q: 2 } } }, { a: { y: { q: 2, p: 1 }, x: 1 } }), []);
        assert.deepEqual(changed({ a: [1, 2] }, { a: [2, 1] }), ["a"]);
        assert.deepEqual(changed({ c: 1 }, { c: 2 }), []);
        assert.deepEqual(changed({ a: UNKNOWN }, { a: UNKNOWN }), []);
        assert.deepEqual(compare<Inputs>(policies, { a: 1, b: 1 }, { a: 2, b: 2 }), {
            changed: ["a", "b"],
            replaces: ["b"],
        });
    });
});

describe("lifecycle: the option replaceOnChanges", () => {
    const rows: [paths: string[], replaced: boolean][] = [
        [["a"], true],
        [["*"], true],
        [["a.x"], true],
        [['a["x"]'], true],
        [["a.*"], true],
        [["a.y"], false],
        [["b"], false],
        [["a.x.deeper"], false],
        [["a.z", "a.x"], true],
        [[], false],
    ];
    for (const [replaceOnChanges, replaced] of rows) {
        it(`${JSON.stringify(replaceOnChanges)}: ${replaced ? "replace" : "update"}`, () => {
            const policies = { a: "update", replaceOnChanges: "none" } as const;
            const [olds, news] = [{ a: { x: "1", y: "1" } }, { a: { x: "2", y: "1" }, replaceOnChanges }];
            const { changed, replaces } = compare<{ a?: object; replaceOnChanges?: string[] }>(policies, olds, news);
            assert.deepEqual(changed, ["a"]);
            assert.deepEqual(replaces, replaced ? ["a"] : []);
        });
    }
});

describe("lifecycle: diff of a Container", () => {
    const rows: [what: string, change: Partial<ContainerState>, kind: Kind][] = [
        ["nothing", {}, "same"],
        ["the order of keys", { env: { B: "2", A: "1" } }, "same"],
        ["how long Pulumi waits", { timeouts: { create: "1m" } }, "same"],
        ["where its image came from", { imageFrom: "other/default" }, "update"],
        ["a label", { labels: { tier: "db" } }, "update"],
        ["memory", { memory: { limit: 1 << 27 } }, "update"],
        ["cpu", { cpu: { cpus: 1 } }, "update"],
        ["pidsLimit", { pidsLimit: 10 }, "update"],
        ["a file", { files: { "/a": { content: "b" } } }, "update"],
        ["a secret", { secrets: { pw: "x" } }, "update"],
        ["how logs are kept", { log: { driver: "none", maxSize: 1, maxFiles: 3 } }, "update"],
        ["the generation of our spec", { revision: 2 }, "update"],
        ["its URN (an alias)", { owner: "urn:pulumi:dev::p::t::renamed" }, "update"],
        ["image", { image: "docker.io/library/nginx:1@sha256:bb" }, "replace"],
        ["image, not known yet", { image: UNKNOWN }, "replace"],
        ["env", { env: { A: "1" } }, "replace"],
        ["args", { args: ["x"] }, "replace"],
        ["args that are said to be none", { args: [] }, "replace"],
        ["a mount without limits", { mounts: { "/m": { tmpfs: {} } } }, "replace"],
        ["entrypoint", { entrypoint: ["x"] }, "replace"],
        ["mounts", { mounts: { "/m": { bind: "/srv" } } }, "replace"],
        ["workdir", { workdir: "/srv" }, "replace"],
        ["user", { user: "app" }, "replace"],
        ["hostname", { hostname: "h" }, "replace"],
        ["domainname", { domainname: "d" }, "replace"],
        ["publishAll", { publishAll: true }, "update"],
        ["tty", { tty: true }, "replace"],
        ["readOnly", { readOnly: true }, "replace"],
        ["privileged", { privileged: true }, "replace"],
        ["capabilities", { capabilities: { add: ["NET_ADMIN"] } }, "replace"],
        ["security", { security: { seccomp: "unconfined" } }, "replace"],
        ["snapshotter", { snapshotter: "native" }, "replace"],
        ["runtime", { runtime: "io.containerd.runsc.v1" }, "replace"],
        ["name", { name: "fixed" }, "replace"],
        ["network", { network: "host" }, "replace"],
        ["node", { node: "there" }, "replace"],
        ["namespace", { namespace: "other" }, "replace"],
    ];
    for (const [what, change, kind] of rows) {
        it(`${what}: ${kind}`, () => {
            const { changed, replaces } = container.diff(theContainer, { ...theContainer, ...change });
            assert.equal(kindOf({ changed, replaces, deleteBeforeReplace: false }), kind);
        });
    }

    it("deletes first what would fight over a name that somebody chose", () => {
        const olds: ContainerState = { ...theContainer, name: "fixed" };
        const news = { ...olds, args: ["x"] };
        assert.equal(kindOf(container.diff(olds, news)), "delete first");
        assert.equal(kindOf(container.diff(olds, { ...news, name: "other" })), "replace");
        assert.equal(kindOf(container.diff(olds, { ...news, namespace: "other" })), "replace");
        assert.equal(kindOf(container.diff(olds, { ...news, node: "there" })), "replace");
        // Where nobody chose it, the replacement gets another one.
        assert.equal(kindOf(container.diff(theContainer, { ...theContainer, args: ["x"] })), "replace");
    });

    it("deletes first where both want the host's network", () => {
        const olds: ContainerState = { ...theContainer, network: "host" };
        assert.equal(kindOf(container.diff(olds, { ...olds, name: "other", args: ["x"] })), "delete first");
        assert.equal(kindOf(container.diff(olds, { ...olds, name: "other", network: "none" })), "replace");
    });

    it("replaces one of which something is missing", () => {
        assert.deepEqual(container.diff({ ...theContainer, complete: false }, theContainer).replaces, ["complete"]);
    });
});

describe("lifecycle: diff of an Image", () => {
    const rows: [what: string, change: Partial<ImageState>, kind: Kind][] = [
        ["nothing", {}, "same"],
        ["credentials", { auth: { username: "u", password: "p" } }, "same"],
        ["which file it was read from", { archive: "/tmp/a.tar" }, "same"],
        ["a digest not looked up (pull: never)", { digest: undefined, pinned: undefined }, "same"],
        ["labels", { labels: { a: "1" } }, "update"],
        ["pull", { pull: "always" }, "update"],
        ["ref", { ref: "docker.io/library/nginx:2" }, "replace"],
        ["ref with pull: never", { ref: "docker.io/library/nginx:2", digest: undefined }, "replace"],
        ["digest", { digest: "sha256:bb" }, "replace"],
        ["platform", { platform: "linux/arm64" }, "replace"],
        ["snapshotter", { snapshotter: "native" }, "replace"],
        ["node", { node: "there" }, "replace"],
        ["namespace", { namespace: "other" }, "replace"],
    ];
    for (const [what, change, kind] of rows) {
        it(`${what}: ${kind}`, () => assert.equal(kindOf(image.diff(theImage, { ...theImage, ...change })), kind));
    }

    it("completes one of which something is missing", () => {
        assert.equal(kindOf(image.diff({ ...theImage, complete: false }, theImage)), "update");
    });
});

describe("lifecycle: diff of a Task", () => {
    const rows: [what: string, olds: Partial<TaskState>, news: Partial<TaskState>, kind: Kind][] = [
        ["nothing", {}, {}, "same"],
        ["restart", {}, { restart: "no" }, "update"],
        [
            "health",
            {},
            { health: { tcp: { port: 1 }, interval: "1s", timeout: "1s", retries: 1, startPeriod: "1s" } },
            "update",
        ],
        ["stop", {}, { stop: { timeout: "1s" } }, "update"],
        ["desired", {}, { desired: "stopped" }, "update"],
        ["triggers", {}, { triggers: [1] }, "delete first"],
        ["the order of keys in triggers", { triggers: [{ a: 1, b: 2 }] }, { triggers: [{ b: 2, a: 1 }] }, "same"],
        ["another container", {}, { container: "default/web-7654321/7654" }, "replace"],
        ["a container not known yet", {}, { container: UNKNOWN }, "replace"],
        ["stopped on the node", { status: "stopped", ready: false }, {}, "update"],
        ["unhealthy when last seen", { ready: false }, {}, "update"],
        ["stopped as desired", { status: "stopped", desired: "stopped" }, { desired: "stopped" }, "same"],
        [
            "started by hand, though wanted stopped",
            { desired: "stopped", ready: false },
            { desired: "stopped" },
            "update",
        ],
        ["a job that is done", { once: true, status: "stopped", exitCode: 0 }, { once: true }, "same"],
    ];
    for (const [what, olds, news, kind] of rows) {
        it(`${what}: ${kind}`, () => {
            assert.equal(kindOf(task.diff({ ...theTask, ...olds }, { ...theTask, ...news })), kind);
        });
    }
});

describe("lifecycle: what a running process needs to see a change", () => {
    const rows: [what: string, olds: Partial<ContainerState>, news: Partial<ContainerState>, restart: boolean][] = [
        ["nothing", {}, {}, false],
        ["labels", { labels: { a: "1" } }, {}, false],
        ["a file's content", {}, { files: { "/a": { content: "b" } } }, true],
        ["a file's mode", {}, { files: { "/a": { content: "a", mode: "0600" } } }, true],
        ["a new file", {}, { files: { "/a": { content: "a" }, "/b": { content: "b" } } }, true],
        ["a file gone", {}, { files: {} }, true],
        ["a file with onChange none", {}, { files: { "/a": { content: "b", onChange: "none" } } }, false],
        [
            "a new file with onChange none",
            {},
            { files: { "/a": { content: "a" }, "/b": { content: "b", onChange: "none" } } },
            true,
        ],
        ["a secret", { secrets: { pw: "a" } }, { secrets: { pw: "b" } }, true],
        ["a secret gone", { secrets: { pw: "a" } }, {}, true],
        ["the order of keys", { secrets: { a: "1", b: "2" } }, { secrets: { b: "2", a: "1" } }, false],
    ];
    for (const [what, olds, news, expected] of rows) {
        it(`${what}: ${expected ? "a restart" : "no restart"}`, () => {
            assert.equal(needsRestart({ ...theContainer, ...olds }, { ...theContainer, ...news }), expected);
        });
    }
});
