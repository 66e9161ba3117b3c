/** What killed pulls left on a node, found by its owner's labels and removed. */
import type { Client } from "../containerd/client";
import { nodeFacts } from "../containerd/facts";
import { hasCode } from "../errors";
import { endLease, removeIncoming } from "./leases";
import { claimLabel, claimsOf, OWNER, ownerLabel, PULL, PURPOSE, UID } from "./names";
import { release } from "./records";

/**
 * Removes what killed pulls of an owner left: leases, snapshots being unpacked, half-stored images, and claims whose uid
 * is not in `keep`. An image that we brought goes with its last claim.
 *
 * @param owner the resource's URN
 * @param keep uids that are alive
 */
export async function sweepImageLeftovers(client: Client, owner: string, keep: readonly string[]): Promise<void> {
    const value = JSON.stringify(ownerLabel(owner));
    const stale = (labels: Record<string, string>): boolean => !keep.includes(labels[UID] ?? "");

    const { leases } = await client.leases.list({ filters: [`labels."${OWNER}"==${value}`] });
    for (const { id, labels } of leases) {
        if (labels[PURPOSE] !== PULL || !stale(labels)) continue;
        await removeIncoming(client, labels[UID] ?? "");
        await endLease(client, id, true);
    }
    for (const snapshotter of (await nodeFacts(client)).snapshotters) {
        for await (const { info } of client.snapshots.list({ snapshotter, filters: [`labels."${OWNER}"==${value}`] }))
            for (const { name, labels, kind } of info)
                if (name.startsWith("extract-") && kind === "ACTIVE" && stale(labels))
                    await removeSnapshot(client, snapshotter, name);
    }
    const { images } = await client.images.list({ filters: [] });
    for (const { name, labels } of images)
        for (const [uid, claimant] of claimsOf(labels))
            if (claimant === ownerLabel(owner, claimLabel(uid)) && !keep.includes(uid))
                await release(client, name, uid);
}

async function removeSnapshot(client: Client, snapshotter: string, key: string): Promise<void> {
    try {
        await client.snapshots.remove({ snapshotter, key });
    } catch (error) {
        if (!hasCode(error, "NotFound")) throw error;
    }
}
