/** Times commands where they run: without what entering a worker takes. */
import type { Worker } from "../../playground/worker";

/** Prints the milliseconds that a command takes: bash's own clock, because `date` would be a process more. */
const STOPWATCH =
    'start=$EPOCHREALTIME; "$@" >&2 || exit; end=$EPOCHREALTIME; echo $(((${end/./} - ${start/./}) / 10))';

/** When a command is given up, in milliseconds. */
const LIMIT = 10 * 60_000;

/** Milliseconds that a command takes on a worker. Throws with what it said when it fails. */
export async function timedOn(worker: Worker, command: readonly string[]): Promise<number> {
    const { code, stdout, stderr } = await worker.exec("bash", ["-c", STOPWATCH, "bash", ...command], {
        timeout: LIMIT,
    });
    if (code !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
    return Number(stdout) / 100;
}
