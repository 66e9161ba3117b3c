/**
 * A Pod on its node: a record (a container object of its own name that can't be started), which keeps its name, its place on the
 * network and how far it came; and its members' containers, which say by labels that they are its.
 */
import type { Client } from "../../containerd/client";
import { hasCode } from "../../errors";
import { inert } from "../late-start";
import { foreign, LABEL, ownerLabels } from "../ownership";
import type { PodInputs } from "./inputs";

/** An object of containerd's, as far as a pod cares. */
export interface Labelled {
    id: string;
    labels: Record<string, string>;
}

/** Takes the pod's name, and with it what `labels` say. Throws `Conflict` when somebody has it. */
export async function reserveRecord(client: Client, inputs: PodInputs, labels: Record<string, string>): Promise<void> {
    const all = { ...inputs.labels, ...recordLabels(inputs), ...labels };
    try {
        await client.containers.create({ container: inert(inputs.name, all) });
    } catch (error) {
        if (!hasCode(error, "AlreadyExists")) throw error;
        throw foreign("pod", inputs.name, (await findRecord(client, inputs.name))?.labels ?? {});
    }
}

/** The labels that say whose a pod is. */
export function recordLabels(inputs: PodInputs): Record<string, string> {
    return { ...ownerLabels({ ...inputs, phase: "complete" }), [LABEL.podUid]: inputs.uid };
}

/** Whether an object is a pod's record, and neither a member nor a container of its own. Pure. */
export function isRecord({ labels }: Labelled): boolean {
    return labels[LABEL.podUid] !== undefined && labels[LABEL.pod] === undefined;
}

/** The object of a name, if there is one. */
export async function findRecord(client: Client, name: string): Promise<Labelled | undefined> {
    try {
        return (await client.containers.get({ id: name })).container ?? undefined;
    } catch (error) {
        if (hasCode(error, "NotFound")) return undefined;
        throw error;
    }
}

/** The containers of a pod, by member. */
export async function findMembers(
    client: Client,
    { name, uid }: Pick<PodInputs, "name" | "uid">,
): Promise<Map<string, Labelled>> {
    const filters = [`labels."${LABEL.podUid}"==${JSON.stringify(uid)},labels."${LABEL.pod}"==${JSON.stringify(name)}`];
    const { containers } = await client.containers.list({ filters });
    return new Map(containers.map(({ id, labels }) => [labels[LABEL.member] ?? id, { id, labels }]));
}
