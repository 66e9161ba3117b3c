/**
 * The logger on a node, started by real containerds: what reaches the files, and that nothing it meets stops the
 * application. What each container writes, and what the shell on the worker looks at, is the whole set-up.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { access, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { startWorker, type Worker } from "../../playground/worker";
import { LOG_URI, SCRIPT_ANNOTATION } from "../../provider/node/log-uri";
import { LoggedContainer, until } from "./logger-containers";

/**
 * Counts in a file and on stdout, ten times a second, until there is `/stop`. For `/flood` it writes a megabyte once and
 * puts the exit status into `/flooded`.
 */
const TICKER = `i=0
    until [ -e /stop ]; do
        i=$((i + 1)); echo $i >/ticks; echo tick $i; usleep 100000
        if [ -e /flood ]; then rm /flood; busybox seq 1 150000; echo $? >/flooded.new; busybox mv /flooded.new /flooded; fi
    done
    echo over`;
const exists = (file: string) =>
    access(file).then(
        () => true,
        () => false,
    );

for (const version of ["1.6", "2"] as const) {
    describe(`The logger on containerd ${version}`, function () {
        this.timeout(120_000);
        let worker: Worker;
        before(async () => {
            worker = await startWorker({ version });
        });
        after(() => worker?.stop());

        /** Starts a container and, after the test, leaves nothing of it. */
        async function started(
            ...args: ConstructorParameters<typeof LoggedContainer> extends [Worker, ...infer R] ? R : never
        ) {
            const container = new LoggedContainer(worker, ...args);
            await container.start();
            return container;
        }
        const ticks = async ({ root }: LoggedContainer) =>
            Number(await readFile(path.join(root, "ticks"), "utf8").catch(() => 0));
        async function ticksOn(container: LoggedContainer) {
            const before = await ticks(container);
            await until(`${container.name} goes on`, async () => (await ticks(container)) > before + 5);
        }
        const stop = ({ root }: LoggedContainer) => writeFile(path.join(root, "stop"), "");
        const size = async (file: string) =>
            Number((await worker.run('stat -c %s "$1" 2>/dev/null || echo -1', file)).trim());

        it("writes both streams at once, and ends with the task", async () => {
            const container = await started(
                "echo out; echo err >&2; printf 'no end'; until [ -e /stop ]; do usleep 50000; done; echo last",
            );
            await container.logs(/^(out\nerr\nno end|err\nout\nno end|out\nno enderr\n)$/);
            const stat = await worker.run('stat -c "%a %U" "$1" "$(dirname "$1")"', container.log);
            assert.equal(stat, "640 root\n750 root\n");
            assert.ok((await container.loggers()).length > 0);
            await stop(container);
            assert.equal(await container.finish(), 0);
            assert.match(await container.read(), /last\n$/);
            assert.deepEqual(await container.loggers(), []);
        });

        it("keeps bytes as they are", async () => {
            const data = Buffer.concat([
                Buffer.from("\0\n\r\n\xff\n\n"),
                randomBytes(300_000),
                Buffer.alloc(70_000, "x"),
            ]);
            const container = new LoggedContainer(worker, "busybox cat /tmp/data");
            await mkdir(path.join(container.root, "tmp"), { recursive: true });
            const file = path.join(container.root, "tmp/data");
            await writeFile(file, data);
            await container.start();
            assert.equal(await container.finish(), 0);
            await worker.run('cmp "$1" "$2"', container.log, file);
        });

        it("rotates what is written fast, losing nothing between the files", async () => {
            const container = await started("busybox seq 1 12000000", { log: { maxSize: 10 << 20, maxFiles: 3 } });
            assert.equal(await container.finish(), 0);
            const sizes = await Promise.all(["", ".1", ".2", ".3"].map((end) => size(container.log + end)));
            assert.deepEqual(sizes.slice(1), [10 << 20, 10 << 20, -1]);
            assert.ok(sizes[0] !== undefined && sizes[0] > 0 && sizes[0] <= 10 << 20, String(sizes));
            const kept = sizes.reduce((sum, n) => sum + Math.max(0, n), 0);
            await worker.run(
                'cat "$1.2" "$1.1" "$1" >"$3" && seq 1 12000000 | tail -c "$2" | cmp - "$3" && rm "$3"',
                container.log,
                String(kept),
                path.join(worker.dir, "kept"),
            );
        });

        it("keeps to small limits, and to one file", async () => {
            for (const [maxFiles, expected] of [
                [1, 1],
                [4, 4],
            ] as const) {
                const container = await started("busybox seq 1 2000", { log: { maxSize: 1000, maxFiles } });
                assert.equal(await container.finish(), 0);
                const found = (await worker.run('cd "$1/log" && stat -c %s -- *', container.folder)).trim().split("\n");
                assert.equal(found.length, expected);
                assert.ok(
                    found.every((n) => Number(n) <= 1000),
                    found.join(),
                );
            }
        });

        it("lets the application go on when the disk is full, and writes again when there is room", async () => {
            const container = new LoggedContainer(worker, `busybox seq 1 6500000; echo done >/written; ${TICKER}`);
            await worker.run('mkdir -p "$1" && mount -t tmpfs -o size=1m tmpfs "$1"', `${container.folder}/log`);
            await container.start();
            await until("the application has written it all", () => exists(path.join(container.root, "written")));
            await ticksOn(container);
            await worker.run('rm "$1"', container.log);
            await container.logs(/^\n\[pulumi-containerd: output since \S+Z is lost: [^\n]*\]\n[^]*^tick \d+\n/m);
            await stop(container);
            assert.equal(await container.finish(), 0);
            assert.match(await container.read(), /over\n$/);
            assert.deepEqual(await container.loggers(), []);
            await worker.run('umount "$1"', `${container.folder}/log`);
        });

        it("lets the application go on when the folder is read-only", async () => {
            const container = new LoggedContainer(worker, `busybox seq 1 300000; ${TICKER}`);
            const folder = `${container.folder}/log`;
            await worker.run('mkdir -p "$1" && mount -t tmpfs -o ro tmpfs "$1"', folder);
            await container.start();
            await ticksOn(container);
            await worker.run('mount -o remount,rw "$1"', folder);
            await container.logs(/is lost[^]*tick/);
            await stop(container);
            assert.equal(await container.finish(), 0);
            await worker.run('umount "$1"', folder);
        });

        it("lets the application go on when its folder vanishes, and doesn't make it again", async () => {
            const container = await started(`${TICKER}; busybox seq 1 300000`, { log: { maxSize: 100_000 } });
            await container.logs("tick 2");
            await worker.run('rm -r "$1"', container.folder);
            await ticksOn(container);
            await stop(container);
            assert.equal(await container.finish(), 0);
            await worker.run('[ ! -e "$1" ]', container.folder);
            assert.deepEqual(await container.loggers(), []);
        });

        it("keeps reading when any one of its parts is killed, so that the application goes on", async () => {
            // Two more in the first ten seconds.
            const parts = 9;
            // Small files, since a dd that has lost its parent would swallow what one of them holds.
            const log = { maxSize: 100_000 };
            const containers = Array.from({ length: parts }, () => new LoggedContainer(worker, TICKER, { log }));
            await Promise.all(
                containers.map(async (container, part) => {
                    await container.start();
                    await container.logs("tick 2");
                    let loggers = await container.loggers();
                    const nth = (all: unknown[]): number => Math.min(part, all.length - 1);
                    // Between two dd there is none for a moment, and the one seen may have ended.
                    await until(`part ${part} of ${parts} is killed`, async () => {
                        loggers = await container.loggers();
                        if (loggers.length < parts - 2) return false;
                        const killed = await worker.exec("kill", ["-9", loggers[nth(loggers)]?.pid ?? ""]);
                        return killed.code === 0;
                    });
                    // More than a pipe holds, so that it would block or break if nobody read.
                    await writeFile(path.join(container.root, "flood"), "");
                    await until("the flood is written", () => exists(path.join(container.root, "flooded")));
                    assert.equal(
                        await readFile(path.join(container.root, "flooded"), "utf8"),
                        "0\n",
                        loggers[nth(loggers)]?.command,
                    );
                    await ticksOn(container);
                    await stop(container);
                    assert.equal(await container.finish(), 0, `part ${part}, ${loggers[nth(loggers)]?.command}`);
                    await until("the logger ends", async () => (await container.loggers()).length === 0);
                }),
            );
        });

        it("goes on logging when cat and dd are killed", async () => {
            const container = await started(TICKER);
            await container.logs("tick 2");
            for (const { pid, command } of await container.loggers()) {
                if (command === "cat" || command === "dd") await worker.run('kill -9 "$1"', pid);
            }
            const seen = await ticks(container);
            await container.logs(`tick ${seen + 10}\n`);
            await stop(container);
            assert.equal(await container.finish(), 0);
            assert.match(await container.read(), /over\n$/);
        });

        it("is there again, with the same file, when the restart monitor starts the container anew", async () => {
            const labels = { "containerd.io/restart.status": "running", "containerd.io/restart.loguri": LOG_URI };
            const container = await started(`echo start; ${TICKER}`, { labels });
            await container.logs("tick 2");
            await container.kill();
            await container.logs(/start\n[^]*tick 2\n[^]*start\n[^]*tick 2\n/);
            await worker.ctr(
                "containers",
                "label",
                container.name,
                "containerd.io/restart.status=",
                "containerd.io/restart.loguri=",
            );
            await until(
                "the old logger has ended",
                async () => (await container.loggers()).filter((p) => p.command === "dd").length === 1,
            );
            await stop(container);
            assert.equal(await container.finish(), 0);
        });

        it("writes nothing with the driver none", async () => {
            const container = await started(`busybox seq 1 300000; ${TICKER}`, { log: { driver: "none" } });
            await ticksOn(container);
            await worker.run('[ ! -e "$1/log" ]', container.folder);
            await stop(container);
            assert.equal(await container.finish(), 0);
            assert.deepEqual(await container.loggers(), []);
        });

        it("writes what a terminal shows, and ends with the task", async () => {
            const container = await started("echo out; echo err >&2; tty; exit 3", { tty: true });
            assert.equal(await container.finish(), 3);
            await container.logs(/^out\r\nerr\r\n\/dev\/(pts\/0|console)\r\n$/);
            await until("the logger ends", async () => (await container.loggers()).length === 0);
        });

        it("isn't taken in by what stands in the environment, the annotations or a command", async () => {
            const script = Buffer.from("touch /run/taken-in; exec 5>&-").toString("base64");
            const evil = [
                `"${SCRIPT_ANNOTATION}":"${script}"`,
                `",{"${SCRIPT_ANNOTATION}":"${script}",`,
                "$(touch /run/taken-in)",
            ];
            const container = await started(`echo fine # ${evil.join(" ")}`, {
                env: evil.map((value, i) => `E${i}=${value}`),
                annotations: Object.fromEntries(evil.map((value) => [value, value])),
            });
            assert.equal(await container.finish(), 0);
            assert.equal(await container.read(), "fine\n");
            await worker.run("[ ! -e /run/taken-in ]");
        });

        it("keeps reading when it can't start processes any more", async () => {
            const container = await started(TICKER);
            await container.logs("tick 2");
            const loggers = await container.loggers();
            const pids = (name: string) => loggers.filter(({ command }) => command === name).map(({ pid }) => pid);
            // The group is the worker's own, so it ends with it, even if this test doesn't.
            const group = await worker.run(
                `group=/sys/fs/cgroup/pids/$1; [ -d /sys/fs/cgroup/pids ] || group=/sys/fs/cgroup/$1
                mkdir "$group"; shift
                for pid in "$@"; do echo "$pid" >"$group/cgroup.procs"; done
                echo 1 >"$group/pids.max"; echo "$group"`,
                `no-room-${container.name}`,
                ...pids("sh"),
            );
            await worker.run('kill -9 "$1"', pids("dd")[0] ?? "");
            await writeFile(path.join(container.root, "flood"), "");
            await until("the flood is written", () => exists(path.join(container.root, "flooded")));
            assert.equal(await readFile(path.join(container.root, "flooded"), "utf8"), "0\n");
            await stop(container);
            assert.equal(await container.finish(), 0);
            await until("the logger ends", async () => (await container.loggers()).length === 0);
            await worker.run('rmdir "$1"', group.trim());
        });

        it("breaks the application's pipe, but doesn't block it, when all parts are killed at once", async () => {
            const container = await started(TICKER);
            await container.logs("tick 2");
            const pids = (await container.loggers()).map(({ pid }) => pid);
            await worker.run('kill -9 "$@"', ...pids);
            // Process 1 of a container doesn't get the signal, only EPIPE; what it starts gets both.
            await ticksOn(container);
            await writeFile(path.join(container.root, "flood"), "");
            await until("the flood has ended", () => exists(path.join(container.root, "flooded")));
            assert.equal(await readFile(path.join(container.root, "flooded"), "utf8"), "141\n");
            await stop(container);
            await container.ended();
            await container.delete();
        });

        afterEach(() => rm(path.join(worker.dir, "kept"), { force: true }));
    });
}
