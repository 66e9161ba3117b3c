/**
 * What holds an image's parts while they come in: leases of containerd's, labelled with whose they are, which expire by
 * themselves if we do not live to end them.
 */
import type { Client } from "../containerd/client";
import { UID } from "../containerd/labels";
import { endLease, startLease } from "../containerd/leases";
import { hasCode } from "../errors";
import { incomingName, ownerLabel, PULL, PURPOSE, type Claim } from "./names";

/** How long a lease that nobody ends holds: longer than any pull may take. */
const EXPIRES = 24 * 60 * 60_000;

/** Makes a lease for a pull and gives its id. It has no update, so it is made to last. */
export async function startPullLease(client: Client, { uid, owner }: Claim): Promise<string> {
    const labels = { [UID]: uid, [PURPOSE]: PULL };
    const { id } = await startLease(client, { owner: ownerLabel(owner), labels, expire: EXPIRES });
    return id;
}

/**
 * Ends all leases of a claim, and what the transfer service stored under it for a moment; those of killed pulls too.
 *
 * @param collect whether what nothing else holds is to be collected before this returns
 */
export async function endPullLeases(client: Client, { uid }: Pick<Claim, "uid">, collect: boolean): Promise<void> {
    await removeIncoming(client, uid);
    const { leases } = await client.leases.list({ filters: [`labels."${UID}"==${JSON.stringify(uid)}`] });
    for (const { id, labels } of leases) if (labels[PURPOSE] === PULL) await endLease(client, id, collect);
}

/** Removes the record under which a transfer was stored, if it is there. */
export async function removeIncoming(client: Client, uid: string): Promise<void> {
    try {
        await client.images.delete({ name: incomingName(uid) });
    } catch (error) {
        if (!hasCode(error, "NotFound")) throw error;
    }
}
