/** Pulumi's own resource options do what Pulumi's documentation says. */
import assert from "node:assert/strict";
import type { Stack } from "../../playground/stack";
import { type Census, census } from "../helpers/census";
import { failed, rewrite, Scene, succeeded, told, unchanged } from "./scene";

describe("options", function () {
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
    afterEach(async () => {
        await rewrite(stack, "");
        succeeded(await stack.up());
        await scene.holdsOnly(empty);
    });

    const SLEEP = `entrypoint: ["sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait"]`;
    function container(name: string, args: string, options = "", variable = name): string {
        return `const ${variable} = new containerd.Container("${name}", { image: "${scene.busybox}", network: "none", ${SLEEP}, ${args} }, { ${options} });\n`;
    }
    const task = (name: string, options = "", variable = name): string =>
        `new containerd.Task("${name}", { container: ${variable} }, { ${options} });\n`;

    it("ignoreChanges: nested paths, and an image", async () => {
        const args = (n: number, other = "same"): string =>
            `env: { DEBUG: "${n}", OTHER: "${other}" }, files: { "/x": "${n}", "/y": "${other}" }, memory: { limit: ${(64 + n) * 2 ** 20} }`;
        const options = `ignoreChanges: ["env.DEBUG", "files[\\"/x\\"]", "memory.limit", "image"]`;
        await rewrite(stack, container("web", args(1), options) + task("web"));
        succeeded(await stack.up());
        const before = await scene.pids();
        await rewrite(
            stack,
            (container("web", args(2), options) + task("web")).replace(
                scene.busybox,
                `${scene.registry.address}/other:2`,
            ),
        );
        unchanged(await stack.up(["--expect-no-changes"]));
        assert.deepEqual(await scene.pids(), before);
        // Another change goes its way, and leaves them as they are. (A replacement takes all that the program says: the engine
        // checks it with the program's values.)
        await rewrite(stack, container("web", args(2).replace('"/y": "same"', '"/y": "new"'), options) + task("web"));
        const up = succeeded(await stack.up());
        assert.deepEqual(up.changes, ["web: update", "web: update"], told(up)); // its Task waits for the restarted process
        const { web } = await scene.containers();
        assert.match(await scene.worker.ctr("containers", "info", web!), /"DEBUG=1"/);
        assert.equal(await scene.worker.ctr("tasks", "exec", "--exec-id", "x", web!, "cat", "/x", "/y"), "1new");
        unchanged(await stack.up(["--expect-no-changes"]));
    });

    it("customTimeouts: a job that takes longer fails and names them", async () => {
        await rewrite(
            stack,
            `const job = new containerd.Container("job", { image: "${scene.busybox}", network: "none", args: ["sleep", "1000"] });
            new containerd.Task("job", { container: job, once: true, stop: { signal: "KILL" } }, { customTimeouts: { create: "1s" } });`,
        );
        assert.match(failed(await stack.up()), /did not end in 1s: set customTimeouts/);
        assert.deepEqual(await scene.pids(), {});
    });

    it("protect", async () => {
        await rewrite(stack, container("web", "", "protect: true"));
        succeeded(await stack.up());
        assert.match(failed(await stack.destroy()), /protect/);
        assert.ok((await scene.containers())["web"]);
        await rewrite(stack, container("web", ""));
        succeeded(await stack.up());
    });

    it("retainOnDelete: it stays, and a later up of the same name does not take it", async () => {
        const retained = container("web", "", "retainOnDelete: true") + task("web", "retainOnDelete: true");
        await rewrite(stack, retained);
        succeeded(await stack.up());
        const { web: id } = await scene.containers();
        const { web: pid } = await scene.pids();
        await rewrite(stack, "");
        succeeded(await stack.up());
        assert.deepEqual(await scene.pids(), { web: pid });
        await rewrite(stack, container("web", "") + task("web"));
        succeeded(await stack.up());
        const ids = (await scene.worker.ctr("containers", "ls", "-q")).split("\n").filter(Boolean);
        assert.equal(ids.length, 2);
        assert.ok(ids.includes(id!));
        assert.ok((await scene.worker.ctr("tasks", "ls")).includes(pid!), "it runs on");
        await rewrite(stack, "");
        succeeded(await stack.up());
        assert.deepEqual(await scene.pids(), { web: pid });
        await scene.worker.ctr("tasks", "rm", "-f", id!);
        await scene.worker.ctr("containers", "rm", id!);
        await scene.worker.run('rm -r "/var/lib/pulumi-containerd/$1@default"', id!);
        await scene.worker.ctr("snapshots", "rm", id!).catch(() => undefined);
        for (const image of (await scene.worker.ctr("images", "ls", "-q")).split("\n").filter(Boolean)) {
            await scene.worker.ctr("images", "rm", "--sync", image);
        }
    });

    it("aliases: a rename is an update of labels; the process runs on", async () => {
        await rewrite(stack, container("old", "") + task("old"));
        succeeded(await stack.up());
        const before = Object.values(await scene.pids());
        await rewrite(
            stack,
            container("web", "", 'aliases: [{ name: "old" }]') + task("web", 'aliases: [{ name: "old" }]'),
        );
        const up = succeeded(await stack.up());
        assert.deepEqual(up.changes, ["web: update", "web: update"], told(up));
        assert.deepEqual(Object.values(await scene.pids()), before);
        const [id] = Object.values(await scene.containers());
        const info = JSON.parse(await scene.worker.ctr("containers", "info", id!)) as {
            Labels: Record<string, string>;
        };
        assert.ok(info.Labels["pulumi-containerd/owner"]?.endsWith("containerd:Container::web"));
        assert.ok(info.Labels["pulumi-containerd/task"]?.endsWith("containerd:Task::web"));
        unchanged(await stack.up(["--expect-no-changes"]));
        unchanged(await stack.refresh(["--expect-no-changes"]));
    });

    it("transforms: of a whole subtree", async () => {
        await rewrite(
            stack,
            `class App extends pulumi.ComponentResource {
                constructor(name, options) {
                    super("test:App", name, {}, options);
                    ${container("web", "", "parent: this")} ${task("web", "parent: this")}
                }
            }
            new App("app", { transforms: [async ({ type, props, opts }) =>
                type.endsWith(":Container") ? { props: { ...props, namespace: "elsewhere", labels: { by: "transform" } }, opts } : undefined] });`,
        );
        const up = succeeded(await stack.up());
        assert.deepEqual(Object.keys(await scene.pids("elsewhere")), ["web"], told(up));
        const { web } = await scene.containers("elsewhere");
        const info = await scene.worker.ctr("-n", "elsewhere", "containers", "info", web!);
        assert.match(info, /"by": "transform"/);
        assert.match(info, /test:App\$pulumi-nodejs:dynamic\/containerd:Container::web/);
        unchanged(await stack.up(["--expect-no-changes"]));
    });

    it("replaceOnChanges, and deleteBeforeReplace by wish, by a fixed name, and by the host's network", async () => {
        const order = (up: Awaited<ReturnType<Stack["up"]>>, name: string): string[] =>
            up.steps
                .filter(
                    (step) => step.name === name && step.type.endsWith(":Container") && /-repl|delete/.test(step.op),
                )
                .map(({ op }) => op);
        const program = (n: number): string =>
            container("asked", `labels: { n: "${n}" }`, 'replaceOnChanges: ["labels.n"]') +
            container("first", `env: { N: ${n} }`, "deleteBeforeReplace: true") +
            container("named", `env: { N: ${n} }, name: "fixed"`) +
            container("host", `env: { N: ${n} }`).replace('"none"', '"host"') +
            container("beside", `env: { N: ${n} }`);
        await rewrite(stack, program(1));
        succeeded(await stack.up());
        await rewrite(stack, program(2));
        const up = succeeded(await stack.up());
        for (const name of ["asked", "beside"])
            assert.deepEqual(order(up, name), ["create-replacement", "delete-replaced"], name);
        for (const name of ["first", "named", "host"])
            assert.deepEqual(order(up, name), ["delete-replaced", "create-replacement"], name);
        unchanged(await stack.up(["--expect-no-changes"]));
    });

    it("dependsOn and deletedWith", async () => {
        const job = (name: string, after: string): string =>
            `const ${name} = new containerd.Task("${name}", { once: true, container: new containerd.Container("${name}", {
                image: "${scene.busybox}", network: "none", mounts: { "/srv": { bind: "/run/order" } },
                entrypoint: ["sh", "-c", "sleep 0.5; echo ${name} >>/srv/order"] }) }, { dependsOn: [${after}] });\n`;
        await scene.worker.run("mkdir -p /run/order");
        await rewrite(
            stack,
            job("one", "") + job("two", "one") + container("web", "") + task("web", "deletedWith: web"),
        );
        succeeded(await stack.up());
        assert.equal((await scene.worker.run("cat /run/order/order")).trim(), "one\ntwo");
        await rewrite(stack, "");
        succeeded(await stack.up());
        assert.deepEqual(await scene.pids(), {});
        await scene.worker.run("rm -r /run/order");
    });

    it("import says that it cannot be, and get reads what another program made", async () => {
        await rewrite(stack, container("web", "", 'import: "default/web/0"'));
        assert.match(
            failed(await stack.preview()),
            /Container web: import is not possible with Pulumi's dynamic resources.*adopt/s,
        );
        await rewrite(stack, container("web", 'labels: { a: "b" }') + "exports.id = web.id;");
        succeeded(await stack.up());
        const { id } = await stack.outputs();
        const reader = await scene.stack(
            `const found = containerd.Container.get("found", ${JSON.stringify(id)}); exports.name = found.containerId; exports.address = found.address;`,
            { project: "reader" },
        );
        succeeded(await reader.up());
        assert.deepEqual(await reader.outputs(), { name: (await scene.containers())["web"], address: "" });
        succeeded(await reader.destroy());
        assert.ok((await scene.containers())["web"]);
    });
});
