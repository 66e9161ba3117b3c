/**
 * A Node's arguments and what a change of them asks for, and what holds for whatever lies on a node: lost, unreachable, reached
 * another way. No machine is asked.
 */
import assert from "node:assert/strict";
import { ContainerdError, type ErrorCode } from "../../provider/errors";
import { claimLease } from "../../provider/lifecycle/claims";
import type { Difference, Lifecycle } from "../../provider/lifecycle/lifecycle";
import { node, type NodeInputs, type NodeState } from "../../provider/lifecycle/node";
import { Run } from "../../provider/lifecycle/run";
import { DELETE_UNREACHABLE, readSettings } from "../../provider/lifecycle/settings";
import { steadfast } from "../../provider/lifecycle/steadfast";
import { task as taskLife, type TaskInputs } from "../../provider/lifecycle/task";
import { UNKNOWN } from "../../provider/lifecycle/unknown";
import { type ConfiguredNode, noneChosen } from "../../provider/resources/nodes";
import { failsWith } from "../helpers/image";
import { sshFiles } from "../helpers/ssh-files";

const owner = "urn:pulumi:dev::p::pulumi-nodejs:dynamic/containerd:Node::edge-1";
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const NODES = {
    "edge-1": {
        host: "192.0.2.1",
        labels: { zone: "a" },
        capacity: { cpus: 4, memory: "8GiB" },
        publicAddress: "203.0.113.1",
    },
    "edge-2": { host: "192.0.2.2", deleteUnreachable: true },
    here: { socket: "/run/x.sock" },
};

/** A run with these nodes in its config, and what it told the user. */
function start(nodes: object = NODES): { run: Run; warnings: string[] } {
    const warnings: string[] = [];
    const settings = readSettings((key) => (key === "containerd:nodes" ? JSON.stringify(nodes) : undefined));
    const report = { progress: () => undefined, warn: (_owner: string, text: string) => void warnings.push(text) };
    return { run: Run.start(settings, report, sshFiles()), warnings };
}

async function check(news: Record<string, unknown>, olds?: NodeInputs) {
    return node.check(start().run, olds, { owner, node: "edge-1", ...news });
}

async function problems(news: Record<string, unknown>): Promise<string[]> {
    const { failures } = await check(news);
    return failures.map(({ property, reason }) => `${property}: ${reason}`);
}

