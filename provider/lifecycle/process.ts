/** The process of a container: started, looked at, stopped. Used by the Task, and by the Container whose change needs a restart. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "../containerd/client";
import { ContainerdError, hasCode } from "../errors";
import { FRESH_LOG_URI } from "../node/log-uri";
import { clearBundle, isBundleThere } from "./bundle";
import { parseDuration } from "./check/units";
import { IMAGE_STOP_SIGNAL, LABEL } from "./ownership";
import { RESTART_LABELS } from "./restart";
import { SIGKILL, signalNumber } from "./signals";

/** A logger that never gets ready hangs `Tasks.Create`. Milliseconds. */
const CREATE_TIMEOUT = 60_000;
/** After SIGKILL only a process stuck in the kernel remains. Milliseconds. */
const KILL_TIMEOUT = 15_000;
/** How long a start of the restart monitor's may be under way, unseen. Milliseconds. */
const LATE_START = 15_000;
const LATE_START_PAUSE = 100;
export const DEFAULT_GRACE = "10s";

/** A container's record, as containerd gives it. */
export type Container = NonNullable<Awaited<ReturnType<Client["containers"]["get"]>>["container"]>;

/** What a process is at. */
export interface ProcessState {
    status: "created" | "running" | "stopped" | "paused";
    /** Of a stopped one. */
    exitStatus: number;
}

/** How the container's process is doing; undefined where it has none. */
export async function processState(client: Client, name: string): Promise<ProcessState | undefined> {
    try {
        const { process } = await client.tasks.get({ container_id: name });
        const status = (process?.status ?? "UNKNOWN").toLowerCase();
        if (status === "unknown" || !process) return undefined;
        return {
            status: status === "pausing" ? "paused" : (status as ProcessState["status"]),
            exitStatus: process.exit_status,
        };
    } catch (error) {
        if (hasCode(error, "NotFound")) return undefined;
        throw error;
    }
}

/**
 * Starts the container's process, where none lies there. `known`: its record, where it was just read; `logUri`: of `freshUri`,
 * where its restart policy may be one that the gate keeps.
 */
export async function startProcess(
    client: Client,
    name: string,
    known?: Container,
    logUri = FRESH_LOG_URI,
): Promise<void> {
    const container = known ?? (await client.containers.get({ id: name })).container;
    if (!container) throw new ContainerdError("NotFound", `no container ${name}`, { node: client.node });
    const { mounts } = await client.snapshots.mounts({
        snapshotter: container.snapshotter,
        key: container.snapshot_key,
    });
    const request = {
        container_id: name,
        rootfs: mounts,
        stdout: logUri,
        stderr: logUri,
        terminal: wantsTerminal(container),
    };
    try {
        await createTask(client, request);
    } catch (error) {
        await removeTask(client, name).catch(() => undefined); // the start's own error says more
        throw error;
    }
    try {
        await client.tasks.start({ container_id: name });
    } catch (error) {
        await stopProcess(client, name, { signal: "SIGKILL", timeout: "0s" }).catch(() => undefined); // as above
        throw error;
    }
}

/**
 * A start of the monitor's that was under way when it was called off may have come first, and may not be seen yet: then again,
 * until it is there to be ended. Throws `AlreadyExists` or `Failed` where that takes too long.
 */
async function createTask(client: Client, request: Parameters<Client["tasks"]["create"]>[0]): Promise<void> {
    const name = request.container_id ?? "";
    const end = Date.now() + LATE_START;
    for (;;) {
        try {
            await client.tasks.create(request, { timeout: CREATE_TIMEOUT });
            return;
        } catch (error) {
            if (!(hasCode(error, "AlreadyExists") || isBundleThere(error)) || Date.now() > end) throw error;
            if (isBundleThere(error)) await clearBundle(client, name);
        }
        await stopProcess(client, name, { signal: "SIGKILL", timeout: "0s" });
        await finishDelete(client, name);
        await sleep(LATE_START_PAUSE);
    }
}

/** Whether its process is to have a terminal. */
export function wantsTerminal({ spec }: Pick<Container, "spec">): boolean {
    if (!spec) return false;
    const { process } = JSON.parse(Buffer.from(spec.value).toString() || "{}") as { process?: { terminal?: boolean } };
    return process?.terminal ?? false;
}

/** Signal and grace of a stop. */
export interface Stop {
    signal?: string;
    /** Like `10s`. */
    timeout?: string;
}

/** How a container wants to be stopped, by its labels: the Task's word first, then the image's. */
export function stopOf(labels: Record<string, string>): Stop {
    return {
        signal: labels[LABEL.stopSignal] || labels[IMAGE_STOP_SIGNAL],
        timeout: labels[LABEL.stopTimeout] || undefined,
    };
}

/**
 * Stops the container's process and removes what is left of it; fine when there is none. The restart monitor is called off
 * first, and looked for again at the end, because a start of its may have been under way. `known`: the container's labels,
 * where they were just read.
 */
