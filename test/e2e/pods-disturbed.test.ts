/** Pods by the real engine, over SSH, when something is killed or stopped: an `up`, a member, containerd, the machine. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { Stack, UpdateResult } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import { providerOf } from "../faults/processes";
import { unlock } from "../faults/runs";
import type { Census } from "../helpers/census";
import { runningTasks } from "../helpers/tasks";
import { ClusterScene } from "./cluster-scene";
import { eventually, succeeded, told } from "./scene";

/**
 * `made` comes up no further than files of its node let it, on the first node with `back`; `kept`, which nothing starts again, is
 * on the second one.
 */
const PROGRAM = `
const image = new pulumi.Config("test").require("image");
const [{ name: node }, { name: other }] = containerd.configuredNodes();
const page = (port) => ({
    image,
    args: ["httpd", "-f", "-p", String(port), "-h", "/www"],
    files: { "/www/index.html": "page" },
    health: { http: { port } },
    stop: { timeout: "1s" },
});
const waits = { image, args: ["sleep", "100000"], stop: { timeout: "1s" } };
const gate = { "/gate": { bind: "/var/lib/gate", readOnly: true } };
new containerd.Pod("made", {
    node,
    initContainers: { prepare: { image, args: ["sh", "-c", "while [ -e /gate/prepare ]; do sleep 0.1; done"], mounts: gate } },
    ports: ["8000:80", "10000-19999:10000-19999/udp"],
    containers: {
        first: { ...waits, mounts: gate, health: { exec: ["test", "!", "-e", "/gate/first"] } },
        web: { ...page(80), after: ["first"] },
    },
});
new containerd.Pod("back", { node, ports: ["8001:80"], containers: { web: page(80) } });
new containerd.Pod("kept", { node: other, ports: ["8000:80"], restart: "no", containers: { web: page(80), other: waits } });
`;

describe("pods over SSH, disturbed", function () {
    this.timeout(240_000);
    // Each goes on with what those before have made.
    this.bail(true);
    let scene: ClusterScene;
    let one: Worker;
    let two: Worker;
    let empty: Record<string, Census>;
    let stack: Stack;
    before(async () => {
        scene = await ClusterScene.open([{ version: "1.6" }, { version: "2" }]);
        [one, two] = scene.workers as [Worker, Worker];
        empty = await scene.census();
        stack = await scene.stack(PROGRAM);
    });
    after(() => scene?.close());

    /** A page from outside; empty where nobody answers. */
    async function pageOf(worker: Worker, port: number): Promise<string> {
        try {
            return await (await fetch(`http://127.0.0.1:${await worker.forward(port)}/`)).text();
        } catch {
            return "";
        }
    }

    /** The engine warns, for good, of the operations that it was killed in. */
    function nothingToDo(result: UpdateResult): void {
        assert.deepEqual(succeeded(result).changes, [], told(result));
    }

    it("converge when engine and provider are killed in the middle of a create", async () => {
        await one.run("mkdir /var/lib/gate && touch /var/lib/gate/prepare /var/lib/gate/first");
        // While the init container runs, and then, in the next run, while the first member is waited for.
        for (const moment of ["prepare", "first"]) {
            let engine = 0;
            let over = false;
            const running = stack.up([], { onStart: (pid) => (engine = pid) }).finally(() => (over = true));
            while (!(`made.${moment}` in (await runningTasks(one)))) {
                if (over) assert.fail(`the run ended before ${moment} ran: ${told(await running)}`);
                await sleep(100);
            }
            const provider = providerOf(engine);
            assert.ok(provider);
            for (const pid of [engine, provider]) process.kill(pid, "SIGKILL");
            assert.notEqual((await running).code, 0);
            await unlock(stack);
            await one.run('rm "/var/lib/gate/$1"', moment);
        }
        succeeded(await stack.up());
        assert.deepEqual(Object.keys(await runningTasks(one)).sort(), ["back.web", "made.first", "made.web"]);
        assert.deepEqual(Object.keys(await runningTasks(two)).sort(), ["kept.other", "kept.web"]);
        for (const port of [8000, 8001]) assert.equal(await pageOf(one, port), "page");
        nothingToDo(await stack.up());
    });

    it("answer at their ports after restarts, whatever died: nerdctl#1868", async () => {
        const deeds: [what: string, deed: (pid: string) => Promise<unknown>][] = [
            ["the process was killed", (pid) => one.run('kill -9 "$1"', pid)],
            [
                "containerd and the process were killed",
                async (pid) => {
                    await one.stopContainerd();
                    await one.run('kill -9 "$1"', pid);
                    await one.startContainerd();
                },
            ],
            [
                "power was lost",
                async () => {
                    await one.kill();
                    await one.boot();
                },
            ],
        ];
        for (const [what, deed] of deeds) {
            const { pid } = (await runningTasks(one))["back.web"]!;
            await deed(pid);
            await eventually(`another process runs after ${what}`, async () => {
                const { "back.web": now } = await runningTasks(one);
                return now !== undefined && (now.pid !== pid || what.startsWith("power"));
            });
            await eventually(`the page is there after ${what}`, async () => (await pageOf(one, 8001)) === "page");
        }
        const all = ["back.web", "made.first", "made.web"];
        await eventually("the other pod runs as well", async () => {
            const names = Object.keys(await runningTasks(one)).sort();
            return names.join() === all.join() && (await pageOf(one, 8000)) === "page";
        });
    });

    it("whose member was stopped start it again, and replace nothing: terraform-provider-docker#211", async () => {
        const before = await runningTasks(two);
        await two.ctr("tasks", "kill", "-s", "SIGKILL", before["kept.web"]!.id);
        await eventually("it is stopped", async () => !("kept.web" in (await runningTasks(two))));
        assert.equal(await pageOf(two, 8000), "");
        // What came back by itself on the other machine is as it was.
        assert.deepEqual(succeeded(await stack.refresh()).changes, ["kept: update"]);
        assert.deepEqual(succeeded(await stack.up()).changes, ["kept: update"]);
        const after = await runningTasks(two);
        assert.equal(after["kept.web"]!.id, before["kept.web"]!.id);
        assert.deepEqual(after["kept.other"], before["kept.other"]);
        assert.equal(await pageOf(two, 8000), "page");
        nothingToDo(await stack.refresh());
        nothingToDo(await stack.up());
    });

    it("leave nothing after destroy", async () => {
        succeeded(await stack.destroy());
        await scene.holdOnly(empty);
    });
});
