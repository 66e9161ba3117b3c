/** Makes, renews and removes a volume on a node. What it holds is never removed but by a delete of the volume itself. */
import { posix } from "node:path";
import type { Client } from "../containerd/client";
import {
    type FileToWrite,
    listFolder,
    makeFolders,
    pathExists,
    removeTree,
    writeFiles,
} from "../containerd/node-files";
import { ContainerdError } from "../errors";
import { formatPath } from "./check/validate";
import { volumeFolder, volumeKey, volumeLabel, volumeRecord, volumeSource, VOLUMES_FOLDER } from "../spec/volumes";
import { parseDuration } from "./check/units";
import { assertFileSystem } from "./mount-sources";
import { stackOfUrn } from "./leases";
import { LABEL } from "./ownership";
import type { Run } from "./run";
import type { VolumeArguments, VolumeState } from "./volume";
import { findVolume, listVolumes, recordOf, type VolumeRecord } from "./volume-records";

/** How long the removal of what a volume holds may take, where the option `customTimeouts` says nothing. Milliseconds. */
const REMOVAL = 10 * 60_000;

/** A volume's name and place. */
type Named = Pick<VolumeArguments, "name" | "namespace">;

/** Makes a volume. Throws `Conflict` for a name that is taken, `NotFound`, `Unsupported`. */
export async function makeVolume(run: Run, client: Client, inputs: VolumeArguments): Promise<void> {
    const key = volumeKey(inputs);
    const known = await listVolumes(client);
    if (known.has(key)) throw taken(client, key, known.get(key));
    const first = run.first(`volume ${client.node} ${key}`, inputs.owner);
    if (first !== inputs.owner) throw taken(client, key, { owner: first });
    await assertSource(client, inputs);
    const folder = isFolder(inputs) ? volumeFolder(key) : undefined;
    if (folder !== undefined && (await pathExists(client, folder))) throw unexplained(client, key);
    try {
        const made = folder === undefined ? [] : [{ path: folder, ...modeOf(inputs) }];
        await writeFiles(client, VOLUMES_FOLDER, [recordFile(inputs), ...made]);
    } catch (error) {
        // Nobody has written into it yet.
        await removeVolume(client, inputs).catch(() => undefined);
        throw error;
    }
}

/** Makes what is there into what is wanted. What the volume holds stays as it is. */
export async function renewVolume(client: Client, olds: VolumeState, news: VolumeArguments): Promise<void> {
    await assertSource(client, news);
    const folder = volumeFolder(volumeKey(news));
    const other = JSON.stringify(modeOf(olds)) !== JSON.stringify(modeOf(news));
    if (isFolder(news) && other) await makeFolders(client, posix.dirname(folder), [{ path: folder, ...modeOf(news) }]);
    await writeFiles(client, VOLUMES_FOLDER, [recordFile(news)]);
}

/** Removes a volume with all that it holds. The record, by which it is found, goes last. Idempotent. */
export async function removeVolume(client: Client, of: Named & Pick<VolumeState, "timeouts">): Promise<void> {
    const key = volumeKey(of);
    const timeout = parseDuration(of.timeouts?.delete ?? "") ?? REMOVAL;
    await removeTree(client, VOLUMES_FOLDER, key, timeout);
    await removeTree(client, VOLUMES_FOLDER, volumeRecord(key).slice(VOLUMES_FOLDER.length + 1));
}

/**
 * Removes a volume that holds nothing, where another one is to have its name: what of the same stack mounts it is replaced in the same
 * update. One that holds anything stays, and keeps the name. Throws `Conflict` when others mount it.
 */
export async function takePlace(client: Client, before: VolumeArguments, inputs: VolumeArguments): Promise<void> {
    const { found } = await lookAt(client, before);
    if (before.namespace !== inputs.namespace || found === "other" || found === "nothing") return;
    if (await holdsData(client, before)) return;
    const stack = `(${stackOfUrn(inputs.owner)}::`;
    refuse(
        client,
        before,
        (await usersOf(client, volumeKey(before))).filter((user) => !user.includes(stack)),
    );
    await removeVolume(client, before);
}

/** Throws `Conflict` while a container mounts the volume, in whatever namespace. */
export async function refuseInUse(client: Client, of: Named): Promise<void> {
    refuse(client, of, await usersOf(client, volumeKey(of)));
}

function refuse(client: Client, of: Named, users: readonly string[]): void {
    if (users.length === 0) return;
    const shown = `${users.slice(0, 5).join(", ")}${users.length > 5 ? ", …" : ""}`;
    throw new ContainerdError(
        "Conflict",
        `volume ${volumeKey(of)} is mounted by ${users.length === 1 ? "a container" : `${users.length} containers`}, and was left as it is: ` +
            `delete first ${shown}`,
        { node: client.node },
    );
}

