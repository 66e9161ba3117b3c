/** What runs on a worker, as containerd lists it. */
import type { Worker } from "../../playground/worker";

/** A running process. */
export interface RunningTask {
    /** containerd's id of its container. */
    id: string;
    /** Process id on the worker. */
    pid: string;
}

/**
 * Running processes by their containers' names without the random suffix of an automatic name: `web`, and of a pod's member
 * `pod.member`. Of two that differ in the suffix alone it gives one: look once the older is gone.
 */
export async function runningTasks(worker: Worker): Promise<Record<string, RunningTask>> {
    const lines = (await worker.ctr("tasks", "ls")).trim().split("\n").slice(1);
    const rows = lines.map((line) => line.trim().split(/\s+/)).filter(([, , status]) => status === "RUNNING");
    return Object.fromEntries(rows.map(([id = "", pid = ""]) => [id.replace(/-[0-9a-f]{7}(?=\.|$)/, ""), { id, pid }]));
}

/** Runs a command in a running container; gives what it wrote. Throws `Failed` with what it said where it fails. */
export async function inside(worker: Worker, name: string, ...command: string[]): Promise<string> {
    const { [name]: task } = await runningTasks(worker);
    if (!task) throw new Error(`${name} does not run on ${worker.hostname}`);
    return worker.ctr("tasks", "exec", "--exec-id", `test-${execs++}`, task.id, ...command);
}

let execs = 0;