export async function stopProcess(
    client: Client,
    name: string,
    stop: Stop,
    known?: Record<string, string>,
): Promise<void> {
    const monitored = await callOffMonitor(client, name, known);
    const attempts = monitored ? 3 : 1;
    for (let attempt = 0; attempt < attempts; attempt++) {
        const state = await processState(client, name);
        if (!state) {
            if (attempt > 0 || !monitored) return;
            continue;
        }
        if (state.status !== "stopped") await end(client, name, state, stop);
        await removeTask(client, name);
    }
}

/** Whether it ended in time; one that is gone did. */
async function hasEnded(client: Client, name: string, timeout: number): Promise<boolean> {
    try {
        return (await exited(client, { container_id: name }, timeout)) !== undefined;
    } catch (error) {
        if (hasCode(error, "NotFound")) return true;
        throw error;
    }
}

async function end(client: Client, name: string, state: ProcessState, stop: Stop): Promise<void> {
    if (state.status === "paused") await client.tasks.resume({ container_id: name });
    const signal = signalNumber(stop.signal ?? "SIGTERM") ?? 15;
    const grace = parseDuration(stop.timeout ?? DEFAULT_GRACE) ?? 0;
    if (state.status === "running" && signal !== SIGKILL && grace > 0) {
        if (!(await kill(client, name, signal))) return;
        if (await hasEnded(client, name, grace)) return;
    }
    await kill(client, name, SIGKILL, true);
    if (!(await hasEnded(client, name, KILL_TIMEOUT))) {
        throw new ContainerdError(
            "Timeout",
            `the process of container ${name} did not end ${KILL_TIMEOUT / 1000} s after SIGKILL: it hangs in the node's kernel (a dead disk or network mount?)`,
            { node: client.node },
        );
    }
}

/** Takes the monitor's labels off. True where there were any. */
async function callOffMonitor(client: Client, name: string, known?: Record<string, string>): Promise<boolean> {
    try {
        const labels = known ?? (await client.containers.get({ id: name })).container?.labels ?? {};
        const keys = RESTART_LABELS.filter((key) => labels[key] !== undefined);
        if (keys.length === 0) return false;
        await setLabels(client, name, Object.fromEntries(keys.map((key) => [key, ""])));
        return true;
    } catch (error) {
        if (hasCode(error, "NotFound")) return false;
        throw error;
    }
}

/** Sends a signal; false where nobody is left to get it. */
async function kill(client: Client, name: string, signal: number, all = false): Promise<boolean> {
    try {
        await client.tasks.kill({ container_id: name, signal, all });
        return true;
    } catch (error) {
        if (hasCode(error, "NotFound")) return false;
        throw error;
    }
}

/** Which process: a container's own, or with `exec_id` one that was added to it. */
export interface ProcessId {
    container_id: string;
    exec_id?: string;
}

/**
 * The exit status, once there is one; undefined when the time (milliseconds) is over before. The time is kept here and not as
 * the call's deadline, because containerd has that too, and answers late ones in several ways. Throws `NotFound` when there
 * is no such process any more, and its status is lost.
 */
export async function exited(client: Client, id: ProcessId, timeout: number): Promise<number | undefined> {
    const overdue = AbortSignal.timeout(timeout);
    try {
        const { exit_status } = await client.tasks.wait(id, { timeout: Infinity, signal: overdue });
        return exit_status;
    } catch (error) {
        if (overdue.aborted) return undefined;
        throw error;
    }
}

const SHIM_GONE_ATTEMPTS = 5;

/** Removes what is left of a process that ended; its log is complete then. */
export async function removeTask(client: Client, name: string): Promise<void> {
    for (let attempt = 1; ; attempt++) {
        try {
            await client.tasks.delete({ container_id: name }, { timeout: CREATE_TIMEOUT });
            return;
        } catch (error) {
            if (hasCode(error, "NotFound")) return;
            // The monitor deleted it at the same moment, and its shim has ended: asked again, containerd knows that.
            if (attempt === SHIM_GONE_ATTEMPTS || !/ttrpc: closed/.test((error as Error).message)) throw error;
            await sleep(LATE_START_PAUSE);
        }
    }
}

/**
 * Goes on with a delete that was cut off in the middle (its connection was lost): the shim knows of no process any more, so that
 * none is seen, but containerd still keeps its id. What is there to be seen is left alone. Source: `shimTask.delete` of
 * containerd, which says that such a delete is to be called again.
 */
export async function finishDelete(client: Client, name: string): Promise<void> {
    try {
        await removeTask(client, name);
    } catch (error) {
        // It runs: a start has come first.
        if (!hasCode(error, "Failed", "Conflict")) throw error;
    }
}

/** Sets some labels of a container and leaves the others; an empty value removes one. */
export async function setLabels(client: Client, name: string, labels: Record<string, string>): Promise<void> {
    const paths = Object.keys(labels).map((key) => `labels.${key}`);
    if (paths.length === 0) return;
    await client.containers.update({ container: { id: name, labels }, update_mask: { paths } });
}
