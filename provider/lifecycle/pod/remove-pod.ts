/** Removes a pod from its node: its members in the reverse of the order in which they start, then what they shared, then its record. */
import type { Client } from "../../containerd/client";
import { removeTree } from "../../containerd/node-files";
import { claimsOf, keyOf, recordNames } from "../../images/names";
import { release } from "../../images/records";
import { inTurn } from "../../images/turns";
import { containerFolder, NODE_FOLDER } from "../../node/folders";
import { podSandbox } from "../../spec/sandbox";
import { deleteObject } from "../late-start";
import { clientForChange } from "../leases";
import { attachmentIn } from "../network/networking";
import { removeNetwork } from "../network/node-network";
import { networkSettings } from "../network/settings";
import { LABEL } from "../ownership";
import { removeContainer } from "../remove-container";
import type { Run } from "../run";
import { memberName, memberUid } from "./inputs";
import { findMembers, findRecord, type Labelled } from "./record";

/** What a removal has to know. */
export interface DoomedPod {
    node: string;
    namespace: string;
    name: string;
    uid: string;
    /** Names of members and init containers, as far as they are known: of one that was never made its image is given back too. */
    members?: readonly string[];
}

/** Removes all of a pod. What is not there is fine; what bears the name but is another one is left alone. */
export async function removePod(run: Run, doomed: DoomedPod): Promise<void> {
    const client = await clientForChange(run, doomed.node, doomed.namespace);
    const record = await findRecord(client, doomed.name);
    const members = await findMembers(client, doomed);
    for (const group of inReverse([...members.values()])) {
        await all(group.map((member) => removeMember(run, doomed, member)));
    }
    // Of one whose object somebody else removed, its snapshot and files are there still.
    const lost = (doomed.members ?? []).filter((name) => !members.has(name));
    await all(lost.map((name) => removeContainer(run, lostMember(doomed, name))));
    const names = new Set([...members.keys(), ...lost]);
    await releaseImages(client, new Set([...names].map((name) => memberUid(doomed, name))));
    if (record && record.labels[LABEL.uid] !== doomed.uid) return;
    await removeShared(client, doomed, record?.labels);
    await removeTree(client, NODE_FOLDER, containerFolder(doomed.namespace, doomed.name).slice(NODE_FOLDER.length + 1));
    await deleteObject(client, doomed.name);
}

function lostMember(pod: DoomedPod, name: string) {
    const { node, namespace } = pod;
    return { node, namespace, name: memberName(pod, name), uid: memberUid(pod, name) };
}

/** Removes one member's container, its process first. */
export async function removeMember(
    run: Run,
    { node, namespace }: Pick<DoomedPod, "node" | "namespace">,
    { id, labels }: Labelled,
): Promise<void> {
    const uid = labels[LABEL.uid] ?? "";
    await removeContainer(run, { node, namespace, name: id, uid, image: labels[LABEL.image] });
}

/** Those that start last come first; those that start side by side go side by side. Pure. */
export function inReverse(members: readonly Labelled[]): Labelled[][] {
    const groups = new Map<number, Labelled[]>();
    for (const member of members) {
        const order = Number(member.labels[LABEL.order] ?? 0);
        groups.set(order, [...(groups.get(order) ?? []), member]);
    }
    return [...groups].sort(([a], [b]) => b - a).map(([, group]) => group);
}

/** Gives back what is claimed for members: images are brought before members are made of them. `kept`: pinned references. */
export async function releaseImages(
    client: Client,
    uids: ReadonlySet<string>,
    kept: readonly string[] = [],
): Promise<void> {
    const stay = new Set(
        kept.map(keyOf).flatMap(({ reference, digest }) => Object.values(recordNames(reference, digest))),
    );
    const { images } = await client.images.list({ filters: [] });
    for (const { name, labels } of images) {
        if (stay.has(name)) continue;
        for (const uid of claimsOf(labels).keys())
            if (uids.has(uid)) await inTurn(client, `record ${name}`, () => release(client, name, uid));
    }
}

/** Where somebody else removed the record (no `labels`), the script in the pod's folder knows what there was. */
async function removeShared(client: Client, doomed: DoomedPod, labels?: Record<string, string>): Promise<void> {
    const attachment = labels ? attachmentIn(labels) : ({ driver: "none" } as const);
    if (!attachment) return;
    const owner = labels?.[LABEL.owner] ?? "";
    const named = { owner, namespace: doomed.namespace, name: doomed.name, network: "bridge" as const };
    await removeNetwork(client, networkSettings(named, attachment, undefined, podSandbox(doomed)));
}

/** Waits for all, also when one fails: what is under way must be over before somebody goes on. */
export async function all<T>(work: readonly Promise<T>[]): Promise<T[]> {
    await Promise.allSettled(work);
    return Promise.all(work);
}
