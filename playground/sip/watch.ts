/** Watches from outside when a SIP proxy answers: for how long it is silent after a kill, a power loss, an update. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { ContainerdError } from "../../provider/errors";
import { endingWithUs } from "../system";
import type { Worker } from "../worker";

const POLL = 20;

/** Someone who asks a proxy by OPTIONS all the time, from one port. End it with `stop`. */
export class Watch {
    /** Times of the answers, in milliseconds since 1970. */
    readonly answers: number[] = [];

    private constructor(private readonly child: ChildProcess) {}

    /**
     * Begins to ask, and waits for the first answer. Throws `Timeout`.
     *
     * @param interval in milliseconds. Default: 50.
     */
    static async start(phones: Worker, proxy: string, interval = 50): Promise<Watch> {
        // Its text, not its path: the clone may lie where the phones' machine has something else.
        const program = await readFile(path.join(__dirname, "probe.mjs"), "utf8");
        const args = ["--input-type=module", "--eval", program, proxy, phones.ip, String(interval)];
        const [enter, enterArgs] = phones.enter("node", args);
        const [first = "", ...rest] = endingWithUs([enter, ...enterArgs]);
        // In a group of its own: nsenter, which it is behind, does not give signals on.
        const child = spawn(first, rest, {
            detached: true,
            stdio: ["ignore", "pipe", "inherit"],
            env: phones.environment(),
        });
        const watch = new Watch(child);
        createInterface({ input: child.stdout }).on("line", (line) => watch.answers.push(Number(line)));
        try {
            await watch.answered(Date.now());
        } catch (error) {
            watch.stop();
            throw error;
        }
        return watch;
    }

    /**
     * The time of the first answer at or after a time, both in milliseconds since 1970. Throws `Timeout`.
     *
     * @param patience in milliseconds. Default: a minute.
     */
    async answered(since: number, patience = 60_000): Promise<number> {
        const end = Date.now() + patience;
        for (;;) {
            const found = this.answers.find((time) => time >= since);
            if (found !== undefined) return found;
            if (Date.now() > end) throw new ContainerdError("Timeout", `no answer to OPTIONS in ${patience / 1000} s`);
            await sleep(POLL);
        }
    }

    /** The longest silence between two answers, from the last one before a time on, in milliseconds. */
    silence(since: number): number {
        const last = this.answers.findLastIndex((time) => time < since);
        const times = this.answers.slice(Math.max(0, last));
        return Math.max(0, ...times.slice(1).map((time, index) => time - (times[index] ?? time)));
    }

    /** Ends it. Can be called twice. */
    stop(): void {
        const { pid } = this.child;
        if (pid === undefined || this.child.exitCode !== null || this.child.signalCode !== null) return;
        try {
            process.kill(-pid, "SIGKILL");
        } catch {
            // It has ended meanwhile.
        }
    }
}
