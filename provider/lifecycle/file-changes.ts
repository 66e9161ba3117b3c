/**
 * A container's files on its node: written when it is made, renewed when their contents change, and what the running process is
 * told then. A file that does not restart the process is changed in place: the process finds the new content at the same path.
 */
import { isDeepStrictEqual } from "node:util";
import type { Client } from "../containerd/client";
import { type FileToWrite, removeTree, writeFiles } from "../containerd/node-files";
import { ContainerdError, hasCode } from "../errors";
import { runOnNode } from "../node/command";
import { containerFolder } from "../node/folders";
import { OVERWRITE, STAGED } from "../node/overwrite.sh";
import { filePaths, type NodeFile, scratchFolders } from "../spec/files";
import type { ContainerInputs, FileInputs } from "../spec/inputs";
import { scratchHome } from "../spec/sandbox";
import { parseDuration } from "./check/units";
import { formatPath } from "./check/validate";
import { runInside } from "./exec";
import { withLog } from "./logs";
import { processState } from "./process";
import { signalNumber } from "./signals";

/** The files of a container's, whose contents are filled in (`self`). */
type OfFiles = Pick<ContainerInputs, "files" | "secrets">;

/** What a running process is told of its changed files, and the path of the first one for whose sake. */
export type Notice = { path: string } & ({ signal: string; exec?: never } | { exec: string[]; signal?: never });

/** How long `exec` may take where the option `customTimeouts` says nothing. Milliseconds. */
const EXEC_TIMEOUT = 60_000;
/** Milliseconds. */
const OVERWRITE_TIMEOUT = 60_000;

/** Whether the process has to start anew to see its files. Pure. */
export function needsRestart(olds: OfFiles, news: OfFiles): boolean {
    if (!isDeepStrictEqual(olds.secrets ?? {}, news.secrets ?? {})) return true;
    return changedPaths(olds, news).some((path) => {
        const [before, after] = [olds.files?.[path], news.files?.[path]];
        // What is mounted is not changed while it runs.
        if (before === undefined || after === undefined) return true;
        return after.onChange !== "none" && typeof after.onChange !== "object";
    });
}

/** What the running process is told, in the order of the paths, and each thing once; nothing where it starts anew. Pure. */
export function noticesOf(olds: OfFiles, news: OfFiles): Notice[] {
    if (needsRestart(olds, news)) return [];
    const notices: Notice[] = [];
    for (const path of changedPaths(olds, news)) {
        const onChange = news.files?.[path]?.onChange;
        if (typeof onChange !== "object") continue;
        const known = notices.some(({ signal, exec }) =>
            "signal" in onChange ? signal === onChange.signal : isDeepStrictEqual(exec, onChange.exec),
        );
        if (!known) notices.push({ path, ...onChange });
    }
    return notices;
}

/** Paths of the files that are not what they were, sorted. Another `onChange` is none of the file's. */
function changedPaths(olds: OfFiles, news: OfFiles): string[] {
    const [before, after] = [olds.files ?? {}, news.files ?? {}];
    const paths = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
    return paths.filter((path) => !isDeepStrictEqual(plain(before[path]), plain(after[path])));
}

/** A file without what is absent in it. */
function plain(file: FileInputs | undefined): object | undefined {
    if (typeof file !== "object") return file;
    const entries = Object.entries({ ...file, onChange: undefined });
    return Object.fromEntries(entries.filter(([, value]) => value !== undefined && value !== null));
}

/**
 * Writes the files of a container that is being made, and makes the folders of its `scratch` mounts. `more`: what else is to lie
 * in its folder.
 */
export async function writeContainerFiles(
    client: Client,
    inputs: ContainerInputs,
    more: readonly FileToWrite[] = [],
): Promise<void> {
    const folder = containerFolder(inputs.namespace, inputs.name);
    const shared = scratchHome(inputs, folder) !== folder;
    if (shared) await makeSharedScratch(client, inputs);
    const files = [...filePaths(inputs, folder), ...(shared ? [] : scratchFolders(inputs, folder)), ...more];
    if (files.length) await writeFiles(client, folder, files);
}

/** What other members have made of a folder of the pod's is left as it is: only what is missing is made. */
async function makeSharedScratch(client: Client, inputs: ContainerInputs): Promise<void> {
    const folders = scratchFolders(inputs, scratchHome(inputs, "")).map(({ path }) => path);
    if (folders.length === 0) return;
    const script = 'for d; do [ -d "$d" ] || { mkdir -p "$d" && chmod 777 "$d"; } || exit 1; done';
    await runOnNode(client, script, folders);
}

