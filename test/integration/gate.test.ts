/**
 * The gate in front of real starts, on both versions of containerd: what it refuses and with which words, that nothing is left of
 * a refused start, and what the restart monitor makes of it all.
 */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { startWorker, type Worker } from "../../playground/worker";
import { refusal } from "../../provider/node/gate.sh";
import { FRESH_LOG_URI, logUri } from "../../provider/node/log-uri";
import { census } from "../helpers/census";
import { LoggedContainer, type Options, until } from "./logger-containers";

const REFUSALS = process.env.TEST_LONG === "1" ? 100 : 20;
const STATUS = "containerd.io/restart.status";
const LOG = "containerd.io/restart.loguri";

for (const version of ["1.6", "2"] as const) {
    describe(`The gate on containerd ${version}`, function () {
        this.timeout(180_000);
        let worker: Worker;
        const containers: LoggedContainer[] = [];
        before(async () => {
            worker = await startWorker({ version, restartInterval: "500ms" });
        });
        after(() => worker?.stop());
        afterEach(async () => {
            for (const container of containers.splice(0)) await container.remove();
        });

        function made(script: string, options: Options = {}): LoggedContainer {
            const container = new LoggedContainer(worker, script, { logUri: FRESH_LOG_URI, ...options });
            containers.push(container);
            return container;
        }
        /** Under the monitor's eyes. */
        function watched(script: string, policy?: string, options: Options = {}): LoggedContainer {
            const labels = { [STATUS]: "running", [LOG]: logUri({ policy }) };
            return made(script, { labels, logUri: logUri({ policy, fresh: true }), ...options });
        }
        async function network(script: string): Promise<string> {
            const file = path.join(worker.dir, `network-${Math.random()}.sh`);
            await writeFile(file, script);
            return file;
        }
        /** What the gate said; fails where the start did not. */
        async function refused(start: Promise<void>): Promise<string> {
            const error = await start.then(
                () => undefined,
                (reason: unknown) => reason,
            );
            assert.ok(error instanceof Error, "it started");
            return refusal(error.message) ?? assert.fail(error.message);
        }
        const runs = async ({ root }: LoggedContainer): Promise<number> =>
            (await readFile(path.join(root, "runs"), "utf8").catch(() => "")).split("\n").length - 1;
        const known = async ({ folder }: LoggedContainer): Promise<string[]> =>
            (await worker.run('cat "$1/starts"', folder)).trim().split(" ");
        const RUN = "echo run >>/runs";

        it("lets start what has its network, ensured in a process of its own before the start", async () => {
            const file = await network(
                'cat >"$0.in"; for fd in 3 4 5; do [ ! -e /proc/$$/fd/$fd ] || echo $fd; done >"$0.fds"; echo "$@" >"$0.args"; seq 1 150000; sleep 0.2; touch "$0.done"',
            );
            const container = made(`${RUN}; sleep 1000`, { network: file });
            await container.start();
            assert.equal(await readFile(`${file}.args`, "utf8"), "ensure\n");
            assert.equal(await readFile(`${file}.in`, "utf8"), "");
            assert.equal(await readFile(`${file}.fds`, "utf8"), "", "it has the streams");
            await readFile(`${file}.done`);
            const { folder, bundle } = container;
            assert.equal((await worker.run('stat -c %s "$1/ensure.log"', bundle)).trim(), "4096");
            assert.equal((await known(container))[2], "1");
            assert.equal(await worker.run('ls "$1"', folder), "log\nstarts\n");
        });

        const failing: [what: string, script: string, says: string][] = [
            [
                "fails",
                'echo begun; echo "port 80 is taken: it\'s \\"web\\"  \\033"; echo; exit 3',
                'port 80 is taken: it\'s "web"',
            ],
            ["says nothing", "exit 3", "its network could not be ensured: status 3"],
            ["is killed", "kill -9 $$", "its network was not ensured within 20 s, or killed, and said last: Killed"],
            ["prints without end", "yes", "y"],
            ["prints 1 MB in one line", "head -c 1000000 /dev/zero | tr '\\0' x; exit 1", "x".repeat(300)],
        ];
        for (const [what, script, says] of failing) {
            it(`refuses the start when the network's script ${what}`, async () => {
                const before = await census(worker);
                const container = made(`${RUN}; sleep 1000`, { network: await network(script) });
                assert.equal(await refused(container.start()), says);
                assert.equal(await runs(container), 0);
                await containers.pop()?.remove();
                await until("its logger has ended", async () => (await container.loggers()).length === 0);
                assert.deepEqual(await census(worker), before);
            });
        }

        it("refuses the start when the network's script is gone", async () => {
            const container = made("true", { network: "/var/lib/nowhere/it's.sh" });
            assert.equal(
                await refused(container.start()),
                "the script of its network is gone: /var/lib/nowhere/it's.sh",
            );
        });

        it("starts another container again while a network's script hangs", async () => {
            const file = await network('[ ! -e "$0.hang" ] || { echo "waits for a lock"; sleep 1000; }');
            const hanging = watched(`${RUN}; sleep 1000`, undefined, { network: file });
            const other = watched(`${RUN}; sleep 1000`);
            await hanging.start();
            await other.start();
            await writeFile(`${file}.hang`, "");
            await hanging.kill();
            await until(
                "the script hangs",
                async () => (await worker.exec("pgrep", ["-f", `${file} ensure`])).code === 0,
            );
            const killed = Date.now();
            await other.kill();
            await until("the other runs again", async () => (await runs(other)) === 2);
            console.log(`        the other was back after ${Date.now() - killed} ms`);
            await until("the reason is told", async () => {
                return /not ensured within 20 s, or killed, and said last: waits for a lock/.test(
                    await readFile(worker.log, "utf8"),
                );
            });
            await worker.run('rm "$1"', `${file}.hang`);
            await until("it runs too", async () => (await runs(hanging)) === 2);
        });

        it("holds off what ends at once, and never a start by us", async () => {
            const container = made(`${RUN}; exit 1`);
            await container.start();
            let said: string | undefined;
            while (said === undefined) {
                await container.endTask();
                try {
                    await container.startAgain();
                } catch (error) {
                    said = refusal((error as Error).message) ?? assert.fail(String(error));
                }
            }
            const [, times] =
                /^back off: ended (\d+) times in a row within 10 s of its start, next start in \d+ s$/.exec(said) ?? [];
            assert.equal(Number(times), await runs(container));
            assert.ok(Number(times) >= 3, `${times} starts`);
            await container.startAgain(FRESH_LOG_URI);
            await container.endTask();
            assert.equal((await known(container))[2], "1");
            await container.startAgain();
            await container.endTask();
            assert.equal((await known(container))[2], "2");
        });

        it("counts from nothing when it has run for ten seconds, but not when it has ended", async () => {
            const [long, short] = [made(`${RUN}; sleep 1000`), made(`${RUN}; exit 1`)];
            await long.start();
            await short.start();
            await until("the long one has come up", async () => (await known(long))[2] === "0");
            await until(
                "the short one's watch is over",
                async () => (await worker.exec("pgrep", ["-x", "sleep"])).stdout.split("\n").length <= 3,
            );
            assert.equal((await known(short))[2], "1");
        });

        it(`leaves nothing of ${REFUSALS} refused starts, and does nothing for them`, async () => {
            const file = await network('echo ensured >>"$0.runs"');
            const container = made(`${RUN}; exit 1`, { network: file });
            await container.start();
            await container.endTask();
            const log = await worker.run('stat "$1"', container.log);
            const [boot = ""] = await known(container);
            const before = await census(worker);
            const began = Date.now();
            for (let i = 0; i < REFUSALS; i++) {
                const [now = ""] = (await worker.run("cat /proc/uptime")).split(" ");
                await worker.run('printf "%-119s\\n" "$2" >"$1/starts"', container.folder, `${boot} ${now} 40 0`);
                assert.match(await refused(container.startAgain()), /^back off: ended 40 times .* in (60|5\d) s$/);
            }
            console.log(`        ${Math.round((Date.now() - began) / REFUSALS)} ms each`);
            await until("the loggers have ended", async () => (await container.loggers()).length === 0);
            assert.deepEqual(await census(worker), before);
            assert.equal(await runs(container), 1);
            assert.equal(await readFile(`${file}.runs`, "utf8"), "ensured\n");
            assert.equal(await worker.run('stat "$1"', container.log), log);
        });

        it("is opened by a boot", async () => {
            const container = watched(`${RUN}; [ -e /crash ] || sleep 1000`);
            await container.start();
            await writeFile(path.join(container.root, "crash"), "");
            await container.kill();
            await until("it is held off", async () => Number((await known(container))[2]) >= 5);
            await worker.run('rm "$1"', path.join(container.root, "crash"));
            await worker.kill();
            await worker.boot();
            await until("it runs", async () => (await container.status()) === "RUNNING");
            assert.equal((await known(container))[2], "1");
        });

        it("on-failure: leaves alone what ended with 0, and tells the monitor", async () => {
            const container = watched(`${RUN}; exit 0`, "on-failure:0");
            await container.start();
            await until("the monitor is told", async () => (await container.labels())[STATUS] === "stopped");
            assert.equal(await runs(container), 1);
            // The start that was refused told the monitor. A containerd that ends before that start does may keep a task of it.
            await until(
                "the refused start is over",
                async () => (await worker.exec("test", ["-e", container.bundle])).code !== 0,
            );
            await worker.restartContainerd();
            assert.equal(await container.status(), "");
            // Ours is another matter. The monitor is called off first, as by the product: it would end what is only created.
            await worker.ctr("containers", "label", container.name, `${STATUS}=`);
            await container.startAgain(logUri({ policy: "on-failure:0", fresh: true }));
            await until("it ran again", async () => (await runs(container)) === 2);
        });

        it("on-failure:2: starts again two times what fails, and then no more", async () => {
            const container = watched(`${RUN}; sleep 0.1; exit 3`, "on-failure:2");
            await container.start();
            await until("the monitor is told", async () => (await container.labels())[STATUS] === "stopped");
            assert.equal(await runs(container), 3);
            await until("the reason is told", async () => {
                const said = await readFile(worker.log, "utf8");
                return said.includes("failed 3 times, last with status 3, and restarts on-failure:2 only");
            });
        });

        it("on-failure: a kill is a failure, and power loss is not counted", async () => {
            const container = watched(`${RUN}; sleep 1000`, "on-failure:1");
            await container.start();
            await worker.kill();
            await worker.boot();
            await until(
                "it runs",
                async () => (await container.status()) === "RUNNING" && (await runs(container)) === 2,
            );
            await container.kill();
            await until("it runs again", async () => (await runs(container)) === 3);
            await container.kill();
            await until("the monitor is told", async () => (await container.labels())[STATUS] === "stopped");
            assert.equal(await runs(container), 3);
        });

        it("on-failure: is refused where the node has no perl", async () => {
            const perl = (await worker.run("command -v perl")).trim();
            await worker.run('mount --bind /dev/null "$1"', perl);
            try {
                const container = made("true", { logUri: logUri({ policy: "on-failure:1", fresh: true }) });
                assert.equal(await refused(container.start()), "restart: on-failure:1 needs perl on the node");
            } finally {
                await worker.run('umount "$1"', perl);
            }
        });

        it("leaves stopped what was stopped by us, also when containerd starts anew", async () => {
            const [container, other] = [watched(`${RUN}; sleep 1000`), watched(`${RUN}; sleep 1000`)];
            await container.start();
            await other.start();
            await worker.ctr("containers", "label", container.name, `${STATUS}=`, `${LOG}=`);
            await container.kill();
            await container.endTask();
            await worker.stopContainerd();
            await worker.startContainerd();
            await other.kill();
            await until("the monitor has looked", async () => (await runs(other)) === 2);
            assert.equal(await runs(container), 1);
            assert.equal(await container.status(), "");
        });
    });
}
