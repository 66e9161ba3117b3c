/** Small deeds on this machine that the workers need: control groups, mounts, signals, waiting. */
import { readFile, readdir, rmdir, stat } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ContainerdError } from "../provider/errors";
import { run } from "./process";

/** How long something may take to start or to end, in milliseconds. */
export const PATIENCE = 30_000;
const POLL = 25;

/**
 * Removes a group and the groups below it from every hierarchy of control groups, and ends what runs in them. Other
 * processes may do the same at the same time.
 */
export async function removeCgroups(name: string): Promise<void> {
    const mounts = await readFile("/proc/self/mountinfo", "utf8");
    for (const line of mounts.split("\n")) {
        const point = line.split(" ")[4];
        if (!point || !/ - cgroup2? /.test(line)) continue;
        await removeGroup(path.join(point, name));
    }
}

/** A group is a folder that goes by rmdir, whatever files it shows; the innermost first. */
async function removeGroup(group: string): Promise<void> {
    const entries = await readdir(group, { withFileTypes: true }).catch(unlessGone);
    for (const entry of entries ?? []) if (entry.isDirectory()) await removeGroup(path.join(group, entry.name));
    // Its last process is not always gone when its parent has heard of its end; and one may be left of a start that was killed.
    await until(`the control group ${group} is empty`, async () => {
        try {
            await rmdir(group).catch(unlessGone);
            return true;
        } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== "EBUSY") throw error;
        }
        const processes = await readFile(path.join(group, "cgroup.procs"), "utf8").catch(() => "");
        // 0 is a process that cannot be seen from here, and for kill(2) the caller's own group.
        for (const pid of processes.split("\n").map(Number)) if (pid > 0) signal(pid, "SIGKILL");
        return false;
    });
}

function unlessGone(error: NodeJS.ErrnoException): undefined {
    if (error.code !== "ENOENT") throw error;
}

/** Unmounts what is mounted below a folder on this machine: `rm` must not walk into it. Others may do the same meanwhile. */
export async function unmountBelow(folder: string): Promise<void> {
    for (const point of (await mountsBelow(folder)).reverse()) {
        const { code, stderr } = await run("umount", ["--lazy", point], {});
        if (code !== 0 && (await mountsBelow(folder)).includes(point)) {
            throw new ContainerdError("Failed", `umount ${point}: ${stderr.trim()}`);
        }
    }
}

async function mountsBelow(folder: string): Promise<string[]> {
    const mounts = await readFile("/proc/self/mountinfo", "utf8");
    const points = mounts.split("\n").map((line) => line.split(" ")[4] ?? "");
    return points.filter((point) => point === folder || point.startsWith(`${folder}/`));
}

/**
 * A command that is killed when this process ends, however that ends: also when it has ended before the kernel was asked for
 * that. Its process id is that of the whole.
 */
export function endingWithUs(command: readonly string[]): string[] {
    const unlessOrphan = '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"';
    return [
        ...["setpriv", "--pdeathsig", "KILL"],
        ...["/bin/sh", "-c", unlessOrphan, "sh", String(process.pid)],
        ...command,
    ];
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
