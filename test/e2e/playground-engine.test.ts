/** The engine with the playground's language host: that programs run, and fail, as with the released one. */
import assert from "node:assert/strict";
import { Stack } from "../../playground/engine";

const RESOURCE = `
    const pulumi = require("@pulumi/pulumi");
    const provider = {
        create: async (inputs) => ({ id: "one", outs: inputs }),
        diff: async (id, olds, news) => ({ changes: olds.value !== news.value }),
        update: async (id, olds, news) => ({ outs: news }),
    };
    class Thing extends pulumi.dynamic.Resource {
        constructor(name, args, options) { super(provider, name, args, options); }
    }`;

describe("playground: engine", function () {
    this.timeout(120_000);
    let stack: Stack;
    afterEach(() => stack.remove());

    it("creates, leaves, updates, refreshes and destroys, with configuration and secrets", async () => {
        stack = await Stack.create({
            program: `${RESOURCE}
                const config = new pulumi.Config();
                const nodes = new pulumi.Config("containerd").requireObject("nodes");
                new Thing("thing", { value: config.require("value"), password: config.requireSecret("password") });
                exports.socket = nodes.here.socket;
                exports.password = config.requireSecret("password");`,
            config: {
                "test:value": "a",
                "test:password": { secret: "hush hush" },
                "containerd:nodes": { here: { socket: "/run/one.sock" } },
            },
        });
        const up = await stack.up();
        assert.deepEqual(up.changes, ["thing: create"], up.stdout + up.stderr);
        assert.deepEqual(up.diagnostics, []);
        assert.deepEqual(await stack.outputs(), { socket: "/run/one.sock", password: "hush hush" });
        assert.equal(JSON.stringify(await stack.exportState()).includes("hush hush"), false);

        const again = await stack.up(["--expect-no-changes"]);
        assert.deepEqual([again.code, again.changes], [0, []]);

        await stack.configure({ "test:value": "b" });
        assert.deepEqual((await stack.preview()).changes, ["thing: update"]);
        assert.deepEqual((await stack.up()).changes, ["thing: update"]);
        const refresh = await stack.refresh();
        assert.deepEqual([refresh.code, refresh.changes], [0, []]);
        assert.deepEqual((await stack.destroy()).changes, ["thing: delete"]);
    });

    it("type-checks a TypeScript program and shows its error", async () => {
        const program = 'export const answer: number = "42";';
        stack = await Stack.create({ entry: "index.ts", program });
        const up = await stack.up();
        assert.notEqual(up.code, 0);
        const errors = up.diagnostics.filter(({ severity }) => severity === "error").map(({ message }) => message);
        assert.equal(errors.length, 1, "the error must be told once");
        assert.match(errors[0] ?? "", /Type 'string' is not assignable to type 'number'/);

        await stack.write({ "index.ts": "export const answer: number = 42;" });
        assert.equal((await stack.up()).code, 0);
        assert.deepEqual(await stack.outputs(), { answer: 42 });
    });

    it("deletes nothing when the program exits early with a failure", async () => {
        stack = await Stack.create({ program: `${RESOURCE} new Thing("thing", { value: 1 });` });
        assert.equal((await stack.up()).code, 0);
        await stack.write({ "index.js": "process.exit(3);" });
        const failed = await stack.up();
        assert.notEqual(failed.code, 0);
        assert.deepEqual(failed.changes, []);
        assert.match(failed.stdout + failed.stderr, /status 3/);
        assert.deepEqual((await stack.destroy()).changes, ["thing: delete"]);
    });
});
