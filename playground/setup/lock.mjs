/** One setup at a time on a machine, one demo at a time in a clone. */
import { spawn } from "node:child_process";
import { say } from "./run.mjs";

/**
 * Runs `work` while holding a lock on a file. util-linux's flock holds it, in a child that ends with us however we end: the
 * end of its stdin is the end of the lock.
 */
export async function withLock(file, what, work) {
    const holder = spawn("flock", [file, "sh", "-c", "echo locked; exec cat"], { stdio: ["pipe", "pipe", "inherit"] });
    const waiting = setTimeout(() => say(`waiting for another ${what} to end`), 1000);
    try {
        await new Promise((resolve, reject) => {
            holder.once("error", reject);
            holder.once("exit", () => reject(new Error(`cannot lock ${file}`)));
            holder.stdout.once("data", resolve);
        });
        clearTimeout(waiting);
        return await work();
    } finally {
        clearTimeout(waiting);
        holder.removeAllListeners("exit");
        holder.stdin.end();
    }
}
