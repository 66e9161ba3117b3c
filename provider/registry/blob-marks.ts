/**
 * Marks in the cache's folder that say which process downloads or reads a blob. A mark is an empty file whose name tells all:
 * the blob, the machine, the process (id and start time, as ids come again) and what it does. One whose process is gone counts
 * no more, so nobody waits for a killed process and nothing has to be taken away from one.
 */
import { createHash, randomBytes } from "node:crypto";
import { readlinkSync } from "node:fs";
import { open, readdir, readFile, rm, stat } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

/** What a process does with a blob. */
export type Doing = "download" | "read";

/** A mark that was found. */
export interface Mark {
    /** File name in the folder. */
    file: string;
    /** Name of the blob. */
    blob: string;
    doing: Doing;
    /** Set on this machine. */
    here: boolean;
}

/** A mark that is set; `remove` it when done. */
export interface OwnMark {
    file: string;
    remove(): Promise<void>;
}

const MARK = /^(sha\d+-[a-f0-9]+)\.([a-f0-9]{8})\.(\d+)-(\d+)\.[a-f0-9]+\.(download|read)$/;
/** Whether processes of other machines (the folder may be shared) still live can't be seen; their marks count so long, in milliseconds. */
const DAY = 24 * 60 * 60_000;

/** Tells the places apart in which a process id means the same process: machines, and containers on one. */
export const machine = createHash("sha256").update(`${os.hostname()} ${processNamespace()}`).digest("hex").slice(0, 8);

function processNamespace(): string {
    try {
        return readlinkSync("/proc/self/ns/pid");
    } catch {
        return ""; // Not Linux: there are none.
    }
}

/** Says what this process does with a blob. */
export async function setMark(folder: string, blob: string, doing: Doing): Promise<OwnMark> {
    const started = (await startOf(process.pid)) ?? "0";
    const file = `${blob}.${machine}.${process.pid}-${started}.${randomBytes(6).toString("hex")}.${doing}`;
    const mark = path.join(folder, file);
    await (await open(mark, "wx", 0o600)).close();
    return { file, remove: () => rm(mark, { force: true }) };
}

/** The marks of living processes. Those of dead ones are removed. */
export async function liveMarks(folder: string): Promise<Mark[]> {
    const live: Mark[] = [];
    for (const file of await readdir(folder)) {
        const [, blob = "", where, pid, started = "", doing] = MARK.exec(file) ?? [];
        if (!blob) continue;
        const here = where === machine;
        if (here ? await isAlive(Number(pid), started) : await isRecent(path.join(folder, file)))
            live.push({ file, blob, doing: doing as Doing, here });
        else await rm(path.join(folder, file), { force: true });
    }
    return live;
}

/**
 * The right to download a blob on this machine, as a mark; undefined while another process (or another cache of this one) has
 * it. Whoever wants it sets a mark first and looks for others' then, and takes it back if there are any. So of two at once at
 * least one sees the other; if both do, both try again. There is no lock that a dead process could leave locked.
 */
export async function tryToDownload(folder: string, blob: string): Promise<OwnMark | undefined> {
    const others = async (own?: OwnMark): Promise<boolean> =>
        (await liveMarks(folder)).some(
            (mark) => mark.here && mark.doing === "download" && mark.blob === blob && mark.file !== own?.file,
        );
    if (await others()) return undefined;
    const own = await setMark(folder, blob, "download");
    if (!(await others(own))) return own;
    await own.remove();
    return undefined;
}

async function isAlive(pid: number, started: string): Promise<boolean> {
    try {
        process.kill(pid, 0);
    } catch (error) {
        // Another user's process can't be signalled, but it is there.
        if (!(error instanceof Error && "code" in error && error.code === "EPERM")) return false;
    }
    const now = await startOf(pid);
    return now === undefined || now === started;
}

/** When a process began, in the kernel's ticks (proc(5), field 22 of `stat`); undefined where the system does not tell. */
async function startOf(pid: number): Promise<string | undefined> {
    const text = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => undefined);
    // The name of the program before it may hold spaces and parentheses.
    return text?.slice(text.lastIndexOf(")") + 2).split(" ")[19];
}

async function isRecent(file: string): Promise<boolean> {
    const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: 0 }));
    return Date.now() - mtimeMs < DAY;
}