describe("lifecycle: a Node's arguments", () => {
    it("takes labels, capacity and address from the config where they are not given", async () => {
        const { inputs, failures } = await check({});
        assert.deepEqual(failures, []);
        const { claim, ...rest } = inputs as NodeInputs;
        assert.match(claim, UUID);
        assert.deepEqual(JSON.parse(JSON.stringify(rest)), {
            owner,
            node: "edge-1",
            labels: { zone: "a" },
            capacity: { cpus: 4, memory: 8 * 2 ** 30 },
            publicAddress: "203.0.113.1",
        });
    });

    it("and its own where they are", async () => {
        const given = { labels: { zone: "b" }, capacity: { cpus: 1 }, publicAddress: "198.51.100.7" };
        const { inputs } = await check(given);
        const { labels, capacity, publicAddress } = inputs as NodeInputs;
        assert.deepEqual({ labels, capacity, publicAddress }, given);
    });

    it("is reached by others where we reach it, unless something else is said", async () => {
        const addressOf = async (news: Record<string, unknown>) =>
            ((await check(news)).inputs as NodeInputs).publicAddress;
        assert.equal(await addressOf({ node: "edge-2" }), "192.0.2.2");
        assert.equal(await addressOf({ node: "here" }), "127.0.0.1");
        assert.equal(await addressOf({ node: "new", connection: { host: "192.0.2.9" } }), "192.0.2.9");
        assert.equal(await addressOf({ node: "new", connection: { host: UNKNOWN } }), UNKNOWN);
        // What the config says of a name holds also where the program says how it is reached.
        assert.equal(await addressOf({ connection: { host: "192.0.2.9" } }), "203.0.113.1");
    });

    it("keeps its claim for ever, and each Node has another", async () => {
        const { inputs: first } = await check({});
        const { inputs: same } = await check({}, first as NodeInputs);
        const { inputs: other } = await check({});
        assert.equal((same as NodeInputs).claim, (first as NodeInputs).claim);
        assert.notEqual((other as NodeInputs).claim, (first as NodeInputs).claim);
    });

    it("of a name that nothing is said of: is refused, with those that are alike", async () => {
        assert.throws(
            () => void node.check(start().run, undefined, { owner, node: "edge-3" }),
            failsWith("NotFound", /^node edge-3, node: no node edge-3 in the stack config.*Did you mean edge-1\?$/),
        );
    });

    const rows: [news: Record<string, unknown>, says: RegExp][] = [
        [{ node: "a b" }, /^node: may hold letters, digits/],
        [{ node: "-a" }, /^node: may hold letters, digits/],
        [{ machine: 5 }, /^machine: must be a text, not a number$/],
        [{ lost: "yes" }, /^lost: must be true or false, not a text$/],
        [{ labels: ["a"] }, /^labels: must be a map, not a list$/],
        [{ labels: { zone: "" } }, /^labels\.zone: must not be empty/],
        [{ capacity: { cpus: -1 } }, /^capacity\.cpus: must be at least 0, not -1$/],
        [{ capacity: { memory: "much" } }, /^capacity\.memory: is not a size/],
        [{ connection: "192.0.2.1" }, /^connection: must be a map, not a text$/],
        [{ connection: {} }, /^connection\.host: is missing/],
        [{ connection: { host: "root@x" } }, /^connection\.host: is a host alone: the user goes into `user`$/],
        [{ connection: { host: "-oProxyCommand=x" } }, /^connection\.host: must be a host name or an address$/],
        [{ connection: { host: "x", port: 70_000 } }, /^connection\.port: must be from 1 to 65535, not 70000$/],
        [{ connection: { host: "x", socket: "x.sock" } }, /^connection\.socket: must be an absolute path$/],
        [{ connection: { host: "x", dial: " " } }, /^connection\.dial: must not be empty$/],
        [{ connection: { host: "x", hostKey: "x" } }, /^connection\.hostKey: is not a host key/],
        [{ connection: { host: "x", pasword: "x" } }, /^connection\.pasword: .*did you mean `password`\?$/],
    ];
    for (const [news, says] of rows) {
        it(JSON.stringify(news), async () => {
            const found = await problems(news);
            assert.equal(found.length, 1, found.join("\n"));
            assert.match(found[0]!, says);
        });
    }

    it("does not repeat what could be a secret", async () => {
        const secret = "hush-hush-value";
        const wrong = { privateKey: [secret], passphrase: { a: secret }, password: [secret], hostKey: secret };
        const found = await problems({ connection: { host: "x", ...wrong } });
        assert.equal(found.length, 4, found.join("\n"));
        assert.doesNotMatch(found.join("\n"), /hush/);
    });
});

const state: NodeState = {
    owner,
    node: "edge-1",
    claim: "11111111-1111-4111-8111-111111111111",
    machine: "vm-1",
    connection: { host: "192.0.2.1", user: "root", password: "x" },
    publicAddress: "192.0.2.1",
    labels: { zone: "a" },
    capacity: { cpus: 4 },
    facts: { containerd: "2.0.0", platform: "linux/amd64", snapshotters: ["overlayfs"] },
};

type Kind = "same" | "update" | "replace";

function kindOf({ changed, replaces }: Difference): Kind {
    return replaces.length ? "replace" : changed.length ? "update" : "same";
}

