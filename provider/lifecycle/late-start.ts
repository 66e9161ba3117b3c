/**
 * Removes a container object so that no process can come back without it. The restart monitor reads the labels of all
 * containers in one go and starts later what it found: a start that was under way when its label was taken off goes on, and
 * once the object is gone, nobody can reach what it started.
 *
 * A start that is under way can be seen in one way only: its bundle's folder is there, so a second start is refused at once.
 * So we try one, of an object with the same name whose runtime does not exist, and which therefore can't start anything.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "../containerd/client";
import { ContainerdError, hasCode } from "../errors";
import { finishDelete, stopProcess } from "./process";

const NO_RUNTIME = "io.containerd.pulumi-none.v1";
const SPEC = { type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec", value: Buffer.from("{}") };
/** A start hangs with a logger that does not get ready: it is waited for so long. Milliseconds. */
const PATIENCE = 60_000;
const POLL = 100;

/**
 * Ends the process and puts in the object's place one that can't start anything; whoever calls deletes it ({@link deleteObject})
 * when all else is gone. `labels` say whose it is, should this be killed in between. False where somebody else took the name.
 * Throws `Timeout` for a start that does not end.
 */
export async function disarm(client: Client, name: string, labels: Record<string, string>): Promise<boolean> {
    const end = Date.now() + PATIENCE;
    for (;;) {
        await stopProcess(client, name, { signal: "SIGKILL", timeout: "0s" });
        await deleteObject(client, name);
        if (!(await takePlace(client, name, labels))) return false;
        if (!(await isStarting(client, name))) return true;
        if (Date.now() > end) {
            throw new ContainerdError(
                "Timeout",
                `containerd began to start container ${name} before it was removed, and does not come to an end with that: ` +
                    "try again, and restart containerd if that does not help",
                { node: client.node },
            );
        }
        await finishDelete(client, name);
        await sleep(POLL);
    }
}

/** Makes an object of that name; false where somebody else has just done so. */
async function takePlace(client: Client, name: string, labels: Record<string, string>): Promise<boolean> {
    try {
        await client.containers.create({ container: { id: name, labels, runtime: { name: NO_RUNTIME }, spec: SPEC } });
        return true;
    } catch (error) {
        if (hasCode(error, "AlreadyExists")) return false;
        throw error;
    }
}

async function isStarting(client: Client, name: string): Promise<boolean> {
    try {
        await client.tasks.create({ container_id: name, rootfs: [] });
        return true;
    } catch (error) {
        if (hasCode(error, "AlreadyExists")) return true;
        if (hasCode(error, "Failed")) return /file exists/.test(error.reason);
        throw error;
    }
}

/** Deletes a container object; one that is gone is fine. */
export async function deleteObject(client: Client, name: string): Promise<void> {
    try {
        await client.containers.delete({ id: name });
    } catch (error) {
        if (!hasCode(error, "NotFound")) throw error;
    }
}
