/** Addresses and published ports by the real engine, over SSH, on both versions of containerd. */
import assert from "node:assert/strict";
import { busyboxImageWith } from "../../playground/images";
import type { Worker } from "../../playground/worker";
import { choosePort, parsePorts } from "../../provider/network/ports";
import { inside } from "../helpers/tasks";
import { NetworkNode } from "../integration/network-node";
import { ClusterScene } from "./cluster-scene";
import { failed, rewrite, succeeded, unchanged } from "./scene";

/** A page at a published port on each node. */
const PAGES = `
const image = new pulumi.Config("test").require("image");
exports.pages = containerd.configuredNodes().map(({ name }) => {
    const page = new containerd.Container(name, {
        node: name,
        image,
        ports: ["8000:80"],
        args: ["httpd", "-f", "-p", "80", "-h", "/www"],
        files: { "/www/index.html": "this is " + name },
    });
    new containerd.Task(name, { container: page, health: { http: { port: 80 } } });
    return { address: page.address, endpoint: page.endpoint(80) };
});
`;

/** A pod of two members on each node: one serves what the other writes into their common memory. */
const PODS = `
const image = new pulumi.Config("test").require("image");
exports.pods = containerd.configuredNodes().map(({ name }) => {
    const pod = new containerd.Pod(name, {
        node: name,
        ports: ["8001:80"],
        memory: { limit: "64MiB" },
        pidsLimit: 50,
        initContainers: { prepare: { image, args: ["sh", "-c", "echo prepared"] } },
        containers: {
            writer: { image, args: ["sh", "-c", "echo $TEXT > /dev/shm/index.html; exec sleep 100000"], env: { TEXT: "from " + name } },
            server: {
                image,
                after: ["writer"],
                args: ["httpd", "-f", "-p", containerd.self.address + ":80", "-h", "/dev/shm"],
                health: { http: { port: 80, path: "/index.html" } },
            },
        },
    });
    return { address: pod.address, endpoint: pod.endpoint(80), members: pod.members };
});
`;

/** On each node a box and a pod whose images expose ports 80 and 81, and that say nothing of the node's ports. */
function exposing(port: number, version = "one"): string {
    return `
const image = new pulumi.Config("test").require("exposing");
const httpd = { image, args: ["httpd", "-f", "-p", "80", "-h", "/www"] };
const stop = { signal: "KILL" };
const healthy = { exec: ["wget", "-qO", "-", "http://" + containerd.self.address + "/"] };
exports.made = containerd.configuredNodes().map(({ name }, index) => {
    const network = new containerd.Network("lan-" + name, { node: name, subnet: "10.77." + index + ".0/24" });
    const box = new containerd.Container("box-" + name, {
        ...httpd, node: name, publishAll: true, ports: ["${port}"], hostname: "web", domainname: "example.test",
        files: { "/www/index.html": "a box" },
    });
    new containerd.Task("box-" + name, { container: box, health: healthy, stop });
    const pod = new containerd.Pod("pod-" + name, {
        node: name, network, publishAll: true, hostname: "pod", domainname: "example.test", triggers: ["${version}"],
        containers: {
            server: { ...httpd, files: { "/www/index.html": "a pod" }, health: healthy, stop },
            other: { image, after: ["server"], args: ["sleep", "100000"], stop },
        },
    });
    return {
        box: { id: box.id, containerId: box.containerId, published: box.published, address: box.address, urn: box.urn },
        pod: { id: pod.id, podName: pod.podName, published: pod.published, address: pod.address, members: pod.members, ready: pod.ready },
        network: { id: network.id, networkName: network.networkName, subnet: network.subnet, gateway: network.gateway },
        endpoint: pod.endpoint(80),
    };
});
`;
}

/** What a program exports of {@link exposing}. */
interface Exposed {
    box: { id: string; published: Record<string, string>; urn: string };
    pod: { id: string; published: Record<string, string> };
    network: { id: string };
    endpoint: string;
}

