/** One program, many machines: `up`, `refresh` and `destroy` over SSH, with and without Node resources. */
import assert from "node:assert/strict";
import path from "node:path";
import { repository } from "../../playground/environment";
import { nginxImage } from "../../playground/images";
import { startRegistry } from "../../playground/registry";
import type { Worker } from "../../playground/worker";
import { ClusterScene } from "./cluster-scene";
import { failed, rewrite, succeeded, told, unchanged, warnings } from "./scene";

/** A page on each node, with its own content; the nodes are those of the config. */
const PAGES = `
const image = new pulumi.Config("test").require("image");
exports.pages = containerd.configuredNodes().map(({ name }) => {
    const page = new containerd.Container(name, {
        node: name,
        image,
        network: "host",
        args: ["httpd", "-f", "-p", "8000", "-h", "/www"],
        files: { "/www/index.html": "this is " + name },
    });
    new containerd.Task(name, { container: page, health: { http: { port: 8000 } } });
    return page.containerId;
});
`;

/** One more on each. */
const MORE = `
for (const { name } of containerd.configuredNodes()) {
    const more = new containerd.Container("more-" + name, { node: name, image, network: "none", args: ["sleep", "1000"] });
    new containerd.Task("more-" + name, { container: more });
}
`;

/** The nodes as resources; one Image, on the first of them, for the containers of all. */
const LOOP = `
const nodes = containerd.configuredNodes({ role: "media" }).map(({ name, labels }) => new containerd.Node(name, { labels }));
const image = new containerd.Image("one", { ref: new pulumi.Config("test").require("image"), node: nodes[0] });
exports.seen = nodes.map((node) => {
    const media = new containerd.Container(node.name, {
        node,
        image,
        network: "none",
        args: ["sleep", "1000"],
        env: { LEVEL: node.labels.apply(({ canary }) => (canary === "true" ? "debug" : "info")) },
    });
    new containerd.Task(node.name, { container: media });
    return { version: node.facts.containerd, image: media.image };
});
`;

/** Whether it is about one of our resources: some versions of the SDK, like 3.258, add an error of the program's own. */
function isOfOurs(urn: string | undefined): boolean {
    return urn?.includes("dynamic/containerd:") ?? false;
}

