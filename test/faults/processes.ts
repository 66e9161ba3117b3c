/** The processes of one run of the engine: which of them is the provider, and whether it is gone. */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "../../playground/worker";

/** What runs the provider's own JavaScript, as the SDK starts it. */
const PROVIDER = /dynamic-provider/;

/** Parent and command of a process; undefined when it is gone, or only waits to be collected. */
function look(pid: number): { parent: number; command: string } | undefined {
    try {
        const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
        const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        if (state === "Z") return undefined;
        return { parent: Number(parent), command: readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ") };
    } catch {
        return undefined;
    }
}

/**
 * The provider's process among the descendants of an engine; undefined before it is started. Read synchronously, because
 * nothing may happen between the call that is judged and the kill.
 */
export function providerOf(engine: number): number | undefined {
    const all = new Map<number, { parent: number; command: string }>();
    for (const entry of readdirSync("/proc")) {
        const found = /^\d+$/.test(entry) ? look(Number(entry)) : undefined;
        if (found) all.set(Number(entry), found);
    }
    for (const [pid, { command }] of all) {
        // Not the shell between the two, which has the script's path among its arguments as well.
        if (!PROVIDER.test(command) || !/node\S* /.test(command)) continue;
        for (let at = all.get(pid)?.parent; at !== undefined && at > 1; at = all.get(at)?.parent) {
            if (at === engine) return pid;
        }
    }
    return undefined;
}

/** Whether a process is gone, or will be within a time (milliseconds). */
export async function endsWithin(pid: number, time: number): Promise<boolean> {
    const end = Date.now() + time;
    while (look(pid)) {
        if (Date.now() > end) return false;
        await sleep(20);
    }
    return true;
}

/**
 * Stops or continues the containerd of a worker. What started it (`nsenter`) stops itself together with its child, and has to
 * be continued too: else nobody would collect the child in the end.
 */
export function signalContainerd(config: string, signal: "SIGSTOP" | "SIGCONT"): void {
    for (const entry of readdirSync("/proc")) {
        const command = /^\d+$/.test(entry) ? (look(Number(entry))?.command ?? "") : "";
        if (!command.includes(`${config} `)) continue;
        const isContainerd = /^\S*containerd --config/.test(command);
        if (isContainerd || signal === "SIGCONT") process.kill(Number(entry), signal);
    }
}

/** Of a machine's processes those of sshd: the one that listens, and those that serve connections. */
const SIGNAL_SSHD = `
for folder in /proc/[0-9]*; do
    [ "$(cat "$folder/comm" 2>/dev/null)" != sshd ] || kill -s "$1" "\${folder#/proc/}"
done`;

/** Stops or continues all of a worker's sshd, and what started it, see {@link signalContainerd}. */
export async function signalSshd(worker: Worker, signal: "STOP" | "CONT"): Promise<void> {
    await worker.run(SIGNAL_SSHD, signal);
    if (signal === "STOP") return;
    const [, [, init = ""]] = worker.enter("true", []);
    for (const entry of readdirSync("/proc")) {
        const command = /^\d+$/.test(entry) ? (look(Number(entry))?.command ?? "") : "";
        if (command.startsWith(`nsenter --target ${init} `) && command.includes("sshd -D")) {
            process.kill(Number(entry), "SIGCONT");
        }
    }
}