/** The port of a published one like `node:40000`. */
function portIn(at = ""): number {
    return Number(at.slice(at.lastIndexOf(":") + 1));
}

/** A box on each node that knows its addresses. */
const FAMILIES = `
const image = new pulumi.Config("test").require("image");
for (const { name: node } of containerd.configuredNodes()) {
    const box = new containerd.Container("box-" + node, {
        node,
        name: "box",
        image,
        env: { SELF: containerd.self.address + " " + containerd.self.address6 },
        args: ["sleep", "100000"],
    });
    new containerd.Task(node, { container: box });
}
`;
const DISABLE6 = "/proc/sys/net/ipv6/conf/all/disable_ipv6";

/** The port that this owner gets for one in the container, as long as nobody has it. */
function firstChoice(owner: string, port: string): number {
    const [wish] = parsePorts([port]).wishes;
    return (wish && choosePort(wish, owner, [])?.host[0]) ?? 0;
}

/** The host port that the container of a resource has for its port 80, by its label. */
async function hostPortOf(worker: Worker, resource: string): Promise<number> {
    const ids = (await worker.ctr("containers", "ls", "-q")).split("\n");
    const info = await worker.ctr("containers", "info", ids.find((id) => id.startsWith(`${resource}-`)) ?? "");
    const { Labels: labels } = JSON.parse(info) as { Labels: Record<string, string> };
    const hostPorts = JSON.parse(labels["pulumi-containerd/host-ports"] ?? "{}") as Record<string, number>;
    return hostPorts["80/tcp"] ?? 0;
}

/** A name that makes a Container of another stack want the same port for its port 80. */
function rivalOf(owner: string): string {
    const wanted = firstChoice(owner, "80");
    const urn = owner.replace(":dev::test::", ":dev::rival::").replace(/[^:]*$/, "");
    for (let index = 0; ; index++) if (firstChoice(`${urn}rival${index}`, "80") === wanted) return `rival${index}`;
}