describe("lifecycle: a changed Node", () => {
    const rows: [change: Partial<NodeState>, kind: Kind][] = [
        [{}, "same"],
        [{ machine: "vm-2" }, "replace"],
        [{ machine: undefined }, "update"],
        [{ node: "edge-2" }, "replace"],
        [{ connection: { host: "192.0.2.2", user: "root", password: "x" } }, "update"],
        [{ connection: { host: "192.0.2.1", user: "root", password: "y" } }, "update"],
        [{ connection: undefined }, "update"],
        [{ publicAddress: "198.51.100.1" }, "update"],
        [{ labels: { zone: "b" } }, "update"],
        [{ capacity: { cpus: 8 } }, "update"],
        [{ lost: true }, "update"],
        [{ owner: `${owner}-renamed` }, "update"],
        [{ timeouts: { create: "1m" } }, "same"],
        [{ retainOnDelete: true }, "same"],
    ];
    for (const [change, kind] of rows) {
        it(`${JSON.stringify(change)}: ${kind}`, () => {
            const difference = node.diff(state, { ...state, ...change });
            assert.equal(kindOf(difference), kind);
            // Another machine is there before the first one goes.
            assert.equal(difference.deleteBeforeReplace, false);
        });
    }

    it("declared lost: nobody is asked, what is known stays, and what lies on it hears of it", async () => {
        const { run, warnings } = start();
        const news = { ...state, lost: true };
        assert.deepEqual(await node.update(run, "id", state, news), news);
        assert.equal(run.isLost(state.node, state.claim), true);
        assert.equal(run.isLost(state.node, "another claim"), false);
        assert.deepEqual(await node.read(run, "id", news), news);
        await node.delete(run, "default/edge-1/x", news);
        assert.match(
            warnings.join("\n"),
            /^declared lost: nothing was done on the machine, default\/edge-1\/x is dropped/,
        );
    });

    it("cannot be made lost, or known by its id alone", async () => {
        const { run } = start();
        await assert.rejects(
            node.create(run, { ...state, lost: true }),
            failsWith("Invalid", /edge-1, lost: a machine that was never/),
        );
        await assert.rejects(
            node.read(run, "x", {} as NodeState),
            failsWith("Unsupported", /declare it in this program/),
        );
    });
});

interface Thing {
    owner: string;
    node: string;
    namespace: string;
    claim?: string;
    lost?: boolean;
    connection?: { host: string };
    nodeAddress?: string;
    size: number;
}

const thing: Thing = { owner: "urn:pulumi:dev::p::t::web", node: "edge-1", namespace: "default", size: 1 };

/** A life of which each deed fails with one error, or writes down that it was done. */
function lifeThat(done: string[], error?: ContainerdError): Lifecycle<Thing, Thing> {
    const deed = (what: string): void => {
        done.push(what);
        if (error) throw error;
    };
    const life: Lifecycle<Thing, Thing> = {
        arguments: ["owner", "node", "namespace", "claim", "lost", "connection", "nodeAddress", "size"],
        check: (_run, _olds, news) => Promise.resolve({ inputs: news as unknown as Thing, failures: [] }),
        diff: (olds, news) => {
            const changed = (Object.keys({ ...olds, ...news }) as (keyof Thing)[]).filter(
                (key) => olds[key] !== news[key],
            );
            const replaces = changed.filter((key) => key === "claim" || key === "node");
            return { changed, replaces, deleteBeforeReplace: replaces.length > 0 };
        },
        create: async (_run, state) => (deed("create"), { id: "default/web/1", state }),
        read: async (_run, _id, state) => (deed("read"), state),
        update: async (_run, _id, _olds, news) => (deed("update"), news),
        delete: async () => deed("delete"),
    };
    return steadfast("container", life);
}

