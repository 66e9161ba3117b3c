/**
 * Snapshots: looked for, made, removed. Every snapshot of ours is made here, because here stands what a containerd that was
 * killed at it leaves behind. Source: containerd.services.snapshots.v1.Snapshots.
 */
import { ContainerdError, hasCode } from "../errors";
import type { Client } from "./client";
import type { PrepareSnapshotRequest } from "./generated/containerd/services/snapshots/v1/PrepareSnapshotRequest";
import type { Info__Output } from "./generated/containerd/services/snapshots/v1/Info";
import type { Mount__Output } from "./generated/containerd/types/Mount";

/** What is known of a snapshot; undefined where there is none of that name. */
export async function findSnapshot(
    client: Client,
    snapshotter: string,
    key: string,
): Promise<Info__Output | undefined> {
    try {
        return (await client.snapshots.stat({ snapshotter, key })).info ?? undefined;
    } catch (error) {
        if (hasCode(error, "NotFound")) return undefined;
        throw error;
    }
}

/** Whether a snapshot is there. */
export async function hasSnapshot(client: Client, snapshotter: string, key: string): Promise<boolean> {
    return (await findSnapshot(client, snapshotter, key)) !== undefined;
}

/**
 * Makes a writable snapshot and gives its mounts. Throws `AlreadyExists`, and `NotFound` where the parent is missing.
 *
 * @param request `parent`: name of a committed snapshot. Default: none, an empty one.
 */
export function prepareSnapshot(client: Client, request: PrepareSnapshotRequest): Promise<Mount__Output[]> {
    return pastLeftover(() => client.snapshots.prepare(request));
}

/** Makes a read-only snapshot and gives its mounts. Throws like {@link prepareSnapshot}. */
export function viewSnapshot(client: Client, request: PrepareSnapshotRequest): Promise<Mount__Output[]> {
    return pastLeftover(() => client.snapshots.view(request));
}

/** Removes a snapshot; one that is gone is well. */
export async function removeSnapshot(client: Client, snapshotter: string, key: string): Promise<void> {
    try {
        await client.snapshots.remove({ snapshotter, key });
    } catch (error) {
        if (!hasCode(error, "NotFound")) throw error;
    }
}

/**
 * A containerd that was killed between making a snapshot's folder and committing that to its database leaves the folder: it
 * bears the number that the next snapshot gets, which is refused for it ("failed to rename …: file exists"). The refusal
 * itself removes the folder, so a second attempt passes (seen on 1.6.20 and 2.4.2, overlayfs and native). Half-made folders
 * (`new-…`) hinder nobody; overlayfs removes them when containerd next collects garbage. (Its call for that, Cleanup, says
 * "not implemented" in both versions.)
 */
async function pastLeftover(make: () => Promise<{ mounts: Mount__Output[] }>): Promise<Mount__Output[]> {
    try {
        return (await make()).mounts;
    } catch (error) {
        if (!isRefusedForLeftover(error)) throw error;
    }
    return (await make()).mounts;
}

function isRefusedForLeftover(error: unknown): boolean {
    return (
        error instanceof ContainerdError && /failed to rename: .*(?:file exists|directory not empty)/.test(error.reason)
    );
}