describe("networks and published ports over SSH", function () {
    this.timeout(300_000);
    let scene: ClusterScene;
    before(async () => {
        scene = await ClusterScene.open([{ version: "1.6" }, { version: "2" }]);
    });
    after(() => scene?.close());

    async function pageOf(index: number, at = 8000): Promise<string> {
        const port = await scene.workers[index]!.forward(at);
        return (await fetch(`http://127.0.0.1:${port}/`)).text();
    }

    it("serves a page at a published port on each node, changes nothing twice, and leaves nothing", async () => {
        const before = await scene.census();
        const stack = await scene.stack(PAGES);
        succeeded(await stack.up());
        for (const [index, worker] of scene.workers.entries()) {
            assert.equal(await pageOf(index), `this is ${worker.hostname}`);
        }
        unchanged(await stack.up());
        unchanged(await stack.refresh());
        unchanged(await stack.up());
        // Another page is another container: the port moves to it.
        await rewrite(stack, PAGES.replace("this is ", "that is ").replace('"-f"', '"-f", "-v"'));
        succeeded(await stack.up());
        assert.equal(await pageOf(0), `that is ${scene.workers[0]!.hostname}`);
        succeeded(await stack.destroy());
        await scene.holdOnly(before);
    });

    it("runs a pod whose members share address and memory", async () => {
        const before = await scene.census();
        const stack = await scene.stack(PODS);
        succeeded(await stack.up());
        for (const [index, worker] of scene.workers.entries()) {
            assert.equal((await pageOf(index, 8001)).trim(), `from ${worker.hostname}`);
            assert.deepEqual(await podLimits(worker), ["67108864", "50"]);
        }
        unchanged(await stack.up());
        unchanged(await stack.refresh());
        unchanged(await stack.up());
        await rewrite(stack, PODS.replace('"from "', '"again from "').replace("64MiB", "96MiB"));
        succeeded(await stack.up());
        assert.deepEqual(await podLimits(scene.workers[0]!), [String(96 << 20), "50"]);
        assert.equal((await pageOf(1, 8001)).trim(), `again from ${scene.workers[1]!.hostname}`);
        succeeded(await stack.destroy());
        await scene.holdOnly(before);
        assert.equal(await scene.workers[0]!.run("find /sys/fs/cgroup -path '*/default/node-*'"), "");
    });

    it("publishes what images expose on ports of the nodes' own, which stay; two runs at once choose different ones", async () => {
        const before = await scene.census();
        const exposingImage = await scene.registry.push(
            await busyboxImageWith({ ExposedPorts: { "80/tcp": {}, "81/tcp": {} } }),
            "exposing:1",
        );
        const config = { "test:exposing": exposingImage };
        const [first] = scene.workers;
        const stack = await scene.stack(exposing(9000), { config });
        const owner = `urn:pulumi:dev::test::pulumi-nodejs:dynamic/containerd:Container::box-${first!.hostname}`;
        const name = rivalOf(owner);
        const rival = await scene.stack(
            `const image = new pulumi.Config("test").require("exposing");
            const container = new containerd.Container("${name}", { node: "${first!.hostname}", image, publishAll: true, args: ["sleep", "100000"] });
            const exec = ["sh", "-c", "echo listening at $0 >&2; exit 3", containerd.self.address];
            new containerd.Task("${name}", { container, health: { exec, interval: "100ms", startPeriod: "100ms", retries: 2 }, stop: { signal: "KILL" } });`,
            { project: "rival", config },
        );
        const [up, other] = await Promise.all([stack.up(), rival.up()]);
        succeeded(up);
        assert.match(failed(other), /sh ended with exit status 3, and wrote:\n +listening at 10\.127\.\d+\.\d+\n/);

        const made = async (): Promise<Exposed[]> => (await stack.outputs())["made"] as Exposed[];
        const one = await made();
        assert.equal(one[0]?.box.urn, owner);
        const theirs = await hostPortOf(first!, name);
        assert.notEqual(portIn(one[0]?.box.published["80/tcp"]), theirs);
        assert.ok([portIn(one[0]?.box.published["80/tcp"]), theirs].includes(firstChoice(owner, "80")));
        for (const [index, worker] of scene.workers.entries()) {
            const { box, pod, endpoint } = one[index]!;
            assert.deepEqual(Object.keys(box.published).sort(), ["80/tcp", "81/tcp", "9000/tcp"]);
            assert.deepEqual(Object.keys(pod.published).sort(), ["80/tcp", "81/tcp"]);
            assert.equal(endpoint, pod.published["80/tcp"]);
            assert.equal(await pageOf(index, portIn(box.published["80/tcp"])), "a box");
            assert.equal(await pageOf(index, portIn(endpoint)), "a pod");
            for (const [name, short] of [
                [`box-${worker.hostname}`, "web"],
                [`pod-${worker.hostname}.other`, "pod"],
            ] as const) {
                const script = "uname -n; cat /proc/sys/kernel/domainname; grep example /etc/hosts";
                const [node, domain, ...hosts] = (await inside(worker, name, "sh", "-c", script)).trim().split("\n");
                assert.deepEqual([node, domain], [short, "example.test"]);
                assert.match(
                    hosts.join("\n"),
                    new RegExp(`^10\\.[\\d.]+\\t${short}\\.example\\.test ${short}\\b`, "m"),
                );
            }
        }
        unchanged(await stack.up());
        unchanged(await stack.refresh());

        const reader = await scene.stack(
            `const box = containerd.Container.get("box", ${JSON.stringify(one[0]!.box.id)});
            const pod = containerd.Pod.get("pod", ${JSON.stringify(one[0]!.pod.id)});
            const network = containerd.Network.get("lan", ${JSON.stringify(one[0]!.network.id)});
            const { node } = network;
            new containerd.Container("neighbour", { node, network, image: new pulumi.Config("test").require("image"), args: ["sleep", "1"] });
            exports.made = {
                box: { id: box.id, containerId: box.containerId, published: box.published, address: box.address },
                pod: { id: pod.id, podName: pod.podName, published: pod.published, address: pod.address, members: pod.members, ready: pod.ready },
                network: { id: network.id, networkName: network.networkName, subnet: network.subnet, gateway: network.gateway },
                endpoint: pod.endpoint(80),
            };`,
            { project: "reader", config: { ...config, "containerd:node": first!.hostname } },
        );
        succeeded(await reader.up());
        const { urn, ...box } = one[0]!.box;
        assert.deepEqual((await reader.outputs())["made"], { ...one[0], box }, urn);
        for (const done of await Promise.all([reader.destroy(), rival.destroy()])) succeeded(done);

        // Another port, in place: not what a process of the node has. The others stay, and a replacement takes them over.
        const node = new NetworkNode(first!);
        const server = await node.listen("tcp", firstChoice(owner, "9001"));
        try {
            await rewrite(stack, exposing(9001, "two"));
            succeeded(await stack.up());
        } finally {
            await server.stop();
            await node.clean();
        }
        const two = await made();
        const kept = Object.fromEntries(Object.entries(one[0]!.box.published).filter(([port]) => port !== "9000/tcp"));
        const { "9001/tcp": added, ...left } = two[0]!.box.published;
        assert.deepEqual([left, two[0]!.box.id], [kept, one[0]!.box.id]);
        assert.ok(portIn(added) > 0 && portIn(added) !== firstChoice(owner, "9001"), added);
        assert.deepEqual(two[0]!.pod.published, one[0]!.pod.published);
        assert.notEqual(two[0]!.pod.id, one[0]!.pod.id);
        assert.equal(await pageOf(0, portIn(two[0]!.endpoint)), "a pod");
        succeeded(await stack.destroy());
        await scene.holdOnly(before);
    });

    it("tells a container its IPv6 address, and none on a node without IPv6", async () => {
        const before = await scene.census();
        const without6 = scene.workers[1]!;
        await without6.run('echo 1 >"$1"', DISABLE6);
        try {
            const stack = await scene.stack(FAMILIES);
            succeeded(await stack.up());
            const seen = await Promise.all(
                scene.workers.map((worker) => inside(worker, "box", "sh", "-c", 'echo "$SELF."; ip addr')),
            );
            assert.match(seen[0]!, /^10\.127\.\d+\.\d+ (fd7c:6f6e:7461::\S+)\.\n.* inet6 \1\/64 /s);
            assert.match(seen[1]!, /^10\.127\.\d+\.\d+ \.\n/);
            assert.doesNotMatch(seen[1]!, /inet6 fd/);
            unchanged(await stack.up());
            unchanged(await stack.refresh());
            // What it was told stays so, as its address does.
            await without6.run('echo 0 >"$1"', DISABLE6);
            unchanged(await stack.refresh());
            succeeded(await stack.destroy());
        } finally {
            await without6.run('echo 0 >"$1"; ip addr replace "$2/64" dev eth0 nodad', DISABLE6, without6.ip6);
        }
        await scene.holdOnly(before);
    });

    /** Limits of memory and processes of the one pod of a worker, as the kernel has them. */
    async function podLimits(worker: Worker): Promise<string[]> {
        const files = "/sys/fs/cgroup/memory/default/*/memory.limit_in_bytes /sys/fs/cgroup/pids/default/*/pids.max";
        const unified = "/sys/fs/cgroup/default/*/memory.max /sys/fs/cgroup/default/*/pids.max";
        const script = `if [ -e /sys/fs/cgroup/cgroup.controllers ]; then cat ${unified}; else cat ${files}; fi`;
        return (await worker.run(script)).trim().split("\n");
    }
});
