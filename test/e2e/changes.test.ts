/** Which change does what on the worker, what a refresh finds there, and what is never destroyed. */
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { Client } from "../../provider/containerd/client";
import { unixTransport } from "../../provider/transport/unix";
import type { Stack } from "../../playground/stack";
import { type Census, census } from "../helpers/census";
import { failed, rewrite, Scene, succeeded, told, unchanged } from "./scene";

const SECRET = "kept-out-of-states";
const SLEEP = `["sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait"]`;

describe("changes", function () {
    this.timeout(180_000);
    let scene: Scene;
    let stack: Stack;
    let empty: Census;
    before(async () => {
        scene = await Scene.open("2");
        empty = await census(scene.worker);
        stack = await scene.stack("");
    });
    after(() => scene?.close());

    /** A container and its task; `args` override the defaults. */
    function program(args: Record<string, string> = {}, name = "web"): string {
        const all = {
            image: `"${scene.busybox}"`,
            network: '"none"',
            entrypoint: SLEEP,
            labels: '{ tier: "web", gone: "soon" }',
            memory: '{ limit: "64MiB" }',
            files: '{ "/etc/app.conf": "one", "/etc/quiet.conf": { content: "one", onChange: "none" } }',
            secrets: '{ pw: "one" }',
            ...args,
        };
        const text = Object.entries(all).map(([key, value]) => `${key}: ${value}`);
        return `new containerd.Task("${name}", { container: new containerd.Container("${name}", { ${text.join(", ")} }) });\n`;
    }

    async function pid(name = "web"): Promise<string> {
        const found = (await scene.pids())[name];
        assert.ok(found, `${name} runs`);
        return found;
    }

    async function inside(script: string, name = "web"): Promise<string> {
        const { [name]: id } = await scene.containers();
        return scene.worker.ctr(
            "tasks",
            "exec",
            "--exec-id",
            `look-${Math.random().toString(36).slice(2)}`,
            id!,
            "sh",
            "-c",
            script,
        );
    }

    /** A limit of the container's control group, of version 1 or 2. */
    async function limit(v1: string, v2: string): Promise<string> {
        const script = `for f in $(awk -F: -v p="$2" '{ print $3 }' "/proc/$1/cgroup" | sort -u); do
                for h in /sys/fs/cgroup /sys/fs/cgroup/*; do
                    for n in "$2" "$3"; do [ -e "$h$f/$n" ] && cat "$h$f/$n" && exit; done
                done
            done`;
        return (await scene.worker.run(script, await pid(), v1, v2)).trim();
    }

    it("happen on the running process where they can", async () => {
        await rewrite(stack, program());
        succeeded(await stack.up());
        const before = await pid();
        assert.equal(await limit("memory.limit_in_bytes", "memory.max"), String(64 << 20));
        await rewrite(
            stack,
            program({
                labels: '{ tier: "db", more: "yes" }',
                memory: '{ limit: "96MiB" }',
                cpu: "{ shares: 512 }",
                pidsLimit: "77",
                files: '{ "/etc/app.conf": "one", "/etc/quiet.conf": { content: "two", onChange: "none" } }',
            }),
        );
        const up = succeeded(await stack.up());
        assert.deepEqual(up.changes, ["web: update"], told(up));
        assert.equal(await pid(), before);
        assert.equal(await limit("memory.limit_in_bytes", "memory.max"), String(96 << 20));
        assert.equal(await limit("pids.max", "pids.max"), "77");
        if ((await limit("cpu.shares", "no-such-file")) !== "")
            assert.equal(await limit("cpu.shares", "no-such-file"), "512");
        // A process has the file that it was started with; the new one waits for its next start.
        assert.equal(
            await scene.worker.run(
                'grep -l two "/var/lib/pulumi-containerd/$1@default"/files/* | wc -l',
                (await scene.containers())["web"]!,
            ),
            "1\n",
        );
        const info = JSON.parse(await scene.worker.ctr("containers", "info", (await scene.containers())["web"]!)) as {
            Labels: Record<string, string>;
        };
        assert.deepEqual([info.Labels["tier"], info.Labels["more"], info.Labels["gone"]], ["db", "yes", undefined]);
        unchanged(await stack.refresh(["--expect-no-changes"]));
        unchanged(await stack.up(["--expect-no-changes"]));
        await rewrite(stack, program());
        succeeded(await stack.up());
        assert.equal(await pid(), before);
        assert.equal(await limit("memory.limit_in_bytes", "memory.max"), String(64 << 20));
    });

    it("restart the process for files and secrets, and keep the container", async () => {
        let before = await pid();
        const { web } = await scene.containers();
        for (const [args, file] of [
            [{ files: '{ "/etc/app.conf": "two", "/etc/new.conf": "new" }' }, "/etc/app.conf"],
            [
                { files: '{ "/etc/app.conf": "two", "/etc/new.conf": "new" }', secrets: '{ pw: "two" }' },
                "/run/secrets/pw",
            ],
        ] as const) {
            await rewrite(stack, program(args));
            // The Container, and its Task, which waits for the process that was started anew.
            assert.deepEqual(succeeded(await stack.up()).changes, ["web: update", "web: update"]);
            assert.equal(await inside(`cat ${file}`), "two");
            assert.notEqual(await pid(), before);
            before = await pid();
        }
        // The place where a file was mounted remains, and is empty.
        assert.equal(await inside("cat /etc/new.conf /etc/quiet.conf"), "new");
        assert.equal((await scene.containers())["web"], web);
        unchanged(await stack.refresh(["--expect-no-changes"]));
    });

    it("replace for what a process is born with: the new one stands beside the old first", async () => {
        const { web } = await scene.containers();
        const changes: Record<string, string>[] = [{ env: "{ A: 1 }" }, { entrypoint: '["sleep"]', args: '["1000"]' }];
        for (const args of changes) {
            await rewrite(stack, program(args));
            const preview = succeeded(await stack.preview());
            assert.deepEqual(
                preview.changes.filter((change) => change.endsWith(": replace")),
                ["web: replace", "web: replace"],
            );
            const up = succeeded(await stack.up());
            const order = up.steps
                .filter(({ op, type }) => type.endsWith(":Container") && op !== "same" && op !== "replace")
                .map(({ op }) => op);
            assert.deepEqual(order, ["create-replacement", "delete-replaced"]);
            assert.deepEqual(Object.keys(await scene.pids()), ["web"]);
        }
        assert.notEqual((await scene.containers())["web"], web);
        await rewrite(stack, program());
        succeeded(await stack.up());
    });

    it("made on the worker are found by refresh, by argument, and mended by up", async () => {
        const { web } = await scene.containers();
        const before = await pid();
        await scene.worker.ctr("containers", "label", web!, "tier=tampered");
        const client = await Client.connect(unixTransport("here", scene.worker.address), "default");
        try {
            const { container } = await client.containers.get({ id: web! });
            const spec = JSON.parse(Buffer.from(container?.spec?.value as Uint8Array).toString()) as {
                linux: { resources: { memory: { limit: number } } };
                process: { cwd: string };
            };
            spec.linux.resources.memory.limit = 100 << 20;
            const value = { type_url: container?.spec?.type_url ?? "", value: Buffer.from(JSON.stringify(spec)) };
            await client.containers.update({ container: { id: web!, spec: value }, update_mask: { paths: ["spec"] } });
            const refresh = succeeded(await stack.refresh());
            assert.deepEqual(refresh.changes, ["web: update"]);
            const step = refresh.steps.find(({ op, type }) => op === "update" && type.endsWith(":Container"));
            const [was, is] = [step?.old?.["outputs"], step?.new?.["outputs"]] as Record<string, unknown>[];
            const drift = Object.keys({ ...was, ...is }).filter((key) => !isDeepStrictEqual(was?.[key], is?.[key]));
            assert.deepEqual(drift.sort(), ["labels", "memory"]);
            assert.deepEqual(succeeded(await stack.up()).changes, ["web: update"]);
            assert.equal(await pid(), before);
            unchanged(await stack.refresh(["--expect-no-changes"]));

            // What the process was born with takes a replacement to mend.
            spec.process.cwd = "/tmp";
            spec.linux.resources.memory.limit = 64 << 20;
            value.value = Buffer.from(JSON.stringify(spec));
            await client.containers.update({ container: { id: web!, spec: value }, update_mask: { paths: ["spec"] } });
            succeeded(await stack.refresh());
            assert.ok(succeeded(await stack.up()).changes.includes("web: replace"));
        } finally {
            client.close();
        }
    });

    it("makes anew what somebody deleted", async () => {
        const { web } = await scene.containers();
        await scene.worker.ctr("tasks", "rm", "-f", web!);
        await scene.worker.ctr("containers", "rm", web!);
        const refresh = succeeded(await stack.refresh());
        // What else there is of the container (snapshot, files, secrets) must not be forgotten with it.
        assert.deepEqual(refresh.changes, ["web: delete", "web: update"], told(refresh));
        const up = succeeded(await stack.up());
        assert.ok(up.changes.includes("web: replace") && up.changes.includes("web: create"), told(up));
        assert.ok(await pid());
        await rewrite(stack, "");
        succeeded(await stack.up());
        await scene.holdsOnly(empty);
    });

    it("are none of another program's that only reads: get", async () => {
        const image = `new containerd.Image("app", { ref: "${scene.busybox}", labels: { team: "sip" } })`;
        await rewrite(
            stack,
            `const image = ${image}; ${program({ image: "image" })}`
                .replace("new containerd.Task", "const task = new containerd.Task")
                .replace(
                    "container: new containerd.Container",
                    "container: globalThis.box = new containerd.Container",
                ) +
                `
            exports.image = { id: image.id, ref: image.ref, digest: image.digest, pinned: image.pinned, size: image.size, node: image.node, namespace: image.namespace };
            exports.container = { id: box.id, containerId: box.containerId, address: box.address, node: box.node, namespace: box.namespace };
            exports.task = { id: task.id, ready: task.ready, status: task.status };`,
        );
        succeeded(await stack.up());
        const made = (await stack.outputs()) as Record<string, Record<string, unknown>>;
        const before = await census(scene.worker);
        const reader = await scene.stack(
            `
            const image = containerd.Image.get("app", "${String(made["image"]?.["id"])}");
            const box = containerd.Container.get("web", "${String(made["container"]?.["id"])}");
            const task = containerd.Task.get("web", "${String(made["task"]?.["id"])}");
            exports.image = { id: image.id, ref: image.ref, digest: image.digest, pinned: image.pinned, size: image.size, node: image.node, namespace: image.namespace };
            exports.container = { id: box.id, containerId: box.containerId, address: box.address, node: box.node, namespace: box.namespace };
            exports.task = { id: task.id, ready: task.ready, status: task.status };
            exports.imageOfContainer = box.image;`,
            { stack: "reader" },
        );
        const up = succeeded(await reader.up());
        assert.deepEqual(up.changes, ["app: read", "web: read", "web: read"]);
        assert.deepEqual(await reader.outputs(), { ...made, imageOfContainer: scene.busybox });
        succeeded(await reader.refresh());
        succeeded(await reader.up());
        assert.deepEqual(await reader.outputs(), { ...made, imageOfContainer: scene.busybox });
        succeeded(await reader.destroy());
        assert.deepEqual(await census(scene.worker), before);
        await rewrite(stack, "");
        succeeded(await stack.up());
        await scene.holdsOnly(empty);
    });

    it("A to B to A with a failed delete in between destroys nothing that lives", async () => {
        const at = (env: string): string =>
            program({ env: `{ A: "${env}" }` }) + program({ env: `{ A: "${env}" }`, name: '"fixed"' }, "named");
        await rewrite(stack, at("a"));
        succeeded(await stack.up());
        const { web: first } = await scene.containers();
        // Its folder cannot be removed: somebody has mounted something in it.
        const busy = `/var/lib/pulumi-containerd/${first}@default/busy`;
        await scene.worker.run('mkdir "$1" && mount -t tmpfs none "$1"', busy);
        await rewrite(stack, at("b"));
        assert.match(failed(await stack.up()), /node here: /);
        await scene.worker.run('umount "$1"', busy);
        await rewrite(stack, at("a"));
        succeeded(await stack.up());
        const pids = await scene.pids();
        assert.ok(pids["web"] && pids["fixed"], `both run: ${JSON.stringify(pids)}`);
        assert.match(await scene.worker.ctr("containers", "info", "fixed"), /"A=a"/);
        unchanged(await stack.up(["--expect-no-changes"]));
        assert.equal(Object.keys(await scene.containers()).length, 2);
        succeeded(await stack.destroy());
        await scene.holdsOnly(empty);
    });

    it("that fail in the middle are taken back, or gone on with, whatever the program says next", async () => {
        const one = program();
        // No machine of today has this processor, which runc finds out when all else is done.
        const impossible = program({
            labels: '{ tier: "web", never: "wanted" }',
            files: '{ "/etc/app.conf": "other", "/etc/never.conf": "wanted" }',
            secrets: `{ pw: "${SECRET}" }`,
            memory: '{ limit: "80MiB" }',
            cpu: '{ cpuset: "4000" }',
        });
        const holds = async (file: string, memory: number, labels: object) => {
            const info = JSON.parse(
                await scene.worker.ctr("containers", "info", (await scene.containers())["web"]!),
            ) as { Labels: Record<string, string> };
            const { tier, never } = info.Labels;
            assert.deepEqual({ tier, ...(never && { never }) }, labels);
            assert.equal(await inside("cat /etc/app.conf; cat /etc/never.conf 2>/dev/null || true"), file);
            assert.equal(await limit("memory.limit_in_bytes", "memory.max"), String(memory << 20));
        };
        await rewrite(stack, one);
        succeeded(await stack.up());
        await holds("one", 64, { tier: "web" });

        // Put back: a preview says that this is a change.
        await rewrite(stack, impossible);
        assert.match(failed(await stack.up()), /cpuset/);
        const { stdout } = await stack.pulumi(["stack", "export", "--stack", stack.name]);
        assert.doesNotMatch(stdout, new RegExp(SECRET));
        assert.match(stdout, /"unfinished": /);
        await rewrite(stack, one);
        const preview = succeeded(await stack.preview());
        assert.deepEqual(preview.changes, ["web: update"]);
        assert.match(told(preview), /the last update of it failed in the middle/);
        succeeded(await stack.up());
        await holds("one", 64, { tier: "web" });
        unchanged(await stack.up(["--expect-no-changes"]));
        assert.doesNotMatch((await stack.pulumi(["stack", "export", "--stack", stack.name])).stdout, /"unfinished": /);

        // A third program, which knows nothing of either. Neither does a refresh take what is there for somebody's wish.
        await rewrite(stack, impossible);
        failed(await stack.up());
        succeeded(await stack.refresh());
        assert.doesNotMatch(
            (await stack.pulumi(["stack", "export", "--stack", stack.name])).stdout,
            new RegExp(SECRET),
        );
        await rewrite(
            stack,
            program({ labels: "{}", files: '{ "/etc/app.conf": "third" }', memory: '{ limit: "72MiB" }' }),
        );
        succeeded(await stack.up());
        await holds("third", 72, { tier: undefined });
        unchanged(await stack.refresh(["--expect-no-changes"]));

        // The same again, once it can be.
        await rewrite(stack, impossible);
        failed(await stack.up());
        await rewrite(stack, impossible.replace("4000", "0"));
        succeeded(await stack.up());
        await holds("otherwanted", 80, { tier: "web", never: "wanted" });
        unchanged(await stack.refresh(["--expect-no-changes"]));
        await rewrite(stack, one);
        succeeded(await stack.up());
    });

    it("keeps what it knew of a node that does not answer, and says so", async () => {
        await rewrite(stack, program());
        succeeded(await stack.up());
        await scene.worker.stopContainerd();
        const refresh = succeeded(await stack.refresh());
        assert.deepEqual(refresh.changes, []);
        assert.match(told(refresh), /kept as last known, because node here/);
        assert.match(failed(await stack.destroy()), /node here/);
        await scene.worker.startContainerd();
        unchanged(await stack.up(["--expect-no-changes"]));
        succeeded(await stack.destroy());
        await scene.holdsOnly(empty);
    });
});
