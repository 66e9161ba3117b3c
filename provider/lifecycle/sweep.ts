/**
 * What earlier, killed creates of the same resource left on a node: found by its owner's label, and removed before it is made
 * again. Looked for once a run, node and namespace, because only earlier runs can have left something.
 */
import type { Client } from "../containerd/client";
import { listPullRemains, type PullRemains, sweepImageLeftovers } from "../images/sweep";
import { knownUid } from "./check/common";
import { bringer, LABEL } from "./ownership";
import type { Run } from "./run";

/** A container of ours, as far as a sweep cares. */
export interface Ours {
    name: string;
    labels: Record<string, string>;
}

/** All containers of this package in a namespace, by owner, as they were when this run first looked. */
export function oursBefore(run: Run, client: Client): Promise<ReadonlyMap<string, Ours[]>> {
    return run.onceAt(client, "ours", async () => {
        const found = new Map<string, Ours[]>();
        // A stream, because the specs of a thousand containers are more than one message may hold.
        for await (const { container } of client.containers.listStream({ filters: [`labels."${LABEL.owner}"`] })) {
            const owner = container?.labels[LABEL.owner];
            if (!container || owner === undefined) continue;
            found.set(owner, [...(found.get(owner) ?? []), { name: container.id, labels: container.labels }]);
        }
        return found;
    });
}

/**
 * The containers of an owner that a create may remove: what a killed create left, on which no Task can stand yet; not the one that the state knows (`known`, its uid), and not one that
 * Pulumi was told to leave (`retainOnDelete`) once it was complete.
 */
export function leftovers(ours: readonly Ours[], known: string | undefined): Ours[] {
    return ours.filter(({ labels }) => {
        const retained = labels[LABEL.retain] === "true" && labels[LABEL.phase] === "complete";
        return labels[LABEL.uid] !== known && !retained && !labels[LABEL.task];
    });
}

/** What pulls have left in a namespace, as it was when this run first looked. */
export function pullsBefore(run: Run, client: Client): Promise<PullRemains> {
    return run.onceAt(client, "pulls", () => listPullRemains(client));
}

/** Removes leases, half unpacked snapshots and claims that killed creates of this owner left. */
export async function sweepImages(run: Run, client: Client, of: { owner: string; claim?: string }): Promise<void> {
    const { owner } = of;
    await run.onceAt(client, `swept images ${owner}`, async () => {
        await sweepImageLeftovers(client, bringer(of), keep(knownUid(run, owner)), await pullsBefore(run, client));
    });
}

function keep(uid: string | undefined): string[] {
    return uid === undefined ? [] : [uid];
}
