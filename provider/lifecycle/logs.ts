/** The last words of a container, for error messages. */
import type { Client } from "../containerd/client";
import { readFiles } from "../containerd/node-files";
import { containerFolder, logFile } from "../node/folders";
import { lastLines } from "../node/log-tail";

const LINES = 20;

/** The last lines that a container wrote; empty where there are none, or none can be read. Never throws: it serves an error. */
export async function lastLogLines(client: Client, name: string): Promise<string> {
    const file = logFile(containerFolder(client.namespace, name));
    const slash = file.lastIndexOf("/");
    try {
        // A file that was just rotated is empty: the last lines are in the one before.
        const names = [`${file.slice(slash + 1)}.1`, file.slice(slash + 1)];
        const files = await readFiles(client, file.slice(0, slash), (path) => names.includes(path));
        const inOrder = names.flatMap((name) =>
            files.filter(({ path }) => path === name).map(({ content }) => content),
        );
        return lastLines(Buffer.concat(inOrder), LINES).join("\n");
    } catch (error) {
        return `(its log could not be read: ${error instanceof Error ? error.message : String(error)})`;
    }
}

/** A sentence about a process, and its last words below it. */
export function withLog(sentence: string, log: string): string {
    // Below somebody else's last words.
    const more = sentence.includes("\n");
    if (!log.trim()) return more ? `${sentence}\nThe container itself wrote nothing` : `${sentence}. It wrote nothing`;
    const indented = log
        .trimEnd()
        .split("\n")
        .map((line) => `    ${line}`)
        .join("\n");
    return more
        ? `${sentence}\nThe container's own last lines:\n${indented}`
        : `${sentence}. Its last lines:\n${indented}`;
}
