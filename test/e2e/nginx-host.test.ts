/** The first session with ctr as a program (`examples/nginx-host`): what ctr shows is what it shows after a session by hand. */
import assert from "node:assert/strict";
import path from "node:path";
import { Stack } from "../../playground/engine";
import { repository } from "../../playground/environment";
import { nginxImage } from "../../playground/images";
import { freePort, type Registry, startRegistry } from "../../playground/registry";
import { startWorker, type Worker } from "../../playground/worker";
import { census } from "../helpers/census";

for (const version of ["1.6", "2"] as const) {
    describe(`example nginx-host on containerd ${version}`, function () {
        this.timeout(180_000);
        let worker: Worker;
        let registry: Registry;
        let stack: Stack;
        let ref: string;

        before(async () => {
            worker = await startWorker({ version });
            registry = await startRegistry();
            ref = `${registry.address}/library/nginx:latest`;
            await registry.push(await nginxImage(), "library/nginx:latest");
        });
        after(async () => {
            await stack?.remove();
            await registry?.stop();
            await worker?.stop();
        });

        it("is what one sees by ctr: images, containers, tasks, namespaces", async () => {
            const before = await census(worker);
            const port = await freePort();
            stack = await Stack.create({
                program: { folder: path.join(repository, "examples/nginx-host") },
                config: {
                    "nginx-host:image": ref,
                    "nginx-host:port": port,
                    "containerd:nodes": { here: { socket: worker.address } },
                    "containerd:node": "here",
                },
            });
            const up = await stack.up();
            assert.equal(up.code, 0, up.stdout + up.stderr);
            const { digest, other } = (await stack.outputs()) as { digest: string; other: string };
            const page = await fetch(`http://127.0.0.1:${port}/`);
            assert.equal(page.status, 200);

            const containers = await worker.ctr("containers", "ls");
            assert.match(containers, new RegExp(`^nginx +${ref} +io\\.containerd\\.runc\\.v2`, "m"));
            assert.match(await worker.ctr("tasks", "ls"), /^nginx +\d+ +RUNNING/m);

            const image = (await worker.ctr("images", "ls")).split("\n").find((line) => line.startsWith(`${ref} `));
            assert.ok(image, "the tag is a name in ctr images ls");
            const [, type, shown, size, unit, platforms] = image.split(/\s+/);
            assert.match(type ?? "", /^application\/vnd\.oci\.image\.(manifest|index)\.v1\+json$/);
            assert.equal(shown, digest);
            assert.match(`${size} ${unit}`, /^[1-9][\d.]* [KM]iB$/);
            assert.match(platforms ?? "", /^linux\/\w+/);
            assert.match(await worker.ctr("images", "check"), new RegExp(`^${ref} .* complete .* true`, "m"));

            assert.match(await worker.ctr("namespaces", "ls"), /^default/m);
            assert.match(await worker.ctr("namespaces", "ls"), /^other/m);
            const [namespace, name] = other.split("/");
            assert.equal(namespace, "other");
            assert.match(await worker.ctr("--namespace", "other", "containers", "ls"), new RegExp(`^${name} `, "m"));
            assert.doesNotMatch(containers, new RegExp(`^${name} `, "m"));

            const again = await stack.up(["--expect-no-changes"]);
            assert.deepEqual([again.code, again.changes], [0, []], again.stdout);
            const destroy = await stack.destroy();
            assert.equal(destroy.code, 0, destroy.stdout + destroy.stderr);
            assert.deepEqual(await census(worker), before);
        });
    });
}
