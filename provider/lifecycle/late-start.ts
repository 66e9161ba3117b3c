/**
 * Removes a container object so that no process can come back without it. The restart monitor reads the labels of all
 * containers in one go and starts later what it found: a start that was under way when its label was taken off goes on, and
 * once the object is gone, nobody can reach what it started.
 *
 * A start that is under way can be seen in one way only: its bundle's folder is there, so a second start is refused at once.
 * So we try one, of an object with the same name whose runtime does not exist, and which therefore can't start anything. Twice,
 * since where containerd can't remove a bundle any more (`bundle.ts`), the first attempt leaves one itself.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "../containerd/client";
import { ContainerdError, hasCode } from "../errors";
import { clearBundle, isBundleThere } from "./bundle";
import { finishDelete, stopProcess } from "./process";

/** A start hangs with a logger that does not get ready: it is waited for so long. Milliseconds. */
const PATIENCE = 60_000;
/** Most starts have come to their end after this, and what is left then is looked at on the node. Milliseconds. */
const SOON = 2_000;
const POLL = 100;

/**
 * Ends the process and puts in the object's place one that can't start anything; whoever calls deletes it ({@link deleteObject})
 * when all else is gone. `labels` say whose it is, should this be killed in between. False where somebody else took the name.
 * Throws `Timeout` for a start that does not end.
 */
export async function disarm(client: Client, name: string, labels: Record<string, string>): Promise<boolean> {
    const end = Date.now() + PATIENCE;
    const forgotten = Date.now() + SOON;
    for (;;) {
        await stopProcess(client, name, { signal: "SIGKILL", timeout: "0s" });
        await deleteObject(client, name);
        if (!(await takePlace(client, name, labels))) return false;
        if (!(await isStarting(client, name)) && !(await isStarting(client, name))) return true;
        if (Date.now() > end) {
            throw new ContainerdError(
                "Timeout",
                `containerd began to start container ${name} before it was removed, and does not come to an end with that: ` +
                    "try again, and restart containerd if that does not help",
                { node: client.node },
            );
        }
        await finishDelete(client, name);
        if (Date.now() > forgotten) await clearBundle(client, name);
        await sleep(POLL);
    }
}

/** An object of containerd's of which nothing can be started: it keeps a name, and what its labels say. Pure. */
export function inert(id: string, labels: Record<string, string>) {
    const spec = { type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec", value: Buffer.from("{}") };
    return { id, labels, runtime: { name: "io.containerd.pulumi-none.v1" }, spec };
}

/** Makes an object of that name; false where somebody else has just done so. */
async function takePlace(client: Client, name: string, labels: Record<string, string>): Promise<boolean> {
    try {
        await client.containers.create({ container: inert(name, labels) });
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
        if (hasCode(error, "Failed")) return isBundleThere(error);
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
