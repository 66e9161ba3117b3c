/** Published ports by the real engine, over SSH: they move, change, are mended, and are refused where somebody has them. */
import assert from "node:assert/strict";
import type { Stack } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import { NetworkNode, type Peer } from "../integration/network-node";
import { type RunningTask, runningTasks } from "../helpers/tasks";
import { ClusterScene } from "./cluster-scene";
import { failed, rewrite, succeeded, unchanged } from "./scene";

/** What a program on the node wants. */
interface Wanted {
    /** Another one is another Container and another Pod. */
    version?: string;
    /** Ports of the page's container. */
    page?: string[];
}

/** On each node: a page, and what comes by UDP goes back, from a Container at port 5060 and from a Pod at port 5061. */
function program({ version = "one", page = ["8000:80"] }: Wanted = {}): string {
    return `
const image = new pulumi.Config("test").require("image");
// The machine's own socat: what comes goes back.
const echo = (port) => ({
    image,
    args: ["/usr/bin/socat", "UDP4-RECVFROM:" + port + ",fork", "PIPE"],
    env: { VERSION: "${version}" },
    mounts: Object.fromEntries(["/usr", "/lib", "/lib64"].map((path) => [path, { bind: path, readOnly: true }])),
});
const listens = (hex) => ({ exec: ["grep", "-q", ":" + hex, "/proc/net/udp"] });
exports.seen = containerd.configuredNodes().map(({ name }) => {
    const page = new containerd.Container("page-" + name, {
        node: name,
        image,
        ports: ${JSON.stringify(page)},
        args: ["httpd", "-f", "-p", "80", "-h", "/www"],
        files: { "/www/index.html": "this is " + name },
    });
    new containerd.Task("page-" + name, { container: page, health: { http: { port: 80 } } });
    const alone = new containerd.Container("alone-" + name, { node: name, ports: ["5060:5060/udp"], ...echo(5060) });
    new containerd.Task("alone-" + name, { container: alone, health: listens("13C4") });
    const pod = new containerd.Pod("pod-" + name, {
        node: name,
        ports: ["5061:5061/udp", "127.0.0.1:10000-19999:10000-19999/udp"],
        triggers: ["${version}"],
        containers: { echo: { ...echo(5061), health: listens("13C5") } },
    });
    return {
        page: page.published, pageAt: page.endpoint(80), unpublished: page.endpoint(81), address: page.address,
        pod: pod.published, range: pod.endpoint(12345, "udp"),
    };
});
`;
}

/** Milliseconds between two packets of a phone. */
const INTERVAL = 50;

