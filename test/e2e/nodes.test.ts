/** One program, many machines: `up`, `refresh` and `destroy` over SSH, with and without Node resources. */
import assert from "node:assert/strict";
import { ClusterScene } from "./cluster-scene";
import { succeeded, unchanged } from "./scene";

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

describe("nodes over SSH", () => {
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
});
