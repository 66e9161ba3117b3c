/** The example pod: a page at a published port, kept by a volume; its members come back, change and go as its README says. */
import assert from "node:assert/strict";
import path from "node:path";
import { repository } from "../../playground/environment";
import { nginxImage } from "../../playground/images";
import type { Stack } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import { ClusterScene } from "./cluster-scene";
import { eventually, succeeded, unchanged } from "./scene";

describe("example pod", function () {
    this.timeout(570_000);
    let scene: ClusterScene;
    let web: string;

    before(async () => {
        scene = await ClusterScene.open([{ version: "1.6" }, { version: "2" }]);
        web = await scene.registry.push(await nginxImage(), "nginx:1");
    });
    after(() => scene?.close());

    for (const index of [0, 1]) {
        it(`is what its README says on containerd ${index ? "2" : "1.6"}`, async () => {
            const worker = scene.workers[index]!;
            const before = await scene.census();
            const config = (more: Record<string, number | string> = {}) => ({
                "containerd:nodes": scene.nodes,
                "containerd:node": worker.hostname,
                "pod:web": web,
                "pod:writer": scene.busybox,
                ...more,
            });
            const stack = await scene.stack({ folder: path.join(repository, "examples/pod") }, { config: config() });
            succeeded(await stack.up());
            const outputs = (await stack.outputs()) as { url: string; ready: boolean };
            assert.deepEqual(outputs.url, `http://${worker.ip}:8080/`);
            assert.equal(outputs.ready, true);
            const shows = (what: RegExp, port = 8080) =>
                eventually(`the page shows ${what}`, () => page(worker, port, what));
            await shows(/<h1>Hello from a pod<\/h1><p>Start 1,/);
            unchanged(await stack.up());

            const first = await pids(worker);
            await worker.run('kill -9 "$1"', first["writer"] ?? "");
            await shows(/Start 2,/);
            assert.equal((await pids(worker))["web"], first["web"]);

            const second = await pids(worker);
            await configure(stack, "pod:greeting", "Good day");
            succeeded(await stack.up());
            await shows(/Good day.*Start 2,/);
            await configure(stack, "pod:port", "8081");
            succeeded(await stack.up());
            await shows(/Start 2,/, 8081);
            assert.equal(await page(worker, 8080, /./), false);
            await worker.run("nft flush ruleset");
            assert.equal(await page(worker, 8081, /./), false);
            succeeded(await stack.refresh());
            succeeded(await stack.up());
            await shows(/Start 2,/, 8081);
            assert.deepEqual(await pids(worker), second);

            await worker.kill();
            await worker.boot();
            await shows(/Good day.*Start 3,/, 8081);
            await eventually("both run", async () => Object.keys(await pids(worker)).length === 2);
            unchanged(await stack.refresh());
            unchanged(await stack.up());
            succeeded(await stack.destroy());
            await scene.holdOnly(before);
        });
    }
});

async function page(worker: Worker, at: number, what: RegExp): Promise<boolean> {
    const port = await worker.forward(at);
    try {
        const answer = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(3_000) });
        return what.test(await answer.text());
    } catch {
        return false;
    }
}

/** Process ids by member. */
async function pids(worker: Worker): Promise<Record<string, string>> {
    const lines = (await worker.ctr("tasks", "ls")).trim().split("\n").slice(1);
    const rows = lines.map((line) => line.split(/\s+/)).filter(([, , status]) => status === "RUNNING");
    return Object.fromEntries(rows.map(([id = "", pid = ""]) => [id.split(".").at(-1) ?? "", pid]));
}

async function configure(stack: Stack, key: string, value: string): Promise<void> {
    await stack.configure({ [key]: value });
}