/** The containers that mount a volume, as `namespace/name (owner)`. */
async function usersOf(client: Client, key: string): Promise<string[]> {
    const { namespaces } = await client.namespaces.list({});
    const found: string[] = [];
    for (const { name: namespace } of namespaces) {
        const filters = [`labels."${volumeLabel(key)}"`];
        for await (const { container } of client.inNamespace(namespace).containers.listStream({ filters })) {
            if (!container) continue;
            const owner = container.labels[LABEL.owner];
            found.push(`${namespace}/${container.id}${owner === undefined ? "" : ` (${owner})`}`);
        }
    }
    return found;
}

/** Whether there is anything in a volume that is a folder of ours; one that is gone, and any other, holds nothing. */
export async function holdsData(client: Client, of: Named & Pick<VolumeArguments, "path">): Promise<boolean> {
    if (!isFolder(of)) return false;
    return ((await listFolder(client, volumeFolder(volumeKey(of)))) ?? []).length > 0;
}

/**
 * Removes what earlier, killed creates of the same resource left: volumes of this owner that the state does not know. One that holds
 * anything is kept, with a warning: the state may have been lost, and not the volume.
 */
export async function sweepVolumes(
    run: Run,
    client: Client,
    { owner, namespace, uid }: Pick<VolumeArguments, "owner" | "namespace" | "uid">,
    known: string | undefined,
): Promise<void> {
    for (const record of (await listVolumes(client)).values()) {
        if (record?.owner !== owner || record.namespace !== namespace || record.retain) continue;
        if (record.uid === uid || record.uid === known) continue;
        const key = volumeKey(record);
        // What mounts a folder that is gone has nothing of it any more.
        const there = !isFolder(record) || (await pathExists(client, volumeFolder(key)));
        if (there && (await usersOf(client, key)).length) continue;
        if (await holdsData(client, record)) {
            run.report.warn(
                owner,
                `volume ${key} on node ${client.node} was made by this resource and is not in the state any more. It holds data and was left ` +
                    `as it is: ${volumeFolder(key)}. To remove it, delete that folder, and then ${volumeRecord(key)}`,
            );
        } else await removeVolume(client, record);
    }
}

/** Removes the volumes that were made for a Node, with all that they hold, but not what Pulumi was told to leave. */
export async function removeClaimedVolumes(client: Client, claim: string): Promise<void> {
    for (const record of (await listVolumes(client)).values()) {
        if (record?.claim === claim && !record.retain) await removeVolume(client, record);
    }
}

/** Whether what is there by a volume's name is that volume: `other` bears the name and is another one. */
export async function lookAt(
    client: Client,
    { name, namespace, uid }: Named & { uid: string },
): Promise<{ found: "all" | "record" | "folder" | "nothing" | "other"; record?: VolumeRecord }> {
    const key = volumeKey({ name, namespace });
    const [record, folder] = await Promise.all([
        findVolume(client, { name, namespace }),
        pathExists(client, volumeFolder(key)),
    ]);
    if (record && record.uid !== uid) return { found: "other" };
    if (!record) return { found: folder ? "folder" : "nothing" };
    return { found: folder ? "all" : "record", record };
}

/** Whether it is a folder of ours. */
export function isFolder(of: Named & Pick<VolumeArguments, "path">): boolean {
    return of.path === volumeFolder(volumeKey(of));
}

async function assertSource(client: Client, inputs: VolumeArguments): Promise<void> {
    const source = volumeSource(inputs);
    const property = formatPath(["options", "device"]);
    if (source.kind === "mount") await assertFileSystem(client, source.type, "driver");
    if (source.kind === "bind" && !(await pathExists(client, source.device))) {
        throw new ContainerdError(
            "NotFound",
            `the node has no ${source.device}: make it there before, or look at the path`,
            { node: client.node, property },
        );
    }
}

function modeOf({ directory = {} }: Pick<VolumeArguments, "directory">): Pick<FileToWrite, "mode" | "uid" | "gid"> {
    return { mode: parseInt(directory.mode ?? "0755", 8), uid: directory.uid ?? 0, gid: directory.gid ?? 0 };
}

function recordFile(inputs: VolumeArguments): FileToWrite {
    const content = `${JSON.stringify(recordOf(inputs), undefined, 2)}\n`;
    return { path: volumeRecord(volumeKey(inputs)), content, mode: 0o600, uid: 0, gid: 0 };
}

function taken(client: Client, key: string, record: { owner: string } | undefined): ContainerdError {
    const whose = record === undefined ? "whose record cannot be read" : `and it belongs to ${record.owner}`;
    return new ContainerdError(
        "Conflict",
        `a volume ${key} is there already, ${whose}. It was left as it is: choose another name, or remove it yourself`,
        { node: client.node, property: "name" },
    );
}

function unexplained(client: Client, key: string): ContainerdError {
    return new ContainerdError(
        "Conflict",
        `there is a folder ${volumeFolder(key)} already, and no record says whose it is. It was left as it is: choose another name, or move it away`,
        { node: client.node, property: "name" },
    );
}
