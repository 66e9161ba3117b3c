/** The resource Network by the real engine, over SSH: names, fixed addresses, no way out, other drivers, and what is refused. */
import assert from "node:assert/strict";
import type { Stack } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import { inside, runningTasks } from "../helpers/tasks";
import { NetworkNode } from "../integration/network-node";
import { ClusterScene } from "./cluster-scene";
import { eventually, failed, rewrite, succeeded, told, unchanged } from "./scene";

/** What all programs have: a process that waits, and one that serves a page. */
const COMMON = `
const image = new pulumi.Config("test").require("image");
const nodes = containerd.configuredNodes().map(({ name }) => name);
// The machine's own programs: busybox's can't look up names.
const mounts = Object.fromEntries(["/usr", "/lib", "/lib64"].map((path) => [path, { bind: path, readOnly: true }]));
const run = (name, args, health) => {
    const container = new containerd.Container(name, { image, mounts, args: ["sleep", "100000"], ...args });
    new containerd.Task(name, { container, health, stop: { timeout: "1s" } });
    return container;
};
const page = (name, text, args) =>
    run(name, { args: ["httpd", "-f", "-p", "80", "-h", "/www"], files: { "/www/index.html": text }, ...args }, { http: { port: 80 } });
`;

/** On each node a network with a page, who asks for it, and who shares the page's network; and a network without a way out. */
const NAMES = `${COMMON}
exports.seen = nodes.map((node) => {
    const lan = new containerd.Network("lan-" + node, { node, subnet: "10.99.1.0/24", subnet6: "fd00:99::/64" });
    const web = page("web-" + node, "this is web", {
        node, env: { VERSION: "one" }, network: { network: lan, ip: "10.99.1.50", aliases: ["www", "intranet.test"] },
    });
    run("asker-" + node, {
        node, env: { VERSION: "one" }, network: { network: lan, ip: "10.99.1.51", ip6: "FD00:99:0::51" },
    });
    run("guest-" + node, { node, network: web });
    const inner = new containerd.Network("inner-" + node, { node, internal: true });
    page("vault-" + node, "this is vault", { node, network: inner });
    run("locked-" + node, { node, network: inner });
    return { web: web.address, subnet: lan.subnet, gateway: lan.gateway, inner: inner.subnet, definition: lan.definition };
});
`;

/** A process on a network that another program made. */
const STRANGER = `${COMMON}
const { definition } = new pulumi.Config("test").requireObject("network");
run("stranger", { node: nodes[0], network: { definition } });
`;