describe("published ports over SSH", function () {
    this.timeout(300_000);
    let scene: ClusterScene;
    let nodes: NetworkNode[];
    let stack: Stack;
    let empty: Awaited<ReturnType<ClusterScene["census"]>>;
    const losses: string[] = [];
    before(async () => {
        scene = await ClusterScene.open([{ version: "1.6" }, { version: "2" }]);
        nodes = scene.workers.map((worker) => new NetworkNode(worker));
        empty = await scene.census();
        stack = await scene.stack(program());
        succeeded(await stack.up());
    });
    after(async () => {
        for (const node of nodes ?? []) await node.clean();
        await scene?.close();
        for (const loss of losses) console.log(`      ${loss}`);
    });

    /** A page from outside; undefined where nobody answers. */
    async function pageAt(worker: Worker, port: number): Promise<string | undefined> {
        try {
            return await (await fetch(`http://127.0.0.1:${await worker.forward(port)}/`)).text();
        } catch {
            return undefined;
        }
    }

    /** The processes of a worker by what they are, with ids. */
    const processes = async (worker: Worker, ...names: string[]) => {
        const running = await runningTasks(worker);
        return names.map((name) => running[name.replace("NODE", worker.hostname)]);
    };

    it("says where they answer", async () => {
        const { seen } = (await stack.outputs()) as { seen: Record<string, unknown>[] };
        for (const [index, worker] of scene.workers.entries()) {
            const host = worker.ip;
            const { address, ...rest } = seen[index]!;
            assert.match(String(address), /^10\.127\./);
            assert.deepEqual(rest, {
                page: { "80/tcp": `${host}:8000` },
                pageAt: `${host}:8000`,
                unpublished: `${String(address)}:81`,
                pod: { "5061/udp": `${host}:5061`, "10000-19999/udp": "127.0.0.1:10000-19999" },
                range: "127.0.0.1:12345",
            });
            assert.equal(await pageAt(worker, 8000), `this is ${worker.hostname}`);
        }
        unchanged(await stack.refresh());
        unchanged(await stack.up());
    });

    it("move to a replacement while a phone on another machine sends all the time from one port", async () => {
        const before = await Promise.all(scene.workers.map((one) => processes(one, "alone-NODE", "pod-NODE.echo")));
        const phones: { what: string; phone: Peer }[] = [];
        try {
            await replaceUnder(phones, before);
        } finally {
            for (const node of nodes) await node.clean();
        }
    });

    type Tasks = (RunningTask | undefined)[];
    async function replaceUnder(phones: { what: string; phone: Peer }[], before: Tasks[]): Promise<void> {
        for (const [index, worker] of scene.workers.entries()) {
            for (const [port, kind] of [
                [5060, "Container"],
                [5061, "Pod"],
            ] as const) {
                const phone = await nodes[1 - index]!.phone(worker.ip, port, INTERVAL);
                phones.push({ what: `${kind} replaced, containerd ${worker.version}`, phone });
            }
        }
        await Promise.all(phones.map(({ phone }) => phone.answers(3)));
        await rewrite(stack, program({ version: "two" }));
        succeeded(await stack.up());
        await Promise.all(phones.map(({ phone }) => phone.answers(3)));
        const after = await Promise.all(scene.workers.map((one) => processes(one, "alone-NODE", "pod-NODE.echo")));
        for (const [index, tasks] of after.entries()) {
            for (const [place, task] of tasks.entries()) {
                assert.ok(task && task.id !== before[index]![place]!.id, "it was not replaced");
            }
        }
        unchanged(await stack.refresh());
        let lost = 0;
        for (const { what, phone } of phones) {
            const { sent, answered } = await phone.hangUp();
            const gone = Array.from({ length: sent }, (_, at) => at + 1).filter((number) => !answered.has(number));
            losses.push(`${what}: ${gone.length} of ${sent} packets lost ${gone.join(" ")}`);
            lost += gone.length;
        }
        assert.equal(lost, 0, losses.join("\n"));
    }

    it("are changed in place: the process goes on, the old port is closed, the new one open", async () => {
        const before = await Promise.all(scene.workers.map((one) => processes(one, "page-NODE")));
        await rewrite(stack, program({ version: "two", page: ["8001:80", "127.0.0.1:8002:80"] }));
        const { changes, stdout } = succeeded(await stack.preview());
        assert.deepEqual(
            changes,
            scene.workers.map(({ hostname }) => `page-${hostname}: update`),
        );
        assert.match(stdout, /\[diff: ~ports\]/);
        succeeded(await stack.up());
        for (const worker of scene.workers) {
            assert.equal(await pageAt(worker, 8001), `this is ${worker.hostname}`);
            assert.equal(await pageAt(worker, 8000), undefined);
            assert.equal(await pageAt(worker, 8002), undefined, "a port of the loopback is reached from outside");
            assert.equal(await worker.run("wget -qO- http://127.0.0.1:8002/"), `this is ${worker.hostname}`);
        }
        assert.deepEqual(await Promise.all(scene.workers.map((one) => processes(one, "page-NODE"))), before);
        const { seen } = (await stack.outputs()) as { seen: { pageAt: string }[] };
        assert.deepEqual(
            seen.map(({ pageAt }) => pageAt),
            scene.workers.map(({ ip }) => `${ip}:8001`),
        );
        unchanged(await stack.refresh());
        unchanged(await stack.up());
    });

    it("whose rules another program flushed are seen by refresh and mended by up, and the process goes on", async () => {
        const names = ["page-NODE", "alone-NODE", "pod-NODE.echo"];
        const before = await Promise.all(scene.workers.map((one) => processes(one, ...names)));
        for (const worker of scene.workers) {
            await worker.run("nft flush ruleset");
            assert.equal(await pageAt(worker, 8001), undefined);
        }
        const all = scene.workers
            .flatMap(({ hostname }) => ["page", "alone", "pod"].map((kind) => `${kind}-${hostname}: update`))
            .sort();
        assert.deepEqual(succeeded(await stack.refresh()).changes, all);
        assert.deepEqual(succeeded(await stack.up()).changes, all);
        for (const worker of scene.workers) assert.equal(await pageAt(worker, 8001), `this is ${worker.hostname}`);
        assert.deepEqual(await Promise.all(scene.workers.map((one) => processes(one, ...names))), before);
        unchanged(await stack.refresh());
        unchanged(await stack.up());
    });

    it("that two resources of a program want are refused in the preview, naming both", async () => {
        const other = await scene.stack(two("8010:80", "8010:81"), { project: "other" });
        const said = failed(await other.preview());
        // Whichever is asked second.
        assert.match(
            said,
            /'(?:first' has a problem: ports: 8010:80\/tcp is wanted by second|second' has a problem: ports: 8010:81\/tcp is wanted by first) too, on the same node/,
        );
        // Another address of the node is another port.
        await rewrite(other, two("127.0.0.1:8010:80", "127.0.0.2:8010:80"));
        succeeded(await other.preview());
    });

    it("that somebody has are refused before anything is made, naming who", async () => {
        const other = await scene.stack(two("8001:80", "8011:80"), { project: "other" });
        const before = await scene.census();
        const taken = failed(await other.up());
        assert.match(taken, new RegExp(`ports.*8001.*page-${scene.workers[0]!.hostname}`));
        await rewrite(other, two("8012:80", "8013:80"));
        const server = await nodes[0]!.listen("tcp", 8012);
        try {
            const said = failed(await other.up());
            assert.match(said, /ports.*8012\/tcp is taken by \w+ \(process \d+\), which listens on the node/);
        } finally {
            await server.stop();
        }
        succeeded(await other.destroy());
        await scene.holdOnly(before);
    });

    /** What a person does who thinks that the object is all of it. */
    async function removeByHand(worker: Worker): Promise<void> {
        const ids = (await worker.ctr("containers", "ls", "-q")).split("\n").filter((id) => /^(page|pod)-/.test(id));
        for (const id of ids) {
            await worker.ctr("containers", "label", id, "containerd.io/restart.status=");
            await worker.ctr("tasks", "rm", "-f", id).catch(() => undefined); // a pod's record has none
            await worker.ctr("containers", "rm", id);
        }
    }

    it("of what somebody removed by hand are free again after a refresh and an up", async () => {
        for (const worker of scene.workers) await removeByHand(worker);
        succeeded(await stack.refresh());
        succeeded(await stack.up());
        for (const worker of scene.workers) assert.equal(await pageAt(worker, 8001), `this is ${worker.hostname}`);
        unchanged(await stack.refresh());
        unchanged(await stack.up());
    });

    it("leave nothing, also of what somebody has just removed by hand", async () => {
        for (const worker of scene.workers) await removeByHand(worker);
        succeeded(await stack.destroy());
        await scene.holdOnly(empty);
    });

    it("are refused on a node that has nothing yet, and then it has nothing", async () => {
        const first = await scene.stack(two("8012:80", "8013:80"), { project: "first" });
        const server = await nodes[0]!.listen("tcp", 8012);
        try {
            const said = failed(await first.up());
            assert.match(said, /Container \(first\)[^]*ports.*8012\/tcp is taken by \w+ \(process \d+\)/);
            assert.doesNotMatch(await scene.workers[0]!.ctr("containers", "ls", "-q"), /^first/m);
        } finally {
            await server.stop();
        }
        succeeded(await first.destroy());
        await scene.holdOnly(empty);
    });
});

/** Two containers on the first node. */
function two(first: string, second: string): string {
    return `
const image = new pulumi.Config("test").require("image");
const [{ name: node }] = containerd.configuredNodes();
for (const [name, ports] of [["first", ["${first}"]], ["second", ["${second}"]]]) {
    const container = new containerd.Container(name, { node, image, ports, args: ["sleep", "10000"] });
    new containerd.Task(name, { container });
}
`;
}
