/** The playground's command line: a standing cluster, as users have it. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import path from "node:path";
import { engineEnvironment } from "../../playground/engine";
import { environment, playgroundFolder, repository } from "../../playground/environment";
import { run } from "../../playground/process";
import { Stack } from "../../playground/stack";
import { processesOf } from "./playground-processes";

describe("playground: command line", () => {
    // Of a clone of its own, so that this one's playground stays as it is.
    let clone: string;
    const playground = (...args: string[]) =>
        run(process.execPath, ["--import", "tsx", "playground/cli.ts", ...args], { cwd: clone });
    const must = async (...args: string[]) => {
        const { code, stdout, stderr } = await playground(...args);
        assert.equal(code, 0, stderr);
        return stdout;
    };
    before(async () => {
        clone = await mkdtemp("/var/tmp/pulumi-containerd-clone-");
        for (const entry of ["playground", "provider", "package.json", "tsconfig.json"]) {
            await cp(path.join(repository, entry), path.join(clone, entry), { recursive: true });
        }
        await symlink(path.join(repository, "node_modules"), path.join(clone, "node_modules"));
        await cp(path.join(playgroundFolder, "environment.json"), path.join(clone, ".playground/environment.json"));
    });
    /** Does in a project what `status` says, and sets one value more: the nodes stay. */
    const followHint = async (status: string) => {
        const hint = /^to deploy to them, in your project: pulumi (.*)$/m.exec(status)?.[1];
        assert.ok(hint, status);
        const stack = await Stack.create({ program: "" });
        try {
            const env = { ...engineEnvironment(path.join(stack.folder, "backend")), PULUMI: environment().pulumi };
            const script = `"$PULUMI" ${hint} && "$PULUMI" config set --path containerd:nodes.edge-1.labels.role web`;
            const { code, stderr } = await run("/bin/sh", ["-c", script], { cwd: stack.project, env });
            assert.equal(code, 0, stderr);
            const { stdout } = await stack.pulumi(["config", "get", "containerd:nodes"]);
            const set = JSON.parse(stdout) as Record<string, { socket?: string; host?: string; labels?: object }>;
            assert.deepEqual(Object.keys(set).sort(), ["edge-1", "edge-2", "local"]);
            assert.deepEqual([set["edge-1"]?.labels, set["edge-1"]?.host], [{ role: "web" }, "127.0.0.1"]);
            assert.match(set.local?.socket ?? "", /containerd\.sock$/);
        } finally {
            await stack.remove();
        }
    };
    after(async () => {
        await playground("down");
        await rm(clone, { recursive: true, force: true });
    });

    it("says how it is used, before anything is set up", async () => {
        const bare = path.join(clone, "bare");
        await cp(path.join(clone, "playground"), path.join(bare, "playground"), { recursive: true });
        const start = (...args: string[]) =>
            run(process.execPath, ["playground/start.mjs", "cli.ts", ...args], { cwd: bare });
        const help = await start("help");
        assert.deepEqual([help.code, help.stderr], [0, ""]);
        assert.match(help.stdout, /^usage: npm run playground -- COMMAND\n/);
        assert.deepEqual([(await start()).code, existsSync(path.join(bare, ".playground"))], [2, false]);
        assert.equal(await must("help"), help.stdout);
    });

    it("starts, breaks, mends and removes a standing cluster that other commands find", async () => {
        const table = await must("up", "--workers", "2");
        assert.match(table, /│ local +│ 2\.[0-9.]+ +│ on +│ .*containerd\.sock/);
        assert.match(table, /│ edge-1 +│ 2\.[0-9.]+ +│ on +│ ssh -F \.playground\/ssh_config edge-1/);
        assert.match(table, /│ edge-2 +│ 1\.6\.\S+ +│ on +│ ssh -F /);
        const login = await run("ssh", ["-F", ".playground/ssh_config", "edge-1", "hostname"], { cwd: clone });
        assert.equal(login.stdout, "edge-1\n", login.stderr);
        const nodes = await readFile(path.join(clone, ".playground/config.json"), "utf8");
        await followHint(table);

        assert.match(await must("kill", "edge-1"), /^edge-1 is off: .*\n$/);
        assert.match(await must("cut", "edge-2"), /^edge-2 has its cable out: .*\n$/);
        const broken = await must("status");
        assert.match(broken, /edge-1 +│ \S+ +│ off/);
        assert.match(broken, /edge-2 +│ \S+ +│ cut off/);
        const off = await playground("exec", "edge-1", "--", "true");
        assert.match(off.stderr, /edge-1 is off/);
        assert.equal(await must("heal", "edge-2"), "edge-2 has its cable back\n");
        assert.match(await must("up"), /edge-1 +│ \S+ +│ on +.*\n.*\n.*edge-2 +│ \S+ +│ on/);
        assert.equal(await must("exec", "edge-1", "--", "hostname"), "edge-1\n");

        // The switch ends, as it does with all the rest when this machine is booted: everything is there again as it was.
        const [carrier = ""] = await processesOf(path.join(clone, "playground/network/carrier.ts"));
        process.kill(Number(carrier), "SIGKILL");
        await must("kill", "edge-2");
        await must("up");
        for (const node of ["edge-1", "edge-2"]) {
            const again = await run("ssh", ["-F", ".playground/ssh_config", node, "hostname"], { cwd: clone });
            assert.equal(again.stdout, `${node}\n`, again.stderr);
        }
        assert.equal(await readFile(path.join(clone, ".playground/config.json"), "utf8"), nodes);
        assert.equal((await playground("exec", "edge-1", "--", "sh", "-c", "exit 7")).code, 7);
        assert.match(await must("ctr", "edge-2", "version"), /1\.6\./);

        // On one that is on, what has died there.
        await must("exec", "edge-2", "--", "sh", "-c", "kill -9 $(cat /run/containerd.pid)");
        assert.match(await must("status"), /edge-2 +│ \S+ +│ containerd does not answer/);
        assert.equal(await must("boot", "edge-2"), "edge-2 is on, and containerd answers\n");
        assert.match(await must("ctr", "edge-2", "version"), /1\.6\./);

        assert.match(await must("upgrade", "edge-2"), /^edge-2 runs containerd 2\.x; .*\n$/);
        assert.match(await must("ctr", "edge-2", "version"), /Server:\s+Version: +v?2\./);
        const found = await run("ssh", ["-F", ".playground/ssh_config", "edge-2", "ctr", "--version"], { cwd: clone });
        assert.match(found.stdout, / v?2\./, "who logs in finds the old one");

        const wrong = await playground("ctr", "edge2", "version");
        assert.equal(wrong.code, 1);
        assert.match(wrong.stderr, /no node edge2, did you mean edge-2\?/);
        assert.equal((await playground("up", "--workers", "many")).code, 2);
        assert.match((await playground("up", "--workers", "3")).stderr, /has 2 workers/);

        await must("down");
        assert.equal(existsSync(path.join(clone, ".playground")), false);
        assert.match(await must("status"), /no playground/);
    });
});