describe("networks over SSH", function () {
    this.timeout(300_000);
    let scene: ClusterScene;
    let empty: Awaited<ReturnType<ClusterScene["census"]>>;
    before(async () => {
        scene = await ClusterScene.open([{ version: "1.6" }, { version: "2" }]);
        empty = await scene.census();
    });
    after(() => scene?.close());

    const current: Stack[] = [];
    async function stackOf(...args: Parameters<ClusterScene["stack"]>): Promise<Stack> {
        const stack = await scene.stack(...args);
        current.unshift(stack);
        return stack;
    }
    /** What a test that failed left must not make the next ones fail. */
    afterEach(async function () {
        const stacks = current.splice(0);
        if (this.currentTest?.state === "failed") for (const stack of stacks) await stack.destroy();
    });

    /** What a page says to a container of the worker; empty where it can't be had. */
    async function asked(worker: Worker, asker: string, url: string): Promise<string> {
        try {
            return await inside(
                worker,
                `${asker}-${worker.hostname}`,
                "/usr/bin/wget",
                "-T",
                "3",
                "-q",
                "-O",
                "-",
                url,
            );
        } catch {
            return "";
        }
    }

    it("give names, aliases and fixed addresses, also after a replacement and a reboot, and leave nothing", async () => {
        const stack = await stackOf(NAMES);
        succeeded(await stack.up());
        const { seen } = (await stack.outputs()) as { seen: Record<string, unknown>[] };
        for (const one of seen) {
            const { web, subnet, gateway, inner } = one;
            assert.deepEqual([web, subnet, gateway], ["10.99.1.50", "10.99.1.0/24", "10.99.1.1"]);
            assert.match(String(inner), /^10\.\d+\.\d+\.0\/24$/);
        }
        unchanged(await stack.up());
        unchanged(await stack.refresh());
        unchanged(await stack.up());

        const known = async (worker: Worker, text: string): Promise<void> => {
            for (const name of [`web-${worker.hostname}`, "www", "intranet.test", "10.99.1.50"]) {
                await eventually(`${name} is known on ${worker.hostname}`, async () => {
                    return (await asked(worker, "asker", `http://${name}/`)) === text;
                });
            }
            // Another's network is the other's loopback too.
            assert.equal(await asked(worker, "guest", "http://127.0.0.1/"), text);
            assert.equal(await asked(worker, "locked", `http://vault-${worker.hostname}/`), "this is vault");
        };
        for (const worker of scene.workers) await known(worker, "this is web");

        // The other worker answers who has a way out.
        const listener = new NetworkNode(scene.workers[1]!);
        try {
            const server = await listener.listen("tcp", 8099);
            const [worker] = scene.workers as [Worker];
            const script = `/usr/bin/socat -t 3 - TCP:${scene.workers[1]!.ip}:8099,connect-timeout=3 </dev/null`;
            const from = async (name: string): Promise<string> => {
                return inside(worker, `${name}-${worker.hostname}`, "sh", "-c", `${script} || true`);
            };
            assert.match(await from("asker"), new RegExp(`^${worker.ip.replaceAll(".", "\\.")} `));
            assert.equal(await from("locked"), "");
            await server.stop();
        } finally {
            await listener.clean();
        }

        await rewrite(
            stack,
            NAMES.replaceAll('VERSION: "one"', 'VERSION: "two"').replace("this is web", "that is web"),
        );
        const changes = succeeded(await stack.up()).changes.filter((change) => change.includes(": replace"));
        const replaced = scene.workers.flatMap(({ hostname }) =>
            ["asker", "guest", "web"].map((one) => `${one}-${hostname}`),
        );
        assert.deepEqual([...new Set(changes.map((change) => change.split(":")[0]))].sort(), replaced.sort());
        for (const worker of scene.workers) await known(worker, "that is web");

        await Promise.all(
            scene.workers.map(async (worker) => {
                await worker.kill();
                await worker.boot();
            }),
        );
        for (const worker of scene.workers) {
            await eventually(`all run on ${worker.hostname}`, async () => {
                return Object.keys(await runningTasks(worker)).length === 5;
            });
            await known(worker, "that is web");
        }
        unchanged(await stack.refresh());
        unchanged(await stack.up());

        // In use by another program: it stays.
        const { definition } = ((await stack.outputs()) as { seen: Record<string, object>[] }).seen[0]!;
        const stranger = await stackOf(STRANGER, { project: "other", config: { "test:network": { definition } } });
        succeeded(await stranger.up());
        const [{ hostname }] = scene.workers as [Worker];
        const refused = failed(await stack.destroy());
        assert.match(
            refused,
            new RegExp(`network lan-${hostname}-\\w+ is in use by 1 \\(.*stranger\\): delete them first`),
        );
        succeeded(await stranger.destroy());
        succeeded(await stack.destroy());
        await scene.holdOnly(empty);
    });

    it("are refused where their subnets overlap: one of the program, one of another program, a route of the node", async () => {
        const program = (...subnets: string[]): string => `${COMMON}
for (const [index, subnet] of ${JSON.stringify(subnets)}.entries())
    new containerd.Network("net-" + index, { node: nodes[0], subnet });`;
        const stack = await stackOf(program("10.99.2.0/24", "10.99.2.128/25"));
        const said = failed(await stack.preview());
        assert.match(said, /subnet.*10\.99\.2\.\d+\/2[45] overlaps.*net-[01]/);
        await rewrite(stack, program("10.99.2.0/24"));
        succeeded(await stack.up());
        const other = await stackOf(program("10.99.0.0/16"), { project: "other" });
        assert.match(failed(await other.up()), /subnet.*10\.99\.0\.0\/16 overlaps the Network .*net-0/);
        const lan = scene.workers[0]!.ip.replace(/\.\d+$/, ".0/24");
        await rewrite(other, program(lan));
        assert.match(
            failed(await other.up()),
            /the subnet .* overlaps a route of the node.*: give the network another/,
        );
        succeeded(await other.destroy());
        succeeded(await stack.destroy());
        // At one moment.
        await rewrite(other, program("10.99.0.0/16"));
        const both = await Promise.all([stack.up(), other.up()]);
        assert.ok(both.filter(({ code }) => code === 0).length <= 1, both.map(told).join("\n"));
        await Promise.all([stack.destroy(), other.destroy()]);
        await scene.holdOnly(empty);
    });

    it("are macvlans, whose containers stand in the nodes' own LAN", async () => {
        const [worker, outside] = scene.workers as [Worker, Worker];
        const lan = worker.ip.replace(/\.\d+$/, "");
        const stack = await stackOf(
            `${COMMON}
const lan = new containerd.Network("lan", { node: nodes[0], driver: "macvlan", parent: "eth0", subnet: "${lan}.0/24" });
exports.address = page("phone", "this is phone", { node: nodes[0], network: { network: lan, ip: "${lan}.200" } }).address;
`.replace("{ http: { port: 80 } })", "undefined)"),
        );
        succeeded(await stack.up());
        unchanged(await stack.refresh());
        unchanged(await stack.up());
        assert.equal((await stack.outputs())["address"], `${lan}.200`);
        assert.equal(await outside.run(`wget -T 5 -qO- http://${lan}.200/`), "this is phone");
        succeeded(await stack.destroy());
        await scene.holdOnly(empty);
    });

    it("are what a chain of CNI plugins makes; one that the node lacks is named", async () => {
        const [worker] = scene.workers as [Worker];
        const program = (type: string): string =>
            `${COMMON}
const lan = new containerd.Network("lan", {
    node: nodes[0], driver: "cni",
    plugins: [
        { type: "${type}", bridge: "cni9", isGateway: true, ipam: { type: "host-local", ranges: [[{ subnet: "10.98.0.0/24" }]] } },
        { type: "tuning" },
    ],
});
page("web", "this is web", { node: nodes[0], network: lan });
run("asker", { node: nodes[0], network: lan });
`.replace("{ http: { port: 80 } })", "undefined)");
        const stack = await stackOf(program("nosuchplugin"));
        const said = failed(await stack.up());
        assert.match(
            said,
            /the node has no CNI plugin nosuchplugin: it is neither in \/usr\/lib\/cni nor in \/opt\/cni\/bin/,
        );
        await rewrite(stack, program("bridge"));
        succeeded(await stack.up());
        unchanged(await stack.refresh());
        unchanged(await stack.up());
        const address = /inet (10\.98\.0\.\d+)/.exec(
            await inside(worker, "web", "ip", "-4", "addr", "show", "eth0"),
        )?.[1];
        const page = await inside(worker, "asker", "/usr/bin/wget", "-T", "3", "-qO-", `http://${String(address)}/`);
        assert.equal(page, "this is web");
        await worker.run('kill -9 "$1"', (await runningTasks(worker))["web"]!.pid);
        await eventually("the killed one answers again", async () => {
            const text = await inside(
                worker,
                "asker",
                "/usr/bin/wget",
                "-T",
                "1",
                "-qO-",
                `http://${String(address)}/`,
            ).catch(() => "");
            return text === "this is web";
        });
        succeeded(await stack.destroy());
        assert.equal(await worker.run("find /var/lib/cni -name '10.98.*'"), "", "addresses are reserved still");
        // The plugin's own bridge is nobody's to remove.
        await worker.run("ip link delete cni9");
        await scene.holdOnly(empty);
    });
});
