/**
 * Removes a container from a node: one idempotent removal serves as delete, as the undoing of a failed create, and as the sweep
 * of what a killed run left. The container's object, by which all the rest is found, goes last.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "../containerd/client";
import { removeTree } from "../containerd/node-files";
import { findSnapshot, removeSnapshot } from "../containerd/snapshots";
import { ContainerdError, hasCode } from "../errors";
import { snapshotterFor } from "../images/inspect";
import { keyOf } from "../images/names";
import { releaseImage } from "../images/records";
import { containerFolder, NODE_FOLDER } from "../node/folders";
import type { ContainerInputs } from "../spec/inputs";
import { clearCgroup } from "./cgroup";
import { deleteObject, disarm } from "./late-start";
import { clientForChange } from "./leases";
import { chosenNetwork } from "./network/attachment";
import { attachmentIn } from "./network/networking";
import { removeNetwork } from "./network/node-network";
import { networkSettings } from "./network/settings";
import { LABEL } from "./ownership";
import { stopOf, stopProcess } from "./process";
import type { Run } from "./run";

/** What a removal has to know. */
export type Doomed = Pick<ContainerInputs, "node" | "namespace" | "name" | "uid"> & Partial<ContainerInputs>;

/**
 * Removes all of a container, its process first. What is not there is fine; what bears the name but is another one (another
 * uid) is left alone. Throws when the node does not answer.
 */
export async function removeContainer(run: Run, doomed: Doomed): Promise<void> {
    const client = await clientForChange(run, doomed.node, doomed.namespace);
    const { name, uid } = doomed;
    const container = await find(client, name);
    if (container && container.labels[LABEL.uid] !== uid) return releaseImageOf(client, doomed);
    if (container) await stopProcess(client, name, stopOf(container.labels));
    const snapshotter = container?.snapshotter || (await snapshotterFor(client, doomed.snapshotter));
    await removeSnapshotOf(client, snapshotter, name, uid);
    // Only now nothing writes to its log any more.
    if (container && !(await disarm(client, name, onlyOurs(container.labels)))) return releaseImageOf(client, doomed);
    if (container || chosenNetwork(doomed.network ?? "host")) await removeNetworkOf(client, doomed, container?.labels);
    await removeFolder(client, doomed.namespace, name);
    await releaseImageOf(client, doomed);
    await clearCgroup(client, name, container?.labels[LABEL.pod]);
    if (container) await deleteObject(client, name);
}

async function find(
    client: Client,
    name: string,
): Promise<{ labels: Record<string, string>; snapshotter: string } | undefined> {
    try {
        return (await client.containers.get({ id: name })).container ?? undefined;
    } catch (error) {
        if (hasCode(error, "NotFound")) return undefined;
        throw error;
    }
}

/** Removes the container's folder. A logger that is just ending may write into it once more: then again. */
async function removeFolder(client: Client, namespace: string, name: string): Promise<void> {
    const path = containerFolder(namespace, name).slice(NODE_FOLDER.length + 1);
    for (let attempt = 1; ; attempt++) {
        try {
            return await removeTree(client, NODE_FOLDER, path);
        } catch (error) {
            if (attempt === 10 || !(error instanceof ContainerdError && /directory not empty/.test(error.reason)))
                throw error;
            await sleep(100);
        }
    }
}

/**
 * Removes its network, where it has one of its own: what that was stands on its object to the last. Where somebody else removed that
 * (no `labels`), the script in its folder knows.
 */
async function removeNetworkOf(client: Client, doomed: Doomed, labels?: Record<string, string>): Promise<void> {
    const attachment = labels ? attachmentIn(labels) : ({ driver: "none" } as const);
    if (!attachment) return;
    const owner = labels?.[LABEL.owner] ?? "";
    const named = { owner, namespace: doomed.namespace, name: doomed.name, network: "bridge" as const };
    await removeNetwork(client, networkSettings(named, attachment));
}

/** Whose it is and what of it is still there, and nothing that anybody else acts on. */
function onlyOurs(labels: Record<string, string>): Record<string, string> {
    const kept = [LABEL.node, LABEL.pod, LABEL.attachment].filter((key) => labels[key]);
    return {
        ...Object.fromEntries(kept.map((key) => [key, labels[key] ?? ""])),
        [LABEL.owner]: labels[LABEL.owner] ?? "",
        [LABEL.uid]: labels[LABEL.uid] ?? "",
        [LABEL.phase]: "creating",
    };
}

async function removeSnapshotOf(client: Client, snapshotter: string, name: string, uid: string): Promise<void> {
    const found = await findSnapshot(client, snapshotter, name);
    if (found?.labels[LABEL.uid] === uid) await removeSnapshot(client, snapshotter, name);
}

async function releaseImageOf(client: Client, { image, uid }: Doomed): Promise<void> {
    if (image === undefined || !image.includes("@")) return;
    await releaseImage(client, { ...keyOf(image), uid });
}
