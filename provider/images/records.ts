/**
 * Image records in containerd: found, claimed, released. Claims change by field masks only, so that two who claim at the
 * same time do not undo each other. See `names.ts` for what the records are.
 */
import type { Client } from "../containerd/client";
import type { Image__Output as ImageRecord } from "../containerd/generated/containerd/services/images/v1/Image";
import { ContainerdError, hasCode } from "../errors";
import type { Descriptor } from "../registry/oci";
import { BROUGHT, claimLabel, claimsOf, isBrought, ownerLabel, recordNames, type Claim, type ImageKey } from "./names";
import { inTurn } from "./turns";

/** A record, or nothing if there is none of that name. */
export async function findRecord(client: Client, name: string): Promise<ImageRecord | undefined> {
    try {
        return (await client.images.get({ name })).image ?? undefined;
    } catch (error) {
        if (hasCode(error, "NotFound")) return undefined;
        throw error;
    }
}

/**
 * Puts a claim on both records of an image; makes those that are missing. A tag's record of ours is moved to this digest, once
 * for each claim; one that somebody else made is left alone. Says whether the record that keeps the content was made.
 *
 * @param labels the user's, for records that are made or are ours
 */
export async function claimImage(
    client: Client,
    reference: string,
    root: Descriptor,
    claim: Claim,
    labels: Record<string, string> = {},
): Promise<{ created: boolean }> {
    const names = recordNames(reference, root.digest);
    const created = await inTurn(client, `record ${names.digest}`, () =>
        claimDigest(client, names.digest, root, claim, labels),
    );
    const tag = names.tag;
    if (tag !== undefined) await inTurn(client, `record ${tag}`, () => claimTag(client, tag, root, claim, labels));
    return { created };
}

async function claimDigest(
    client: Client,
    name: string,
    root: Descriptor,
    claim: Claim,
    labels: Record<string, string>,
): Promise<boolean> {
    for (;;) {
        try {
            await mask(client, name, claimLabels(claim));
            return false;
        } catch (error) {
            if (!hasCode(error, "NotFound")) throw error;
        }
        if (await create(client, name, root, { ...labels, ...claimLabels(claim) })) return true;
    }
}

async function claimTag(
    client: Client,
    name: string,
    root: Descriptor,
    claim: Claim,
    labels: Record<string, string>,
): Promise<void> {
    for (;;) {
        const record = await findRecord(client, name);
        if (!record) {
            if (await create(client, name, root, { ...labels, ...claimLabels(claim) })) return;
            continue;
        }
        // Where this claim stands already, a later one may have moved the tag since: it stays there.
        if (!isBrought(record.labels)) return;
        try {
            if (claimsOf(record.labels).has(claim.uid)) return await mask(client, name, claimLabels(claim));
            await client.images.update({
                image: { name, target: target(root), labels: claimLabels(claim) },
                update_mask: { paths: ["target", ...Object.keys(claimLabels(claim)).map((key) => `labels.${key}`)] },
            });
            return;
        } catch (error) {
            if (!hasCode(error, "NotFound")) throw error;
        }
    }
}

/**
 * Takes a claim off both records of an image. A record that we made and that nobody claims any more is deleted, and what it
 * kept is collected before this returns. Nothing there, or no such claim: nothing happens.
 */
export async function releaseImage(client: Client, image: ImageKey & { uid: string }): Promise<void> {
    const names = recordNames(image.reference, image.digest);
    for (const name of names.tag === undefined ? [names.digest] : [names.tag, names.digest])
        await inTurn(client, `record ${name}`, () => release(client, name, image.uid));
}

/** Takes a claim off one record, and the record away if it is ours and was the last. */
export async function release(client: Client, name: string, uid: string): Promise<void> {
    const record = await findRecord(client, name);
    if (!record) return;
    const claims = claimsOf(record.labels);
    const claimed = claims.delete(uid);
    try {
        if (isBrought(record.labels) && claims.size === 0) await client.images.delete({ name, sync: true });
        else if (claimed) await mask(client, name, { [claimLabel(uid)]: "" });
    } catch (error) {
        if (!hasCode(error, "NotFound")) throw error;
    }
}

/**
 * Sets the user's labels on the records of an image that are ours; an empty value takes a label away. Labels of ours and of
 * containerd's are not touched by it. Throws `Invalid` for such names.
 */
export async function labelImage(client: Client, image: ImageKey, labels: Record<string, string>): Promise<void> {
    const reserved = Object.keys(labels).find((key) => /^(?:pulumi-containerd|containerd\.io)\//.test(key));
    if (reserved !== undefined)
        throw new ContainerdError("Invalid", `the label ${reserved} is not yours to set`, { property: "labels" });
    if (Object.keys(labels).length === 0) return;
    const names = recordNames(image.reference, image.digest);
    for (const name of [names.digest, names.tag]) {
        if (name === undefined) continue;
        const record = await findRecord(client, name);
        if (record && isBrought(record.labels)) await mask(client, name, labels);
    }
}

function claimLabels(claim: Claim): Record<string, string> {
    const key = claimLabel(claim.uid);
    return { [key]: ownerLabel(claim.owner, key) };
}

/** Changes these labels and no others; an empty value takes a label away. */
async function mask(client: Client, name: string, labels: Record<string, string>): Promise<void> {
    await client.images.update({
        // The mask leaves the target as it is, but without one containerd 2.4.2 as a whole dies of a nil pointer.
        image: { name, labels, target: {} },
        update_mask: { paths: Object.keys(labels).map((key) => `labels.${key}`) },
    });
}

/** Makes a record of ours. Says no if somebody else just made one of that name. */
async function create(
    client: Client,
    name: string,
    root: Descriptor,
    labels: Record<string, string>,
): Promise<boolean> {
    try {
        await client.images.create({ image: { name, target: target(root), labels: { [BROUGHT]: "true", ...labels } } });
        return true;
    } catch (error) {
        if (hasCode(error, "AlreadyExists")) return false;
        throw error;
    }
}

function target(root: Descriptor): { media_type: string; digest: string; size: number } {
    return { media_type: root.mediaType, digest: root.digest, size: root.size };
}