describe("nodes over SSH", function () {
    this.timeout(300_000);
    let scene: ClusterScene;
    before(async () => {
        scene = await ClusterScene.open([{ version: "1.6" }, { version: "2" }, { version: "2" }]);
    });
    after(() => scene.close());

    it("serves a page of its own on each node, changes nothing twice, and leaves nothing", async () => {
        const before = await scene.census();
        const stack = await scene.stack(PAGES);
        succeeded(await stack.up());
        for (const worker of scene.workers) {
            const port = await worker.forward(8000);
            const answer = await fetch(`http://127.0.0.1:${port}/`);
            assert.equal(await answer.text(), `this is ${worker.hostname}`);
        }
        unchanged(await stack.up());
        unchanged(await stack.refresh());
        succeeded(await stack.destroy());
        await scene.holdOnly(before);
    });

    it("goes on elsewhere when one node does not answer, and tells only what really failed", async () => {
        const before = await scene.census();
        const [gone, other] = scene.workers as [Worker, Worker];
        const names = [gone.hostname, other.hostname];
        const nodes = Object.fromEntries(names.map((name) => [name, scene.nodes[name] ?? {}]));
        const stack = await scene.stack(PAGES, { config: { "containerd:nodes": nodes } });
        succeeded(await stack.up());
        await gone.cut();
        try {
            // Of the Container that is changed the engine still knows the id, of the new one nothing.
            await rewrite(stack, PAGES.replace("this is ", "now it is ") + MORE);
            const up = await stack.up(["--continue-on-error"]);
            failed(up);
            const errors = warnings(up).filter(({ urn }) => isOfOurs(urn));
            assert.deepEqual(
                errors.map(({ urn }) => urn?.split(":").slice(-3).join(":")).sort(),
                [`Container::${gone.hostname}`, `Container::more-${gone.hostname}`].sort(),
                told(up),
            );
            for (const { message } of errors) assert.match(message, /did not answer|was lost/);
        } finally {
            await gone.heal();
        }
        const answer = await fetch(`http://127.0.0.1:${await other.forward(8000)}/`);
        assert.equal(await answer.text(), `now it is ${other.hostname}`);
        succeeded(await stack.up());
        unchanged(await stack.up());
        succeeded(await stack.destroy());
        await scene.holdOnly(before);
    });

    it("warns of a selector that no node has, with the labels that there are", async () => {
        const program =
            'containerd.configuredNodes({ role: "nosuch" });\ncontainerd.configuredNodes({ role: "media" });\n';
        const nodes = { a: { host: "192.0.2.1", labels: { role: "media" } }, b: { host: "192.0.2.2" } };
        const stack = await scene.stack(program, { config: { "containerd:nodes": nodes } });
        const preview = succeeded(await stack.preview());
        assert.deepEqual(
            warnings(preview).map(({ message }) => message),
            [
                "configuredNodes({ role: nosuch }) chooses none of the 2 nodes of the stack config containerd:nodes: " +
                    "their labels are { role: media }",
            ],
            told(preview),
        );
    });

    it("loops over nodes as resources, and brings an Image of one of them to the others by its digest", async () => {
        const before = await scene.census();
        const [one, two, three] = scene.workers.map(({ hostname }) => hostname) as [string, string, string];
        const nodes = {
            ...scene.nodes,
            [one]: { ...scene.nodes[one], labels: { role: "media" } },
            [two]: { ...scene.nodes[two], labels: { role: "media", canary: "true" } },
        };
        const stack = await scene.stack(LOOP, { config: { "containerd:nodes": nodes } });
        succeeded(await stack.up());
        const { seen } = (await stack.outputs()) as { seen: { version: string; image: string }[] };
        assert.deepEqual(
            seen.map(({ version }) => version.replace(/\..*/, "")),
            ["1", "2"],
        );
        assert.match(seen[0]?.image ?? "", /@sha256:[0-9a-f]{64}$/);
        assert.equal(seen[1]?.image, seen[0]?.image);
        for (const [name, level] of [
            [one, "info"],
            [two, "debug"],
        ] as const) {
            const worker = scene.cluster.worker(name);
            const spec = await worker.run("ctr containers info $(ctr containers ls -q)");
            assert.ok(spec.includes(`LEVEL=${level}`), spec);
        }
        assert.deepEqual(await scene.censusOf(scene.cluster.worker(three)), before[three]);
        unchanged(await stack.up());
        succeeded(await stack.destroy());
        await scene.holdOnly(before);
    });

    it("runs the example pages, as the demo does, where the workers cannot pull by themselves", async () => {
        const before = await scene.census();
        // A registry that the workers do not reach: what they lack comes through the tunnel.
        const registry = await startRegistry();
        try {
            const image = await registry.push(await nginxImage(), "nginx:1.22");
            const nodes = Object.fromEntries(
                scene.workers.map(({ hostname, ip }) => [hostname, { ...scene.nodes[hostname], publicAddress: ip }]),
            );
            const folder = path.join(repository, "examples/pages");
            const config = { "containerd:nodes": nodes, "pages:image": image, "pages:port": 8080 };
            const stack = await scene.stack({ folder }, { config });
            succeeded(await stack.up());
            const { pages } = (await stack.outputs()) as { pages: { node: string; url: string; ready: boolean }[] };
            for (const { node, url, ready } of pages) {
                const worker = scene.cluster.worker(node);
                assert.deepEqual([url, ready], [`http://${worker.ip}:8080/`, true]);
                const answer = await fetch(`http://127.0.0.1:${await worker.forward(8080)}/`);
                assert.match(await answer.text(), new RegExp(`<h1>Hello from ${node}</h1>`));
            }
            succeeded(await stack.destroy());
            await scene.holdOnly(before);
        } finally {
            await registry.stop();
        }
    });
});