/** A container's arguments as they were and as they are to be. */
export interface Renewal {
    olds: ContainerInputs;
    news: ContainerInputs;
    /** Fills in what the arguments leave open until the container is made (`withSelf`). */
    fill: (inputs: ContainerInputs) => ContainerInputs;
}

/**
 * Makes the files on the node into what is wanted: new ones where the process starts anew, so that nobody sees any of it before;
 * else in place, where a process that runs sees it at once. Call {@link tellOfFiles} after it, when all else is done. `more`: what
 * else is to lie in the container's folder, as new files.
 */
export async function renewContainerFiles(
    client: Client,
    renewal: Renewal,
    more: readonly FileToWrite[] = [],
): Promise<void> {
    const { olds, news, fill } = renewal;
    const folder = containerFolder(news.namespace, news.name);
    // What was filled in may be another by now, so it counts as changed where it is looked at without.
    const changed = changedFiles(folder, olds, fill(news));
    const anew = needsRestart(olds, news);
    const fresh = [...(anew ? changed : []), ...more];
    if (fresh.length) await writeFiles(client, folder, fresh);
    if (!anew) await overwriteFiles(client, folder, changed);
    const wanted = new Set([...filePaths(fill(news), folder), ...more].map(({ path }) => path));
    for (const { path } of filePaths(olds, folder)) {
        if (!wanted.has(path)) await removeTree(client, folder, path.slice(folder.length + 1));
    }
}

/**
 * Tells the running process of its changed files: a signal to the process itself, or a command beside it. One that has ended
 * meanwhile sees them when it starts again.
 *
 * Throws `Failed` where a command fails, with its last lines. The files are put back then as they were, so that a restart does not
 * find what the command refused, and the next `up` tries again.
 */
export async function tellOfFiles(client: Client, { olds, news, fill }: Renewal): Promise<void> {
    try {
        for (const notice of noticesOf(olds, news)) await tell(client, news, notice);
    } catch (error) {
        const folder = containerFolder(news.namespace, news.name);
        await overwriteFiles(client, folder, changedFiles(folder, news, fill(olds))).catch(() => undefined); // why it failed says more
        throw error;
    }
}

async function tell(client: Client, inputs: ContainerInputs, { path, signal, exec }: Notice): Promise<void> {
    const { name, timeouts } = inputs;
    try {
        if (signal !== undefined) {
            await client.tasks.kill({ container_id: name, signal: signalNumber(signal) ?? 0 });
            return;
        }
        const timeout = parseDuration(timeouts?.update ?? "") ?? EXEC_TIMEOUT;
        const { status, output } = await runInside(client, name, exec, timeout);
        if (status === 0) return;
        const how = status === undefined ? `did not end in ${timeout / 1000} s` : `ended with exit status ${status}`;
        throw new ContainerdError(
            "Failed",
            withLog(`${exec[0]} ${how}, so the changed files were put back as they were`, output),
        );
    } catch (error) {
        if (hasCode(error, "NotFound") && (await processState(client, name))?.status !== "running") return;
        const property = formatPath(["files", path, "onChange", signal === undefined ? "exec" : "signal"]);
        throw ContainerdError.from(error, { node: client.node, property });
    }
}

/** The files that are not on the node as they are wanted. */
function changedFiles(folder: string, olds: ContainerInputs, news: ContainerInputs): NodeFile[] {
    const before = filePaths(olds, folder);
    // What an older release has written where is not known any more.
    const all = olds.revision !== news.revision;
    return filePaths(news, folder).filter((file) => all || !before.some((old) => isDeepStrictEqual(old, file)));
}

/** Puts new contents into files that are there, which stay the same files. Their new contents come whole, or not at all. */
async function overwriteFiles(client: Client, folder: string, files: readonly NodeFile[]): Promise<void> {
    if (files.length === 0) return;
    const paths = files.map(({ path }) => path.slice(folder.length + 1));
    const staged = files.map((file, index) => ({ ...file, path: `${folder}/${STAGED}/${paths[index]}` }));
    await writeFiles(client, folder, staged);
    await runOnNode(client, OVERWRITE, [folder, ...paths], { timeout: OVERWRITE_TIMEOUT });
}
