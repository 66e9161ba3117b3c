/** Knows a process again: its number may be another's later, but not together with when it started. */
import { readFile, readdir } from "node:fs/promises";

/** A process, for good. */
export interface ProcessId {
    pid: number;
    /** When it started, in clock ticks since the machine booted. */
    startTime: string;
}

/** The fields of `/proc/PID/stat` after the command's name, which may hold anything; see proc(5). */
async function statFields(pid: number | string): Promise<string[]> {
    const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** A process that runs now; undefined when there is none (or only what its parent has not collected). */
export async function identify(pid: number): Promise<ProcessId | undefined> {
    const fields = await statFields(pid);
    const [state] = fields;
    const startTime = fields[19];
    return startTime === undefined || state === "Z" ? undefined : { pid, startTime };
}

/** Whether it still runs. */
export async function isAlive(id: ProcessId): Promise<boolean> {
    return (await identify(id.pid))?.startTime === id.startTime;
}

/** A child of a process; undefined when it has none. */
export async function childOf(parent: number): Promise<number | undefined> {
    for (const entry of await readdir("/proc")) {
        if (/^\d+$/.test(entry) && (await statFields(entry))[1] === String(parent)) return Number(entry);
    }
    return undefined;
}
