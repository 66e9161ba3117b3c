/** The first whole way: an Image, a Container and a Task serve a page; a second up changes nothing; destroy leaves nothing. */
import assert from "node:assert/strict";
import { busyboxImage, busyboxImageWith } from "../../playground/images";
import { freePort } from "../../playground/registry";
import type { Stack, UpdateResult } from "../../playground/stack";
import type { ContainerdVersion } from "../../playground/worker";
import { type Census, census } from "../helpers/census";
import { failed, rewrite, Scene, succeeded, told, unchanged, warnings } from "./scene";

for (const version of ["1.6", "2"] satisfies ContainerdVersion[]) {
    describe(`first: one service on containerd ${version}`, function () {
        this.timeout(180_000);
        let scene: Scene;
        let stack: Stack;
        let empty: Census;
        let port: number;
        before(async () => {
            scene = await Scene.open(version);
            port = await freePort();
            stack = await scene.stack(program("missing"));
        });
        after(() => scene?.close());

        /** Equal arguments in two orders of keys. */
        function program(pull: string, order: "one" | "other" = "one"): string {
            const map = (entries: Record<string, unknown>): string => {
                const list = Object.entries(entries);
                return JSON.stringify(Object.fromEntries(order === "one" ? list : list.reverse()));
            };
            const files = { "/www/index.html": "the page\n", "/www/more.html": { content: "more\n", mode: "0640" } };
            return `
                const image = new containerd.Image("app", {
                    ref: "${scene.busybox}", pull: "${pull}", labels: ${map({ tier: "web", team: "a" })},
                });
                const web = new containerd.Container("web", {
                    image, network: "host", args: ["httpd", "-f", "-p", "127.0.0.1:${port}", "-h", "/www"],
                    env: ${map({ B: 2, A: "1" })}, files: ${map(files)},
                    memory: ${map({ limit: "64MiB", reservation: "32MiB" })},
                    capabilities: { add: ${order === "one" ? '["NET_ADMIN", "SYS_TIME"]' : '["CAP_SYS_TIME", "net_admin"]'} },
                });
                const task = new containerd.Task("serve", {
                    container: web, stop: { signal: "SIGKILL" }, health: ${map({ http: { port }, interval: "1s" })},
                });
                exports.pinned = image.pinned;
                exports.address = web.endpoint(${port});
                exports.ready = task.ready;
            `;
        }

        async function page(): Promise<string> {
            return (await fetch(`http://127.0.0.1:${port}/index.html`)).text();
        }

        function digestOf(result: UpdateResult, name: string): unknown {
            const step = result.steps.find((one) => one.name === name && one.new);
            return (step?.new?.["inputs"] as Record<string, unknown> | undefined)?.["digest"];
        }

        it("previews on an empty node without touching it", async () => {
            empty = await census(scene.worker);
            const preview = succeeded(await stack.preview());
            assert.deepEqual(preview.changes, ["app: create", "serve: create", "web: create"]);
            assert.deepEqual(warnings(preview), []);
            await scene.holdsOnly(empty);
        });

        it("serves the page, with the digest in its outputs", async () => {
            const up = succeeded(await stack.up());
            assert.deepEqual(up.changes, ["app: create", "serve: create", "web: create"]);
            assert.deepEqual(warnings(up), []);
            assert.equal(await page(), "the page\n");
            const { digest } = await busyboxImage();
            assert.deepEqual(await stack.outputs(), {
                pinned: `${scene.busybox}@${digest}`,
                address: `127.0.0.1:${port}`,
                ready: true,
            });
        });

        it("changes nothing in a second up (pulumi/pulumi#9783)", async () => {
            unchanged(await stack.up(["--expect-no-changes"]));
        });

        it("changes nothing when equal arguments come in another order (pulumi/pulumi#16582)", async () => {
            await rewrite(stack, program("missing", "other"));
            unchanged(await stack.up(["--expect-no-changes"]));
            await rewrite(stack, program("missing"));
        });

        it("finds no drift in a refresh, and nothing to do after it", async () => {
            unchanged(await stack.refresh(["--expect-no-changes"]));
            unchanged(await stack.preview(["--expect-no-changes"]));
        });

        it("keeps the digest of a moved tag with pull: missing", async () => {
            await scene.registry.push(await busyboxImageWith({ Env: ["MOVED=1", "PATH=/bin"] }), "busybox:1");
            unchanged(await stack.up(["--expect-no-changes"]));
        });

        it("previews a moved tag with both digests and what it replaces, and up does just that (pulumi-docker#293)", async () => {
            const [was, will] = [await busyboxImage(), await busyboxImageWith({ Env: ["MOVED=1", "PATH=/bin"] })];
            await rewrite(stack, program("always"));
            const pidBefore = (await scene.pids())["web"];
            const preview = succeeded(await stack.preview(["--diff"]));
            assert.ok(preview.stdout.includes(was.digest), preview.stdout);
            assert.ok(preview.stdout.includes(will.digest), preview.stdout);
            assert.equal(digestOf(preview, "app"), will.digest);
            for (const name of ["app", "web", "serve"]) {
                assert.ok(preview.changes.includes(`${name}: replace`), `${name}: ${preview.changes.join(", ")}`);
            }
            const up = succeeded(await stack.up());
            // A replacement is checked twice, and both must find the same.
            assert.deepEqual(up.changes, preview.changes);
            const { pinned } = await stack.outputs();
            assert.equal(pinned, `${scene.busybox}@${will.digest}`);
            assert.notEqual((await scene.pids())["web"], pidBefore);
            assert.equal(await page(), "the page\n");
            const info = await scene.worker.ctr("containers", "info", (await scene.containers())["web"]!);
            assert.match(info, /MOVED=1/);
            unchanged(await stack.up(["--expect-no-changes"]));
        });

        it("keeps what is deployed when the registry is down, and warns once", async () => {
            const { digest } = await busyboxImageWith({ Env: ["MOVED=1", "PATH=/bin"] });
            await scene.registry.stop();
            for (const result of [await stack.preview(), await stack.up()]) {
                succeeded(result);
                assert.deepEqual(result.changes, []);
                const [warning, ...more] = warnings(result);
                assert.deepEqual(more, []);
                assert.equal(warning?.severity, "warning");
                assert.match(
                    warning.message,
                    new RegExp(`kept \\S+@${digest}.*127\\.0\\.0\\.1:${scene.registry.port}`, "s"),
                );
                assert.ok(warning.urn?.endsWith("containerd:Image::app"), warning.urn);
            }
            assert.equal(await page(), "the page\n");
        });

        it("fails for a new image while the registry is down, and touches nothing", async () => {
            const now = await census(scene.worker);
            await rewrite(
                stack,
                `${program("always")} new containerd.Image("more", { ref: "${scene.registry.address}/more:1" });`,
            );
            for (const result of [await stack.preview(), await stack.up()]) {
                assert.match(failed(result), new RegExp(`ref: .*127\\.0\\.0\\.1:${scene.registry.port}`));
            }
            assert.deepEqual(await census(scene.worker), now);
            await rewrite(stack, program("always"));
        });

        it("destroys all of it", async () => {
            const destroy = succeeded(await stack.destroy());
            assert.deepEqual(destroy.changes, ["app: delete", "serve: delete", "web: delete"], told(destroy));
            assert.deepEqual(warnings(destroy), []);
            await scene.holdsOnly(empty);
            await assert.rejects(page());
        });
    });
}
