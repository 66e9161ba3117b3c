/**
 * What holds an image's parts while they come in: leases of containerd's, labelled with whose they are, which expire by
 * themselves if we do not live to end them.
 */
import { randomBytes } from "node:crypto";
import type { Client } from "../containerd/client";
import { OWNER, UID } from "../containerd/labels";
import { hasCode } from "../errors";
import { incomingName, ownerLabel, PULL, PURPOSE, type Claim } from "./names";

/** How long a lease that nobody ends holds: longer than any pull may take. */
const EXPIRES = 24 * 60 * 60_000;

/** Makes a lease for a pull and gives its id. It has no update, so it is made to last. */
export async function startLease(client: Client, claim: Claim): Promise<string> {
    const id = `pulumi-containerd-image-${randomBytes(8).toString("hex")}`;
    await client.leases.create({
        id,
        labels: {
            ...client.marks,
            [OWNER]: ownerLabel(claim.owner),
            [UID]: claim.uid,
            [PURPOSE]: PULL,
            "containerd.io/gc.expire": new Date(Date.now() + EXPIRES).toISOString(),
        },
    });
    return id;
}

/**
 * Ends all leases of a claim, and what the transfer service stored under it for a moment; those of killed pulls too.
 *
 * @param collect whether what nothing else holds is to be collected before this returns
 */
export async function endLeases(client: Client, { uid }: Pick<Claim, "uid">, collect: boolean): Promise<void> {
    await removeIncoming(client, uid);
    const { leases } = await client.leases.list({ filters: [`labels."${UID}"==${JSON.stringify(uid)}`] });
    for (const { id, labels } of leases) if (labels[PURPOSE] === PULL) await endLease(client, id, collect);
}

/** Ends a lease; one that is gone is well. */
export async function endLease(client: Client, id: string, sync: boolean): Promise<void> {
    try {
        await client.leases.delete({ id, sync });
    } catch (error) {
        if (!hasCode(error, "NotFound")) throw error;
    }
}

/** Removes the record under which a transfer was stored, if it is there. */
export async function removeIncoming(client: Client, uid: string): Promise<void> {
    try {
        await client.images.delete({ name: incomingName(uid) });
    } catch (error) {
        if (!hasCode(error, "NotFound")) throw error;
    }
}
