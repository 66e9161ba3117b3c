/** The playground's command line: a standing cluster, as users have it. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import path from "node:path";
import { playgroundFolder, repository } from "../../playground/environment";
import { run } from "../../playground/process";
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
    after(async () => {
        await playground("down");
        await rm(clone, { recursive: true, force: true });
    });

    it("starts, breaks, mends and removes a standing cluster that other commands find", async () => {
        const table = await must("up", "--workers", "2");
        assert.match(table, /│ local +│ 2\.[0-9.]+ +│ on +│ .*containerd\.sock/);
        assert.match(table, /│ edge-1 +│ 2\.[0-9.]+ +│ on +│ ssh -F \.playground\/ssh_config edge-1/);
        assert.match(table, /│ edge-2 +│ 1\.6\.\S+ +│ on +│ ssh -F /);
        const login = await run("ssh", ["-F", ".playground/ssh_config", "edge-1", "hostname"], { cwd: clone });
        assert.equal(login.stdout, "edge-1\n", login.stderr);
        const nodes = await readFile(path.join(clone, ".playground/nodes.json"), "utf8");
        assert.deepEqual(Object.keys(JSON.parse(nodes) as object), ["local", "edge-1", "edge-2"]);

        await must("kill", "edge-1");
        await must("cut", "edge-2");
        const broken = await must("status");
        assert.match(broken, /edge-1 +│ \S+ +│ off/);
        assert.match(broken, /edge-2 +│ \S+ +│ cut off/);
        const off = await playground("exec", "edge-1", "--", "true");
        assert.match(off.stderr, /edge-1 is off/);
        await must("heal", "edge-2");
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
        assert.equal(await readFile(path.join(clone, ".playground/nodes.json"), "utf8"), nodes);
        assert.equal((await playground("exec", "edge-1", "--", "sh", "-c", "exit 7")).code, 7);
        assert.match(await must("ctr", "edge-2", "version"), /1\.6\./);

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
