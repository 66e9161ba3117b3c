/**
 * What holds an image's parts while they come in: leases of containerd's, labelled with whose they are, which expire by
 * themselves if we do not live to end them; and what is left when we did not.
 */
import { randomBytes } from "node:crypto";
import type { Client } from "../containerd/client";
import { nodeFacts } from "../containerd/facts";
import { hasCode } from "../errors";
import { claimsOf, incomingName, OWNER, ownerLabel, PULL, PURPOSE, UID, type Claim } from "./names";
import { release } from "./records";

/** How long a lease that nobody ends holds: longer than any pull may take. */
const EXPIRES = 24 * 60 * 60_000;

/** Makes a lease for a pull and gives its id. It has no update, so it is made to last. */
export async function startLease(client: Client, claim: Claim): Promise<string> {
    const id = `pulumi-containerd-image-${randomBytes(8).toString("hex")}`;
    await client.leases.create({
        id,
        labels: {
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
    await removeRecord(client, incomingName(uid));
    const { leases } = await client.leases.list({ filters: [`labels."${UID}"==${JSON.stringify(uid)}`] });
    for (const { id, labels } of leases) if (labels[PURPOSE] === PULL) await endLease(client, id, collect);
}

async function endLease(client: Client, id: string, sync: boolean): Promise<void> {
    try {
        await client.leases.delete({ id, sync });
    } catch (error) {
        if (!hasCode(error, "NotFound")) throw error;
    }
}

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
        await removeRecord(client, incomingName(labels[UID] ?? ""));
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
            if (claimant === ownerLabel(owner, `pulumi-containerd/claim.${uid}`) && !keep.includes(uid))
                await release(client, name, uid);
}

async function removeRecord(client: Client, name: string): Promise<void> {
    try {
        await client.images.delete({ name });
    } catch (error) {
        if (!hasCode(error, "NotFound")) throw error;
    }
}

async function removeSnapshot(client: Client, snapshotter: string, key: string): Promise<void> {
    try {
        await client.snapshots.remove({ snapshotter, key });
    } catch (error) {
        if (!hasCode(error, "NotFound")) throw error;
    }
}
