/** Tasks: health, exits, jobs, restart policies, how they are stopped, and what `up` says when one does not do its work. */
import assert from "node:assert/strict";
import { freePort } from "../../playground/registry";
import type { Stack } from "../../playground/stack";
import type { ContainerdVersion } from "../../playground/worker";
import { type Census, census } from "../helpers/census";
import { eventually, failed, rewrite, Scene, succeeded, told, unchanged } from "./scene";

for (const version of ["1.6", "2"] satisfies ContainerdVersion[]) {
    describe(`task: on containerd ${version}`, function () {
        this.timeout(180_000);
        let scene: Scene;
        let stack: Stack;
        let empty: Census;
        let port: number;
        before(async () => {
            scene = await Scene.open(version);
            empty = await census(scene.worker);
            port = await freePort();
            stack = await scene.stack("");
        });
        after(() => scene?.close());
        afterEach(async () => {
            await rewrite(stack, "");
            succeeded(await stack.up());
            await scene.holdsOnly(empty);
        });

        /** A container that runs a script, and its task. */
        function service(name: string, script: string, taskArgs = "", containerArgs = ""): string {
            return `new containerd.Task("${name}", {
                container: new containerd.Container("${name}", {
                    image: "${scene.busybox}", network: "host", entrypoint: ["sh", "-c", ${JSON.stringify(script)}], ${containerArgs}
                }),
                ${taskArgs}
            });\n`;
        }

        /** What does not depend on containerd's version. */
        const onModern = (title: string, test: () => Promise<void>): void => {
            if (version === "2") it(title, test);
        };

        const sleeps = "trap 'exit 0' TERM; sleep infinity & wait";

        /** The task's outputs and reasons in the state. */
        async function record(
            name: string,
        ): Promise<{ ready?: unknown; status?: unknown; exitCode?: unknown; reasons: string[] }> {
            const { deployment } = await stack.exportState();
            const found = deployment.resources?.find(({ urn }) => urn.endsWith(`containerd:Task::${name}`));
            const { ready, status, exitCode } = found?.outputs ?? {};
            return { ready, status, exitCode, reasons: found?.initErrors ?? [] };
        }

        it("waits for health by command, by HTTP and by connection", async () => {
            const other = await freePort();
            await rewrite(
                stack,
                service("exec", `sleep 1; touch /healthy; ${sleeps}`, 'health: { exec: ["test", "-e", "/healthy"] }') +
                    service(
                        "http",
                        `mkdir /w; echo fine >/w/ok; sleep 1; exec httpd -f -p 127.0.0.1:${port} -h /w`,
                        `stop: { signal: "KILL" }, health: { http: { port: ${port}, path: "/ok", status: 200 } }`,
                    ) +
                    service(
                        "tcp",
                        `sleep 1; exec nc -ll -p ${other} -e cat`,
                        `stop: { signal: "KILL" }, health: { tcp: { port: ${other} } }`,
                    ),
            );
            const up = succeeded(await stack.up());
            assert.equal(up.changes.length, 6);
            for (const name of ["exec", "http", "tcp"]) {
                assert.deepEqual(await record(name), {
                    ready: true,
                    status: "running",
                    exitCode: undefined,
                    reasons: [],
                });
            }
            assert.equal((await fetch(`http://127.0.0.1:${port}/ok`)).status, 200);
            unchanged(await stack.refresh(["--expect-no-changes"]));
            unchanged(await stack.up(["--expect-no-changes"]));
        });

        onModern(
            "fails where it does not get healthy, with the reason and the last lines, and the next up mends it",
            async () => {
                const program = (health: string): string =>
                    service(
                        "sick",
                        `echo starting up >&2; echo cannot find my database >&2; ${sleeps}`,
                        `health: { ${health}, interval: "100ms", startPeriod: "500ms", retries: 2, timeout: "2s" }`,
                    );
                await rewrite(stack, program(`tcp: { port: ${port} }`));
                const said = failed(await stack.up());
                assert.match(said, new RegExp(`health: .*runs, but is not healthy: no connection to port ${port}`));
                assert.match(said, /Its last lines:\s+starting up\s+cannot find my database/);
                const recorded = await record("sick");
                assert.deepEqual([recorded.ready, recorded.status], [false, "running"]);
                assert.match(recorded.reasons.join(), /not healthy/);
                const pid = (await scene.pids())["sick"];

                // It waits again, and fails again: nothing became better by itself.
                const again = await stack.up();
                assert.match(failed(again), /not healthy/);
                assert.deepEqual(again.changes, ["sick: update"]);

                // Also when a refresh in between has cleared the engine's mark.
                succeeded(await stack.refresh());
                assert.deepEqual((await stack.preview()).changes, ["sick: update"]);

                await rewrite(stack, program('exec: ["true"]'));
                const mended = succeeded(await stack.up());
                assert.deepEqual(mended.changes, ["sick: update"]);
                assert.deepEqual(await record("sick"), {
                    ready: true,
                    status: "running",
                    exitCode: undefined,
                    reasons: [],
                });
                assert.equal((await scene.pids())["sick"], pid, "the same process");
            },
        );

        onModern("says how a process ended that should run, and its last lines", async () => {
            await rewrite(stack, service("dies", "echo one; echo last words; exit 3", 'restart: "no"'));
            const said = failed(await stack.up());
            assert.match(said, /ended with exit status 3/);
            assert.match(said, /Its last lines:\s+one\s+last words/);
            await rewrite(
                stack,
                service("dies", "echo one; echo last words; exit 3", 'restart: "no", health: { exec: ["false"] }'),
            );
            assert.match(failed(await stack.up()), /ended with exit status 3.*last words/s);
        });

        onModern("takes no process that ended for one that runs, even with status 0: that is a job", async () => {
            const short = (args: string): string => service("short", "echo all done", args);
            await rewrite(stack, short('restart: "no"'));
            assert.match(
                failed(await stack.up()),
                /ended with exit status 0.* job.*`once: true`.*Its last lines:\s+all done/s,
            );
            const { reasons, ...recorded } = await record("short");
            assert.deepEqual(recorded, { ready: false, status: "stopped", exitCode: undefined });
            assert.match(reasons.join(), /exit status 0/);
            // State, read and diff agree: it is not there, and each up tries again.
            succeeded(await stack.refresh());
            assert.deepEqual(await record("short"), { ...recorded, reasons: [] });
            assert.deepEqual((await stack.preview()).changes, ["short: update"]);
            assert.match(failed(await stack.up()), /ended with exit status 0/);
            await rewrite(stack, short("once: true"));
            succeeded(await stack.up());
            assert.deepEqual(await record("short"), { ready: true, status: "stopped", exitCode: 0, reasons: [] });
            unchanged(await stack.up(["--expect-no-changes"]));
        });

        onModern("asks for health in a refresh as often as `retries` says", async () => {
            const health = (retries: number): string => `health: { interval: "100ms", retries: ${retries},
                exec: ["sh", "-c", "test ! -e /sick && if rm /flaky 2>/dev/null; then exit 1; fi"] }`;
            const program = (retries: number): string => service("web", `touch /up; ${sleeps}`, health(retries));
            const inside = async (script: string): Promise<string> => {
                const { web } = await scene.containers();
                const id = `look-${Math.random().toString(36).slice(2)}`;
                return scene.worker.ctr("tasks", "exec", "--exec-id", id, web!, "sh", "-c", script);
            };
            await rewrite(stack, program(2));
            succeeded(await stack.up());
            await inside("touch /flaky");
            unchanged(await stack.refresh(["--expect-no-changes"]));
            assert.doesNotMatch(await inside("ls /"), /flaky/, "it was asked, and failed once");

            await rewrite(stack, program(1));
            succeeded(await stack.up());
            await inside("touch /flaky");
            assert.deepEqual(succeeded(await stack.refresh()).changes, ["web: update"]);
            assert.deepEqual([(await record("web")).ready, (await record("web")).status], [false, "running"]);
            succeeded(await stack.up());

            await rewrite(stack, program(3));
            succeeded(await stack.up());
            await inside("touch /sick");
            assert.deepEqual(succeeded(await stack.refresh()).changes, ["web: update"]);
            await inside("rm /sick");
            assert.deepEqual(succeeded(await stack.up()).changes, ["web: update"]);
            assert.equal((await record("web")).ready, true);
        });

        onModern("says that a command does not exist, and leaves no process", async () => {
            await rewrite(stack, service("typo", "").replace('"sh"', '"shh"'));
            const said = failed(await stack.up());
            assert.match(said, /there is no command shh in the image: see the Container's `entrypoint`/);
            assert.deepEqual(await scene.pids(), {});
            assert.deepEqual((await census(scene.worker)).tasks, []);
            assert.deepEqual((await census(scene.worker)).processes, []);
        });

        onModern(
            "runs jobs: exit status 0 stays, triggers run it anew, another status fails with the last lines",
            async () => {
                const job = (triggers: string, script = "echo ran >>/srv/runs"): string =>
                    service(
                        "job",
                        script,
                        `once: true, triggers: [${triggers}]`,
                        'mounts: { "/srv": { bind: "/run/job" } }',
                    ) + "";
                await scene.worker.run("mkdir -p /run/job");
                const runs = async (): Promise<number> =>
                    (await scene.worker.run("cat /run/job/runs")).split("\n").filter(Boolean).length;
                await rewrite(stack, job("1"));
                succeeded(await stack.up());
                assert.deepEqual(await record("job"), { ready: true, status: "stopped", exitCode: 0, reasons: [] });
                assert.equal(await runs(), 1);
                unchanged(await stack.refresh(["--expect-no-changes"]));
                unchanged(await stack.up(["--expect-no-changes"]));
                assert.equal(await runs(), 1);

                await rewrite(stack, job("2"));
                assert.deepEqual(
                    succeeded(await stack.up()).changes.filter((change) => change.endsWith("replace")),
                    ["job: replace"],
                );
                assert.equal(await runs(), 2);

                await rewrite(stack, job("2", "echo migrating >&2; echo no such table >&2; exit 4"));
                const said = failed(await stack.up());
                assert.match(said, /ended with exit status 4/);
                assert.match(said, /migrating\s+no such table/);
                await rewrite(stack, job("2"));
                succeeded(await stack.up());
                assert.equal(await runs(), 3);
                await scene.worker.run("rm -r /run/job");
            },
        );

        it("comes back after it died, as its restart policy says", async () => {
            await rewrite(stack, service("always", sleeps) + service("never", sleeps, 'restart: "no"'));
            // Without health a process that runs is enough: nothing is waited for (terraform-provider-docker#595).
            succeeded(await stack.up());
            const before = await scene.pids();
            const ids = await scene.containers();
            for (const name of ["always", "never"])
                await scene.worker.ctr("tasks", "kill", "-s", "SIGKILL", ids[name]!);
            await eventually("the monitor starts it", async () => {
                const { always } = await scene.pids();
                return always !== undefined && always !== before["always"];
            });
            assert.equal((await scene.pids())["never"], undefined);
            // What came back by itself is no drift; what did not is, and up starts it.
            assert.deepEqual(succeeded(await stack.refresh()).changes, ["never: update"]);
            const up = succeeded(await stack.up());
            assert.deepEqual(up.changes, ["never: update"]);
            assert.notEqual((await scene.pids())["never"], undefined);
        });

        it("starts what failed again as often as on-failure says", async () => {
            await rewrite(stack, service("fails", "sleep 0.3; echo again; exit 1", 'restart: "on-failure:2"'));
            succeeded(await stack.up());
            const { fails } = await scene.containers();
            await eventually("it is started twice more", async () => {
                return (await scene.logOf(fails!)).split("again").length === 4;
            });
            await new Promise((resolve) => setTimeout(resolve, 3_000));
            assert.equal((await scene.logOf(fails!)).split("again").length, 4, "and not again");
        });

        it(version === "2" ? "restarts what has a terminal" : "refuses to restart what has a terminal", async () => {
            await rewrite(stack, service("tty", sleeps, "", "tty: true"));
            if (version === "2") {
                succeeded(await stack.up());
                return;
            }
            assert.match(
                failed(await stack.up()),
                /restart: the restart monitor of containerd 1\.6\S* cannot start a container that has a terminal/,
            );
            assert.deepEqual(await scene.pids(), {});
        });

        onModern("stops by the Task's signal and grace, and kills what does not listen", async () => {
            const script = (signal: string): string =>
                `trap 'echo got ${signal} >>/srv/stops; exit 0' ${signal}; echo up; while :; do sleep 0.1; done`;
            const mount = 'mounts: { "/srv": { bind: "/run/stops" } }';
            await scene.worker.run("mkdir -p /run/stops");
            await rewrite(
                stack,
                service("default", script("TERM"), "", mount) +
                    service("usr1", script("USR1"), 'stop: { signal: "SIGUSR1", timeout: "20s" }', mount) +
                    service("deaf", "trap '' TERM; while :; do sleep 0.1; done", 'stop: { timeout: "500ms" }'),
            );
            succeeded(await stack.up());
            const ids = await scene.containers();
            for (const name of ["default", "usr1"]) {
                await eventually(`${name} is up`, async () => (await scene.logOf(ids[name]!)).includes("up"));
            }
            succeeded(await stack.destroy());
            const stops = (await scene.worker.run("cat /run/stops/stops; rm -r /run/stops")).trim().split("\n").sort();
            assert.deepEqual(stops, ["got TERM", "got USR1"]);
        });

        onModern("gives a wanted stop its grace: the monitor's kill does not come first", async () => {
            const program = (desired: string): string =>
                service(
                    "slow",
                    "trap 'sleep 2; echo goodbye >>/srv/last; exit 0' TERM; touch /srv/up; while :; do sleep 0.1; done",
                    `desired: "${desired}", stop: { timeout: "30s" }`,
                    'mounts: { "/srv": { bind: "/run/slow" } }',
                );
            await scene.worker.run("mkdir -p /run/slow");
            await rewrite(stack, program("running"));
            succeeded(await stack.up());
            await eventually("its trap stands", async () => {
                return (await scene.worker.run("ls /run/slow")).includes("up");
            });
            await rewrite(stack, program("stopped"));
            assert.deepEqual(succeeded(await stack.up()).changes, ["slow: update"]);
            assert.equal(await scene.worker.run("cat /run/slow/last; rm -r /run/slow"), "goodbye\n");
            assert.deepEqual(await scene.pids(), {});
            assert.deepEqual(await record("slow"), {
                ready: true,
                status: "stopped",
                exitCode: undefined,
                reasons: [],
            });
        });

        onModern("tells once of a Container that no Task runs, on its row", async () => {
            await rewrite(
                stack,
                `const idle = (name) => new containerd.Container(name, { image: "${scene.busybox}", network: "none" });
                idle("idle"); new containerd.Task("used", { container: idle("used"), once: true });`.replace(
                    'network: "none"',
                    'network: "none", args: ["true"]',
                ),
            );
            for (const result of [succeeded(await stack.up()), succeeded(await stack.up(["--expect-no-changes"]))]) {
                const notices = result.diagnostics.filter(({ message }) => message.includes("no Task stands"));
                assert.deepEqual(
                    notices.map(({ severity, message, urn }) => [
                        severity,
                        message,
                        urn?.split("::").slice(2).join("::"),
                    ]),
                    [
                        [
                            "info",
                            "nothing runs in it: no Task stands on the Container idle",
                            "pulumi-nodejs:dynamic/containerd:Container::idle",
                        ],
                    ],
                );
            }
        });

        it("starts a process that ctr stopped again: an update, not a replacement (terraform-provider-docker#211)", async () => {
            const program = (desired: string): string =>
                service("web", sleeps, `desired: "${desired}"`) + service("bystander", sleeps);
            await rewrite(stack, program("running"));
            succeeded(await stack.up());
            const { bystander } = await scene.pids();
            const { web } = await scene.containers();
            await rewrite(stack, program("stopped"));
            assert.deepEqual(succeeded(await stack.up()).changes, ["web: update"]);
            assert.deepEqual(await record("web"), { ready: true, status: "stopped", exitCode: undefined, reasons: [] });

            // A wanted stop stays one (nerdctl#5153): the monitor, proven to be at work by the other one, leaves it.
            await scene.worker.ctr("tasks", "kill", "-s", "SIGKILL", (await scene.containers())["bystander"]!);
            await eventually("the monitor has looked", async () => {
                const pids = await scene.pids();
                return pids["bystander"] !== undefined && pids["bystander"] !== bystander;
            });
            assert.equal((await scene.pids())["web"], undefined);
            unchanged(await stack.refresh(["--expect-no-changes"]));
            unchanged(await stack.up(["--expect-no-changes"]));

            await rewrite(stack, program("running"));
            const up = succeeded(await stack.up());
            assert.deepEqual(up.changes, ["web: update"], told(up));
            assert.equal((await scene.containers())["web"], web);
            assert.notEqual((await scene.pids())["web"], undefined);
        });
    });
}
