/** Small deeds on this machine that the workers need: control groups, mounts, signals, waiting. */
import { readFile, stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ContainerdError } from "../provider/errors";
import { output } from "./process";

/** How long something may take to start or to end, in milliseconds. */
export const PATIENCE = 30_000;
const POLL = 25;

/** Removes a group and the groups below it from every hierarchy of control groups. They hold no processes any more. */
export async function removeCgroups(name: string): Promise<void> {
    const mounts = await readFile("/proc/self/mountinfo", "utf8");
    for (const line of mounts.split("\n")) {
        const point = line.split(" ")[4];
        if (!point || !/ - cgroup2? /.test(line)) continue;
        const group = path.join(point, name);
        if (!(await exists(group))) continue;
        // A group is a folder that goes by rmdir, whatever files it shows; the innermost first.
        await output("find", [group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
    }
}

/** Unmounts what is mounted below a folder on this machine: `rm` must not walk into it. */
export async function unmountBelow(folder: string): Promise<void> {
    const mounts = await readFile("/proc/self/mountinfo", "utf8");
    const points = mounts.split("\n").map((line) => line.split(" ")[4] ?? "");
    const below = points.filter((point) => point === folder || point.startsWith(`${folder}/`));
    for (const point of below.reverse()) await output("umount", ["--lazy", point]);
}

/** Sends a signal; a process that has ended meanwhile is no failure. */
export function signal(pid: number, name: NodeJS.Signals): void {
    try {
        process.kill(pid, name);
    } catch {
        // It has ended meanwhile.
    }
}

/** Whether a file is there. */
export function exists(file: string): Promise<boolean> {
    return stat(file).then(
        () => true,
        () => false,
    );
}

/** Waits until something holds. Throws `Timeout` when it does not in half a minute. */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + PATIENCE;
    while (!(await holds())) {
        if (Date.now() > end) throw new ContainerdError("Timeout", `waited ${PATIENCE / 1000} s until ${what}`);
        await sleep(POLL);
    }
}
