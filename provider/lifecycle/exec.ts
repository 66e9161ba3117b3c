/** Runs a command in a container that runs, and hears what it said. Source: containerd's Tasks service (`Exec`). */
import { randomBytes } from "node:crypto";
import { packJson } from "../containerd/anys";
import type { Client } from "../containerd/client";
import { readFiles, removeTree } from "../containerd/node-files";
import { hasCode } from "../errors";
import { containerFolder } from "../node/folders";
import { lastLines } from "../node/log-tail";
import { shellQuote } from "../node/shell";
import { exited } from "./process";
import { SIGKILL } from "./signals";

/** A killed command is gone in this time. Milliseconds. */
const KILLED_IN = 5_000;
/** The end of a command's output that is kept. Bytes. */
const OUTPUT = 65_536;

/**
 * Reads the output (fds 3 and 4) to its end, and says by closing 5 that it is ready; see `logger.sh.ts`. It is sent SIGTERM when the
 * process is deleted, but what is on its way then is still to be written. containerd's own `file://` loses one of the two streams of a
 * command that is quick.
 */
function loggerOf(folder: string): string {
    return [
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin; umask 077; trap '' TERM",
        `folder=${shellQuote(folder)}; mkdir -p "$folder"`,
        `exec 5>&-; { cat <&4 & cat <&3; wait; } | tail -c ${OUTPUT} >"$folder/output"`,
    ].join("\n");
}

/** How a command ended. */
export interface Ended {
    /** Exit status; undefined when its time was over, and it was killed. */
    status: number | undefined;
    /** The last lines of its output and errors; which of the two comes first is not known. */
    output: string;
}

/**
 * Runs a command with the user, environment and confinement of the container's process. What it writes goes to a file in the
 * container's folder on the node, which is gone when this returns.
 *
 * @param timeout milliseconds until it is killed
 *
 * Throws `NotFound` where the container's process does not run, `Failed` where the command cannot be started.
 */
export async function runInside(
    client: Client,
    name: string,
    args: readonly string[],
    timeout: number,
): Promise<Ended> {
    const { container } = await client.containers.get({ id: name });
    const spec = JSON.parse(Buffer.from(container?.spec?.value as Uint8Array).toString()) as { process: object };
    const exec_id = `exec-${randomBytes(6).toString("hex")}`;
    const folder = containerFolder(client.namespace, name);
    const stdout = `binary:///bin/sh?-c=${encodeURIComponent(loggerOf(`${folder}/${exec_id}`))}`;
    const id = { container_id: name, exec_id };
    const process = packJson("process", { ...spec.process, args, terminal: false });
    await client.tasks.exec({ ...id, stdout, stderr: stdout, spec: process });
    try {
        await client.tasks.start(id);
        const status = await exited(client, id, timeout);
        if (status === undefined) {
            await client.tasks.kill({ ...id, signal: SIGKILL }).catch(() => undefined); // it may just have ended
            await exited(client, id, KILLED_IN);
        }
        // Its logger has ended then, too.
        await client.tasks.deleteProcess(id);
        return { status, output: await outputIn(client, `${folder}/${exec_id}`) };
    } finally {
        await client.tasks.deleteProcess(id).catch(() => undefined); // it is already, or goes with the task at the latest
        await removeTree(client, folder, exec_id).catch((error) => {
            if (hasCode(error, "Unreachable")) throw error;
        });
    }
}

async function outputIn(client: Client, folder: string): Promise<string> {
    const [file] = await readFiles(client, folder);
    return file ? lastLines(file.content).join("\n") : "";
}
