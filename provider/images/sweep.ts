/** What killed pulls left on a node, found by its owner's labels and removed. */
import type { Client } from "../containerd/client";
import { OWNER, UID } from "../containerd/labels";
import { nodeFacts } from "../containerd/facts";
import { endLease } from "../containerd/leases";
import { removeSnapshot } from "../containerd/snapshots";
import { removeIncoming } from "./leases";
import { claimLabel, claimsOf, ownerLabel, PULL, PURPOSE } from "./names";
import { release } from "./records";

/** What may be left of pulls on a node, whosever it is: one listing serves all owners. */
export interface PullRemains {
    /** Leases of pulls. */
    leases: { id: string; owner: string; uid: string }[];
    /** Snapshots into which a layer is, or was, unpacked. */
    snapshots: { snapshotter: string; key: string; owner: string; uid: string }[];
    /** Claims on image records. */
    claims: { image: string; owner: string; uid: string }[];
}

/** Lists what pulls have, or have left, in the client's namespace. Owners are as `ownerLabel` has them. */
export async function listPullRemains(client: Client): Promise<PullRemains> {
    const owned = [`labels."${OWNER}"`];
    const { snapshotters } = await nodeFacts(client);
    const [{ leases }, { images }, ...snapshots] = await Promise.all([
        client.leases.list({ filters: owned }),
        client.images.list({ filters: [] }),
        ...snapshotters.map(async (snapshotter) => {
            const found: PullRemains["snapshots"] = [];
            for await (const { info } of client.snapshots.list({ snapshotter, filters: owned }))
                for (const { name, labels, kind } of info)
                    if (name.startsWith("extract-") && kind === "ACTIVE")
                        found.push({ snapshotter, key: name, owner: labels[OWNER] ?? "", uid: labels[UID] ?? "" });
            return found;
        }),
    ]);
    return {
        leases: leases
            .filter(({ labels }) => labels[PURPOSE] === PULL)
            .map(({ id, labels }) => ({ id, owner: labels[OWNER] ?? "", uid: labels[UID] ?? "" })),
        snapshots: snapshots.flat(),
        claims: images.flatMap(({ name, labels }) =>
            [...claimsOf(labels)].map(([uid, owner]) => ({ image: name, owner, uid })),
        ),
    };
}

/**
 * Removes what killed pulls of an owner left: leases, snapshots being unpacked, half-stored images, and claims whose uid
 * is not in `keep`. An image that we brought goes with its last claim.
 *
 * @param owner the resource's URN
 * @param keep uids that are alive
 * @param remains what is looked through; listed before the owner's first pull of this run. Default: listed now
 */
export async function sweepImageLeftovers(
    client: Client,
    owner: string,
    keep: readonly string[],
    remains?: PullRemains,
): Promise<void> {
    const { leases, snapshots, claims } = remains ?? (await listPullRemains(client));
    const label = ownerLabel(owner);
    const stale = (one: { owner: string; uid: string }): boolean => one.owner === label && !keep.includes(one.uid);
    for (const { id, uid } of leases.filter(stale)) {
        await removeIncoming(client, uid);
        await endLease(client, id);
    }
    for (const { snapshotter, key } of snapshots.filter(stale)) await removeSnapshot(client, snapshotter, key);
    for (const { image, owner: claimant, uid } of claims)
        if (claimant === ownerLabel(owner, claimLabel(uid)) && !keep.includes(uid)) await release(client, image, uid);
}
