/** The resource Node: a machine of the program, its claim, and what lies on it when it is made anew, lost or given up. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { ConfigValue, Stack } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import type { Census } from "../helpers/census";
import { ClusterScene } from "./cluster-scene";
import { failed, rewrite, succeeded, told, unchanged } from "./scene";

/** A machine that another provider makes: each image is another machine. */
const VM = `
const config = new pulumi.Config("test");
const vms = {
    async create(inputs) { return { id: "vm-" + inputs.image, outs: inputs }; },
    async diff(_id, olds, news) {
        return { changes: JSON.stringify(olds) !== JSON.stringify(news), replaces: olds.image === news.image ? [] : ["image"] };
    },
    async update(_id, _olds, news) { return { outs: news }; },
};
class Vm extends pulumi.dynamic.Resource {
    constructor(name, args, opts) { super(vms, name, args, opts); }
}
const place = config.requireObject("place");
const vm = new Vm("edge-3", { image: config.get("machine") || "first", ip: place.host, port: place.port, hostKey: place.hostKey });
`;

/** The node of such a machine, and a component whose parts \`onNode\` puts there. */
const SITE = `${VM}
const node = new containerd.Node("edge-3", {
    machine: vm.id,
    connection: { host: vm.ip, port: vm.port, user: "root", privateKey: config.requireSecret("key"), hostKey: vm.hostKey },
    lost: config.getBoolean("lost"),
}, { parent: vm, deletedWith: vm });
class Site extends pulumi.ComponentResource {
    constructor(name, opts) {
        super("test:index:Site", name, {}, opts);
        const own = { parent: this, deletedWith: node };
        const image = new containerd.Image(name, { ref: config.require("image") }, own);
        const web = new containerd.Container(name, { image, network: "none", args: ["sleep", "1000"] }, own);
        new containerd.Task(name, { container: web }, own);
        const member = { image: config.require("image"), args: ["sleep", "1000"] };
        new containerd.Pod(name + "-pod", { ports: ["8080:80"], containers: { one: member, two: { ...member, after: ["one"] } } }, own);
    }
}
if (!config.getBoolean("empty")) new Site("site", { transforms: [containerd.onNode(node)] });
exports.facts = node.facts;
`;

async function placeOf(worker: Worker): Promise<Record<string, ConfigValue>> {
    const { host, port, hostKey, identityFile } = worker.ssh;
    return {
        "test:place": { host, port, hostKey },
        "test:key": { secret: await readFile(identityFile, "utf8") },
    };
}

async function tasksOn(worker: Worker): Promise<number> {
    return (await worker.ctr("tasks", "ls", "-q")).split("\n").filter(Boolean).length;
}

async function pidsOn(worker: Worker): Promise<string[]> {
    const lines = (await worker.ctr("tasks", "ls")).trim().split("\n").slice(1);
    return lines.map((line) => line.split(/\s+/)[1] ?? "");
}

/** Removes what a test left on purpose: by containerd's own means, as a machine that is thrown away would not need. */
async function clear(worker: Worker): Promise<void> {
    await worker.run(`
        for id in $(ctr tasks ls -q); do ctr containers label "$id" containerd.io/restart.status= >/dev/null; done
        for id in $(ctr tasks ls -q); do ctr tasks rm --force "$id" >/dev/null; done
        for script in /var/lib/pulumi-containerd/*/network.sh; do [ ! -e "$script" ] || sh "$script" remove; done
        for id in $(ctr containers ls -q); do ctr containers rm "$id" && ctr snapshots rm "$id" || true; done
        for id in $(ctr images ls -q); do ctr images rm "$id" >/dev/null; done
        for id in $(ctr leases ls -q); do ctr leases rm "$id" >/dev/null; done
        rm -rf /var/lib/pulumi-containerd/*`);
}