describe("lifecycle: what lies on a node", () => {
    const SILENT: ErrorCode[] = ["Unreachable", "Timeout", "Unauthorized"];
    const down = (code: ErrorCode, node: string | undefined = "edge-1") =>
        new ContainerdError(code, "it is down", { node });

    for (const code of SILENT) {
        it(`${code}: a refresh keeps it and says so; a delete fails, and names the way out`, async () => {
            const { run, warnings } = start();
            const life = lifeThat([], down(code));
            assert.deepEqual(await life.read(run, "id", thing), thing);
            assert.deepEqual(warnings, ["kept as last known, because node edge-1: it is down"]);
            await assert.rejects(
                life.delete(run, "default/web/1", thing),
                failsWith(
                    code,
                    /^node edge-1: it is down\. Nothing was deleted\. .*--path containerd:nodes\.edge-1\.deleteUnreachable true.*PULUMI_CONTAINERD_DELETE_UNREACHABLE=edge-1/,
                ),
            );
        });
    }

    it("asks nothing before the full stop", async () => {
        const life = lifeThat([], new ContainerdError("Unreachable", "is the machine on?", { node: "edge-1" }));
        await assert.rejects(
            life.delete(start().run, "default/web/1", thing),
            failsWith("Unreachable", /: is the machine on\? Nothing was deleted\. If/),
        );
    });

    it("something else that fails is neither kept nor explained away", async () => {
        const { run, warnings } = start();
        for (const error of [down("Failed"), down("Conflict"), new ContainerdError("Unauthorized", "a registry's")]) {
            const life = lifeThat([], error);
            await assert.rejects(life.read(run, "id", thing), error);
            await assert.rejects(life.delete(run, "id", { ...thing, node: "edge-2" }), error);
        }
        assert.deepEqual(warnings, []);
    });

    it("a resource of which nothing is known cannot be kept", async () => {
        const life = lifeThat([], down("Unreachable"));
        await assert.rejects(life.read(start().run, "id", {} as Thing), failsWith("Unreachable", /it is down/));
    });

    it("with deleteUnreachable, in the config or the environment, it is dropped, and is said to be left behind", async () => {
        const life = lifeThat([], down("Unreachable", "edge-2"));
        const left =
            /^dropped from the state without being deleted, because it is down\. Left behind on node (\S+): container default\/web;/;
        const { run, warnings } = start();
        await life.delete(run, "default/web/1", { ...thing, node: "edge-2" });
        assert.equal(left.exec(warnings[0] ?? "")?.[1], "edge-2", warnings[0]);
        process.env[DELETE_UNREACHABLE] = "other, edge-1";
        try {
            await life.delete(run, "default/web/1", thing);
            assert.equal(left.exec(warnings[1] ?? "")?.[1], "edge-1", warnings[1]);
            assert.match(
                warnings[1] ?? "",
                /come back, `npx pulumi-containerd doctor edge-1` lists what no stack owns$/,
            );
            // Of a Node with a `connection` of its own a doctor does not know how it is reached.
            process.env[DELETE_UNREACHABLE] = "vm";
            await lifeThat([], down("Unreachable", "vm")).delete(run, "default/web/1", { ...thing, node: "vm" });
            assert.match(warnings[2] ?? "", /come back and once it is in the stack config containerd:nodes, `npx/);
        } finally {
            delete process.env[DELETE_UNREACHABLE];
        }
        // One that answers is deleted as ever.
        const done: string[] = [];
        await lifeThat(done).delete(run, "default/web/1", { ...thing, node: "edge-2" });
        assert.deepEqual([done, warnings.length], [["delete"], 3]);
    });

    for (const [how, on] of [
        ["by its own node", () => ({ run: start(), it: { ...thing, lost: true } })],
        [
            "in this run",
            () => {
                const run = start();
                run.run.declareLost("edge-1", "c");
                return { run, it: { ...thing, claim: "c" } };
            },
        ],
    ] as [how: string, on: () => { run: ReturnType<typeof start>; it: Thing }][]) {
        it(`on a node that is lost ${how}: nothing is asked, made or changed; it can only go`, async () => {
            const {
                run: { run, warnings },
                it: lying,
            } = on();
            const done: string[] = [];
            const life = lifeThat(done);
            const lost = failsWith("Conflict", /^node edge-1, node: the Node is declared lost \(`lost: true`\)/);
            await assert.rejects(life.create(run, lying), lost);
            await assert.rejects(life.update(run, "id", lying, { ...lying, size: 2 }), lost);
            assert.deepEqual(await life.read(run, "id", lying), lying);
            await life.delete(run, "default/web/1", lying);
            assert.match(
                warnings.join("\n"),
                /because it is declared lost\. Left behind on node edge-1: container default\/web;/,
            );
            assert.deepEqual(done, []);
        });
    }

    it("reached another way: the state is changed, and the machine is not asked", async () => {
        const { run } = start();
        const done: string[] = [];
        const life = lifeThat(done, down("Unreachable"));
        const way = { connection: { host: "192.0.2.99" }, nodeAddress: "192.0.2.99", lost: true };
        const olds = { ...thing, connection: { host: "192.0.2.1" }, nodeAddress: "192.0.2.1" };
        assert.deepEqual(await life.update(run, "id", olds, { ...olds, ...way }), { ...olds, ...way });
        const back = await life.update(run, "id", { ...olds, ...way }, { ...olds, lost: undefined });
        assert.deepEqual(back, { ...olds, lost: undefined });
        assert.deepEqual(done, []);
    });

    it("a Node that comes into the program, or leaves it, replaces nothing; another machine does", () => {
        const life = lifeThat([]);
        const [plain, one, two] = [thing, { ...thing, claim: "1" }, { ...thing, claim: "2" }];
        for (const [olds, news] of [
            [plain, one],
            [one, plain],
        ] as const) {
            const { changed, replaces, deleteBeforeReplace } = life.diff(olds, news);
            assert.deepEqual([changed, replaces, deleteBeforeReplace], [["claim"], [], false]);
        }
        assert.deepEqual(life.diff(one, two).replaces, ["claim"]);
        assert.deepEqual(life.diff(plain, { ...one, node: "edge-2" }).replaces, ["node"]);
    });
});

describe("lifecycle: a Task's node", () => {
    const task = { owner, container: "default/web/1", node: "edge-1" };
    const nodeOf = async (news: object, olds?: object) => {
        const { inputs, failures } = await taskLife.check(start().run, olds as TaskInputs | undefined, news);
        assert.deepEqual(failures, []);
        return (inputs as TaskInputs).node;
    };

    it("is its Container's, and no error of the Task's while its Container has failed", async () => {
        const failed = { owner, hasContainer: true };
        assert.equal(await nodeOf({ ...task, hasContainer: true }), "edge-1");
        assert.equal(await nodeOf({ ...task, node: "edge-2" }, { ...task, uid: "1" }), "edge-2");
        assert.equal(await nodeOf(failed, { ...task, uid: "1" }), "edge-1");
        assert.equal(await nodeOf({ ...failed, container: task.container }, { ...task, uid: "1" }), "edge-1");
        assert.equal(await nodeOf(failed), undefined);
        const forgotten = await taskLife.check(start().run, undefined, { owner });
        assert.match(forgotten.failures[0]?.reason ?? "", /^is missing/);
    });

    it("that nothing is said of is warned of in one sentence", async () => {
        const { run, warnings } = start();
        await taskLife.check(run, undefined, { ...task, node: "edge-11" });
        assert.deepEqual(warnings, [
            "nothing says yet how node edge-11 is reached, so nothing is checked for it: no node edge-11 in the stack config " +
                "containerd:nodes, which has edge-1, edge-2, here; nor is there a Host edge-11 in ~/.ssh/config. Did you mean edge-1?",
        ]);
    });
});

describe("the nodes of the config that a program loops over", () => {
    it("says which labels there are when it chooses none", () => {
        const nodes: ConfiguredNode[] = [
            { name: "a", labels: { role: "web", zone: "x" } },
            { name: "b", labels: { role: "sip" } },
            { name: "c", labels: {} },
        ];
        const which = "chooses none of the 3 nodes of the stack config containerd:nodes";
        assert.equal(
            noneChosen({ role: "nosuch", zone: "x" }, nodes),
            `configuredNodes({ role: nosuch, zone: x }) ${which}: their labels are { role: sip | web, zone: x }`,
        );
        assert.match(
            noneChosen({ role: "web" }, nodes.slice(2)),
            /chooses none of the 1 nodes .*: they have no labels$/,
        );
    });
});

describe("lifecycle: the lease by which a stack claims a machine", () => {
    const of = (stack: string, project: string, name: string) =>
        claimLease(`urn:pulumi:${stack}::${project}::t::${name}`);

    it("is one for each stack, whatever its Node is called", () => {
        assert.equal(of("dev", "p", "a"), of("dev", "p", "b"));
        const names = [of("dev", "p", "a"), of("prod", "p", "a"), of("dev", "q", "a"), of("devp", "", "a")];
        assert.equal(new Set(names).size, names.length);
        // containerd takes identifiers of at most 76 characters.
        for (const name of names) assert.match(name, /^pulumi-containerd-claim-[0-9a-f]{16}$/);
    });
});
