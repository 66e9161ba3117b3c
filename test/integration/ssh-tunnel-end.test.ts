/**
 * The local end of a tunnel: who may open it is root on the worker. So it lives in a folder that is its user's alone, which goes
 * with the run, and after a kill with the next one.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { UpdateResult } from "../../playground/stack";
import { ClusterScene } from "../e2e/cluster-scene";
import { failed, succeeded, told } from "../e2e/scene";
import { providerOf } from "../faults/processes";
import { unlock } from "../faults/runs";
import { skip } from "../helpers/skip";

/** Keeps an `up` busy until it is told to end. */
const BUSY = `
const container = new containerd.Container("busy", {
    node: "node-1",
    image: new pulumi.Config("test").require("image"),
    network: "none",
    args: ["sh", "-c", "while [ ! -e /go/on ]; do sleep 0.1; done"],
    mounts: { "/go": { bind: "/var/lib/playground" } },
});
new containerd.Task("busy", { container, once: true });
`;

const FOLDER = /^pulumi-containerd-\d+-/;
/** Of nobody's. */
const OTHER_USER = "65534";

describe("the local end of a tunnel", function () {
    this.timeout(180_000);
    let scene: ClusterScene;
    /** The run's TMPDIR, which everybody may enter. */
    let temporary: string;
    before(async function () {
        for (const tool of ["setpriv", "socat"]) {
            if (spawnSync(tool, ["--version"]).error) skip(this, `${tool} is not installed`);
        }
        temporary = mkdtempSync(path.join(tmpdir(), "tunnel-end-"));
        chmodSync(temporary, 0o755);
        scene = await ClusterScene.open([{ version: "2" }]);
    });
    after(async () => {
        await scene?.close();
        if (temporary) rmSync(temporary, { recursive: true, force: true });
    });

    const folders = () => readdirSync(temporary).filter((name) => FOLDER.test(name));

    /** The socket of a run that is under way. */
    async function socketOf(running: Promise<UpdateResult>): Promise<string> {
        let over = "";
        void running.then((result) => (over = told(result)));
        for (;;) {
            for (const name of folders()) {
                const [socket] = readdirSync(path.join(temporary, name));
                if (socket) return path.join(temporary, name, socket);
            }
            assert.equal(over, "", "the run is over, and there was no socket");
            await sleep(50);
        }
    }

    /** Whether a user can connect to a socket. */
    function connects(user: string, socket: string): boolean {
        const args = ["--reuid", user, "--regid", user, "--clear-groups", "socat", "-u", "OPEN:/dev/null"];
        return spawnSync("setpriv", [...args, `UNIX-CONNECT:${socket}`], { timeout: 10_000 }).status === 0;
    }

    const go = (on: boolean) => scene.cluster.worker("node-1").run(`${on ? "touch" : "rm -f"} /var/lib/playground/on`);

    it("is open to its own user alone, and goes with the run", async () => {
        await go(false);
        const stack = await scene.stack(BUSY, { env: { TMPDIR: temporary } });
        const running = stack.up();
        const socket = await socketOf(running);
        const folder = path.dirname(socket);
        try {
            assert.equal(statSync(folder).mode & 0o777, 0o700);
            assert.equal(connects("0", socket), true);
            assert.equal(connects(OTHER_USER, socket), false, "another user gets through");
            // It is the folder that keeps others out, and nothing else by chance.
            chmodSync(folder, 0o755);
            chmodSync(socket, 0o777);
            assert.equal(connects(OTHER_USER, socket), true);
            chmodSync(folder, 0o700);
        } finally {
            await go(true);
        }
        succeeded(await running);
        assert.deepEqual(folders(), []);
        succeeded(await stack.destroy());
        assert.deepEqual(folders(), []);
    });

    it("is removed by the next run when the provider was killed", async () => {
        await go(false);
        const stack = await scene.stack(BUSY, { env: { TMPDIR: temporary } });
        let engine = 0;
        const running = stack.up([], { onStart: (pid) => (engine = pid) });
        const socket = await socketOf(running);
        const provider = providerOf(engine);
        assert.ok(provider);
        process.kill(provider, "SIGKILL");
        failed(await running);
        assert.ok(existsSync(socket), "nothing was left by the kill: this test shows nothing");
        await go(true);
        await unlock(stack);
        succeeded(await stack.up());
        assert.equal(existsSync(socket), false);
        succeeded(await stack.destroy());
        assert.deepEqual(folders(), []);
    });
});
