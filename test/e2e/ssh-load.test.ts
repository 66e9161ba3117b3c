/**
 * Many resources on one node, and many nodes far away. All resources of a run share one SSH connection, so that nothing has to
 * be made smaller or slower for sshd's sake (terraform-provider-docker#262: 15 containers over SSH, and sshd kills connections).
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Stack } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import { said } from "../faults/runs";
import { sideBySide, timeline } from "../faults/timeline";
import { sshConnections } from "../helpers/census";
import { ClusterScene } from "./cluster-scene";
import { failed, succeeded } from "./scene";

/** One image, 50 containers and 49 tasks. */
const HUNDRED = `
const image = new containerd.Image("base", { ref: new pulumi.Config("test").require("image") });
for (let n = 1; n <= 50; n++) {
    const container = new containerd.Container("c" + n, { image, network: "none", args: ["sleep", "100000"] });
    if (n < 50) new containerd.Task("c" + n, { container, stop: { signal: "SIGKILL" } });
}
`;

/** A container on each node that the config \`test:on\` names. */
const EACH = `
const config = new pulumi.Config("test");
for (const node of config.requireObject("on")) {
    new containerd.Container(node, { node, image: config.require("image"), network: "none", args: ["sleep", "100000"] });
}
`;

/** What sshd says when it has enough of connections (MaxStartups), or of sessions on one (MaxSessions). */
const REFUSED = /MaxStartups|no more sessions|drop connection/;

const FAR = 100;
const NODES = 20;
/** The engine's own default is a few for each processor of this machine. */
const PARALLEL = ["--parallel", "64"];

describe("a narrow sshd", function () {
    this.timeout(300_000);
    let scene: ClusterScene;
    let worker: Worker;
    before(async () => {
        scene = await ClusterScene.open([{ version: "2", sshd: { MaxStartups: "1", MaxSessions: 1 } }]);
        worker = scene.cluster.worker("node-1");
    });
    after(() => scene.close());

    for (const way of ["streamlocal", "dial"] as const) {
        it(`takes 100 resources by ${way} through MaxStartups 1 and MaxSessions 1 (terraform-provider-docker#262)`, async () => {
            const entry = { ...scene.nodes["node-1"] };
            if (way === "dial") Object.assign(entry, { user: worker.ssh.dialUser, dial: worker.ssh.dial });
            const config = { "containerd:nodes": { "node-1": entry }, "containerd:node": "node-1" };
            const stack = await scene.stack(HUNDRED, { config });
            const log = await logOf(worker);
            const { result: up, most } = await countingConnections(worker, () => stack.up());
            succeeded(up);
            assert.equal(up.changes.filter((change) => change.endsWith(": create")).length, 100);
            succeeded(await stack.destroy());
            const said = (await logOf(worker)).slice(log.length);
            assert.doesNotMatch(said, REFUSED);
            // A run logs in once, or twice where dial's session is the one that a connection may have.
            const logins = said.match(/Accepted publickey/g)?.length ?? 0;
            assert.ok(logins >= 2 && logins <= (way === "dial" ? 4 : 2), `${logins} logins for an up and a destroy`);
            assert.ok(most >= 1 && most <= (way === "dial" ? 2 : 1), `${most} connections at once`);
            console.log(`      ${way}: ${most} connections at once, ${logins} logins for up and destroy`);
        });
    }

    it("says so in its log when a connection has a session too many: what the tests above look for", async () => {
        const { identityFile, host, port, user } = worker.ssh;
        const { Client } = await import("ssh2");
        const client = new Client();
        await new Promise<void>((resolve, reject) => {
            client.once("ready", resolve).once("error", reject);
            void readFile(identityFile).then((privateKey) =>
                client.connect({ host, port, username: user, privateKey }),
            );
        });
        const session = () =>
            new Promise<boolean>((resolve) => client.exec("sleep 100", (error) => resolve(error === undefined)));
        assert.deepEqual([await session(), await session()], [true, false]);
        client.end();
        assert.match(await logOf(worker), REFUSED);
    });
});

describe("nodes far away", function () {
    this.timeout(300_000);
    let scene: ClusterScene;
    before(async () => {
        scene = await ClusterScene.open(Array.from({ length: NODES }, () => ({ version: "2" as const })));
        await Promise.all(scene.workers.map((worker) => worker.delay(FAR)));
    });
    after(() => scene.close());

    it(`works on ${NODES} at a time, each ${FAR} ms away in both directions`, async () => {
        const [first] = scene.workers;
        assert.ok(first);
        const alone = await timed(await onNodes(scene, [first]));
        const all = await timed(await onNodes(scene, scene.workers));
        console.log(`      up of one: ${seconds(alone.time)}; of ${NODES}: ${seconds(all.time)}`);
        const beside = sideBySide(all.moments, "Container");
        console.log(`      ${beside} of ${NODES} containers were being made at the same time`);
        assert.ok(beside > NODES / 2, `only ${beside} at a time`);
    });

    it("gets the others done while one hangs", async () => {
        const hanging = scene.cluster.worker("node-7");
        await hanging.cut();
        try {
            const stack = await onNodes(scene, scene.workers);
            const up = await stack.up(PARALLEL);
            failed(up);
            assert.match(said(up), /node node-7:/);
            const moments = (await timeline(stack)).filter(({ at }) => at !== "begin");
            assert.equal(moments.length, NODES);
            // Others are done while it hangs; how many depends on what else this machine does.
            assert.deepEqual(
                moments.filter(({ at }) => at === "failure").map(({ name }) => name),
                ["node-7"],
            );
            const before = moments.findIndex(({ name }) => name === "node-7");
            assert.ok(before >= NODES / 4, `only ${before} were done before it`);
            await hanging.heal();
            succeeded(await stack.up(PARALLEL));
            succeeded(await stack.destroy(PARALLEL));
        } finally {
            await hanging.heal();
        }
    });
});

async function logOf(worker: Worker): Promise<string> {
    return readFile(path.join(worker.dir, "sshd.log"), "utf8");
}

/** Does something, and how many SSH connections a worker had meanwhile, at most. */
async function countingConnections<T>(worker: Worker, deed: () => Promise<T>): Promise<{ result: T; most: number }> {
    let over = false;
    let most = 0;
    const doing = deed().finally(() => (over = true));
    while (!over) {
        most = Math.max(most, await sshConnections(worker));
        await sleep(100);
    }
    return { result: await doing, most };
}

/** A stack with a container on each of these nodes. */
async function onNodes(scene: ClusterScene, workers: readonly Worker[]): Promise<Stack> {
    return scene.stack(EACH, { config: { "test:on": workers.map(({ hostname }) => hostname) } });
}

/** An up from nothing, and how it went; then it is destroyed. */
async function timed(stack: Stack) {
    const start = Date.now();
    succeeded(await stack.up(PARALLEL));
    const time = Date.now() - start;
    const moments = await timeline(stack);
    succeeded(await stack.destroy(PARALLEL));
    return { time, moments };
}

function seconds(milliseconds: number): string {
    return `${(milliseconds / 1000).toFixed(1)} s`;
}
