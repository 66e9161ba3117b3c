/** The folder of the tunnels' local ends: for its user alone, gone with its process, and with the next one if that was killed. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { removeTunnelFolder, tunnelSocketPath } from "../../provider/transport/ssh/folder";

describe("ssh: the folder of the tunnels", () => {
    let base: string;
    const former = process.env.TMPDIR;
    beforeEach(() => {
        removeTunnelFolder();
        base = mkdtempSync(path.join(tmpdir(), "tunnels-"));
        process.env.TMPDIR = base;
    });
    afterEach(() => {
        removeTunnelFolder();
        if (former === undefined) delete process.env.TMPDIR;
        else process.env.TMPDIR = former;
        rmSync(base, { recursive: true, force: true });
    });

    /** What a killed process of that number leaves. */
    function leave(pid: number, suffix = "AbCd12"): string {
        const folder = path.join(base, `pulumi-containerd-${pid}-${suffix}`);
        mkdirSync(folder, { mode: 0o700 });
        writeFileSync(path.join(folder, "0.sock"), "");
        return folder;
    }

    /** The number of a process that has ended. */
    function endedPid(): number {
        return spawnSync(process.execPath, ["-e", ""]).pid;
    }

    it("is one for all, which nobody else can enter, with a path of its own for each", () => {
        const [first, second] = [tunnelSocketPath(), tunnelSocketPath()];
        assert.notEqual(first, second);
        const folder = path.dirname(first);
        assert.equal(path.dirname(second), folder);
        assert.equal(path.dirname(folder), base);
        assert.equal(statSync(folder).mode & 0o777, 0o700);
        // A socket's address has room for 107 bytes.
        assert.ok(path.basename(folder).length + "/999999.sock".length < 60);
    });

    it("is 0700 whatever the umask", () => {
        const umask = process.umask(0);
        try {
            assert.equal(statSync(path.dirname(tunnelSocketPath())).mode & 0o777, 0o700);
        } finally {
            process.umask(umask);
        }
    });

    it("goes with what is in it, and comes anew", () => {
        const first = tunnelSocketPath();
        writeFileSync(first, "");
        removeTunnelFolder();
        assert.deepEqual(readdirSync(base), []);
        removeTunnelFolder();
        assert.notEqual(path.dirname(tunnelSocketPath()), path.dirname(first));
    });

    it("removes those of processes that have ended, and no others", () => {
        const dead = leave(endedPid());
        const alive = leave(process.ppid);
        const others = ["pulumi-containerd-stack-AbCd12", "pulumi-containerd-1x-AbCd12", `x-${path.basename(dead)}`];
        for (const name of others) mkdirSync(path.join(base, name));
        tunnelSocketPath();
        assert.equal(existsSync(dead), false);
        assert.equal(existsSync(alive), true);
        for (const name of others) assert.equal(existsSync(path.join(base, name)), true, name);
    });

    it("goes when its process ends by itself", () => {
        const script = `require(${JSON.stringify(require.resolve("../../provider/transport/ssh/folder"))}).tunnelSocketPath()`;
        const ended = spawnSync(process.execPath, ["--import", "tsx", "-e", script], { encoding: "utf8" });
        assert.equal(ended.status, 0, ended.stderr);
        assert.deepEqual(
            readdirSync(base).filter((name) => name.startsWith("pulumi-containerd-")),
            [],
        );
    });
});
