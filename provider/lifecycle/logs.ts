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
        const [current] = await readFiles(client, file.slice(0, slash), (path) => path === file.slice(slash + 1));
        return current ? lastLines(current.content, LINES).join("\n") : "";
    } catch (error) {
        return `(its log could not be read: ${error instanceof Error ? error.message : String(error)})`;
    }
}

/** A sentence about a process, and its last words below it. */
export function withLog(sentence: string, log: string): string {
    if (!log.trim()) return `${sentence}. It wrote nothing`;
    const indented = log
        .trimEnd()
        .split("\n")
        .map((line) => `    ${line}`)
        .join("\n");
    return `${sentence}. Its last lines:\n${indented}`;
}
