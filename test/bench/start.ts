/**
 * Row: from the request to a running process. Ours is what the provider does for a Container and a Task, in a new run each
 * time (connection, facts of the node, search for leftovers); the peer is `ctr run -d`, timed inside the worker.
 */
import type { Worker } from "../../playground/worker";
import { container } from "../../provider/lifecycle/container";
import { task } from "../../provider/lifecycle/task";
import { byRatio, interleaved, runs, timed, type Line } from "./measure";
import { create, NODE, runOn } from "./provider";

const RUNS = runs(15);
const LIMIT = 1.1;

/** Prints the milliseconds that a command takes: bash's own clock, because `date` would be a process more. */
const STOPWATCH =
    'start=$EPOCHREALTIME; "$@" >&2 || exit; end=$EPOCHREALTIME; echo $(((${end/./} - ${start/./}) / 10))';

/** `image` is pinned, and on the worker already: claimed in namespace `default`, and known to `ctr` under the same name. */
export async function starting(worker: Worker, image: { pinned: string; name: string }): Promise<Line[]> {
    let count = 0;
    const start = (network: "host" | "none") => async () => {
        const name = `bench-${++count}`;
        const owner = (type: string) => `urn:pulumi:bench::bench::pulumi-nodejs:dynamic/containerd:${type}::${name}`;
        const run = runOn(worker);
        const placed = {
            image: image.pinned,
            imageFrom: `${NODE}/default`,
            name,
            network,
            args: ["sleep", "infinity"],
        };
        const removals: (() => Promise<void>)[] = [];
        const milliseconds = await timed(async () => {
            const made = await create(run, container, { ...placed, owner: owner("Container") });
            const running = await create(run, task, {
                container: made.id,
                owner: owner("Task"),
                stop: { signal: "SIGKILL" },
            });
            removals.push(running.remove, made.remove);
        });
        for (const remove of removals) await remove();
        (await run.client(NODE, "default")).close();
        return milliseconds;
    };
    const ctr =
        (...options: string[]) =>
        async () => {
            const name = `peer-${++count}`;
            const command = ["ctr", "run", "-d", ...options, image.name, name, "sleep", "infinity"];
            const { code, stdout, stderr } = await worker.exec("bash", ["-c", STOPWATCH, "bash", ...command]);
            if (code !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
            await worker.run(
                'ctr task kill -s KILL "$1" && ctr task rm -f "$1" >/dev/null; ctr container rm "$1"',
                name,
            );
            return Number(stdout) / 100;
        };
    const samples = await interleaved(RUNS, {
        host: start("host"),
        hostPeer: ctr("--net-host"),
        hostConfined: ctr("--net-host", "--seccomp"),
        none: start("none"),
        nonePeer: ctr(),
        noneConfined: ctr("--seccomp"),
    });
    const line = (network: string, command: string, note?: string) => ({
        what: `start one container, network ${network}, on containerd ${worker.version}`,
        against: command,
        limit: LIMIT,
        note,
    });
    const unconfined = "this peer has no seccomp filter, which takes runc 15 to 20 ms; ours has Docker's.";
    return [
        byRatio(line("host", "ctr run -d --net-host", unconfined), samples.host, samples.hostPeer),
        byRatio(line("host", "ctr run -d --net-host --seccomp"), samples.host, samples.hostConfined),
        byRatio(line("none", "ctr run -d", unconfined), samples.none, samples.nonePeer),
        byRatio(line("none", "ctr run -d --seccomp"), samples.none, samples.noneConfined),
    ];
}