describe("the resource Node", function () {
    this.timeout(300_000);
    let scene: ClusterScene;
    let first: Worker;
    let second: Worker;
    let empty: Record<string, Census>;
    before(async () => {
        scene = await ClusterScene.open([{ version: "1.6" }, { version: "2" }]);
        [first, second] = scene.workers as [Worker, Worker];
        empty = await scene.census();
    });
    after(() => scene.close());

    /** A stack whose machine is that worker; the config of nodes has none. */
    async function siteOn(worker: Worker): Promise<Stack> {
        return scene.stack(SITE, { config: { "containerd:nodes": {}, ...(await placeOf(worker)) } });
    }

    it("is a machine made in the same program; what lies on it follows a rebuilt one, and the old is not asked", async () => {
        const stack = await siteOn(first);
        const up = succeeded(await stack.up());
        assert.deepEqual([...new Set(up.changes.map((change) => change.split(": ")[1]))], ["create"], told(up));
        assert.equal(await tasksOn(first), 3);
        unchanged(await stack.up());
        unchanged(await stack.refresh());
        const { facts } = (await stack.outputs()) as { facts: Record<string, unknown> };
        assert.match(String(facts.containerd), /^1\.6\./);
        assert.equal(facts.cgroup, existsSync("/sys/fs/cgroup/cgroup.controllers") ? 2 : 1);

        await first.kill();
        await stack.configure({ "test:machine": "second", ...(await placeOf(second)) });
        const preview = succeeded(await stack.preview());
        assert.ok(preview.changes.includes("site: replace"), told(preview));
        succeeded(await stack.up());
        assert.equal(await tasksOn(second), 3);
        unchanged(await stack.up());
        // The Node goes, the machine stays: `deletedWith` spares the deletes, and the Node itself sweeps.
        await rewrite(stack, VM);
        succeeded(await stack.up());
        assert.deepEqual(await scene.censusOf(second), empty[second.hostname]);
        succeeded(await stack.destroy());

        // In truth the first one is still there, with what a destroyed machine takes along.
        await first.boot();
        await clear(first);
    });

    it("is claimed by one state alone, though two backends have a stack of that name", async () => {
        const [ours, theirs] = [await siteOn(first), await siteOn(first)];
        succeeded(await ours.up());
        const said = failed(await theirs.up());
        assert.match(said, /node edge-3: another state of a stack dev of project test has claimed this machine/);
        assert.match(said, /default\/site-[0-9a-f]{7}.*leases delete pulumi-containerd-claim-/s);
        assert.equal(await tasksOn(first), 3);
        unchanged(await ours.up());

        // Where nothing of ours is left there, it is free.
        await ours.configure({ "test:empty": true });
        succeeded(await ours.up());
        succeeded(await theirs.up());
        assert.match(failed(await ours.up(["--refresh"])), /has claimed this machine/);
        await rewrite(theirs, VM);
        succeeded(await theirs.up());
        await rewrite(ours, VM);
        succeeded(await ours.up());
        assert.deepEqual(await scene.censusOf(first), empty[first.hostname]);
    });

    it("that is lost is not asked, and what lay on it is dropped with a word", async () => {
        const stack = await siteOn(second);
        succeeded(await stack.up());
        await second.cut();
        try {
            await stack.configure({ "test:lost": true });
            const lost = succeeded(await stack.up());
            assert.ok(
                lost.changes.every((change) => change.endsWith(": update")),
                told(lost),
            );
            unchanged(await stack.up());
            await rewrite(stack, SITE.replaceAll(", deletedWith: node", ""));
            succeeded(await stack.up());
            await stack.configure({ "test:empty": true });
            const dropped = succeeded(await stack.up());
            assert.match(told(dropped), /dropped from the state without being deleted, because it is declared lost/);
            assert.match(told(dropped), /Left behind on node edge-3: container default\/site-[0-9a-f]{7};/);
            succeeded(await stack.destroy());
        } finally {
            await second.heal();
            await clear(second);
        }
    });

    it("takes over what lay on the node of that name, and lets go of it when it is a resource no longer", async () => {
        const config = { "containerd:node": first.hostname };
        const plain = (place: string): string => `
            const image = new pulumi.Config("test").require("image");
            const place = ${place};
            const c = new containerd.Container("c", { ...place, image, network: "none", args: ["sleep", "1000"] });
            new containerd.Task("c", { container: c });`;
        const stack = await scene.stack(plain("{}"), { config });
        succeeded(await stack.up());
        const pids = await pidsOn(first);
        await rewrite(stack, plain(`{ node: new containerd.Node("${first.hostname}") }`));
        const adopted = succeeded(await stack.up());
        assert.deepEqual(adopted.changes, ["c: update", "c: update", `${first.hostname}: create`], told(adopted));
        unchanged(await stack.up());
        await rewrite(stack, plain("{}"));
        succeeded(await stack.up());
        assert.deepEqual(await pidsOn(first), pids);
        unchanged(await stack.up());
        succeeded(await stack.destroy());
        assert.deepEqual(await scene.censusOf(first), empty[first.hostname]);
    });
});
