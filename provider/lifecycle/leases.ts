/**
 * Leases that killed runs of the same stack left on a node. They hold what was being brought or written, secret files among
 * it, until they expire; the engine lets only one run at a time change a stack, so another run's lease is nobody's.
 */
import type { Client } from "../containerd/client";
import { endLease } from "../containerd/leases";
import { removeIncoming } from "../images/leases";
import { UID } from "../containerd/labels";
import { PULL, PURPOSE } from "../images/names";
import { COMMAND_LABEL, removeCommand } from "../node/command";
import type { Run } from "./run";

/** On leases: the stack for whose sake they are, see {@link stackOfUrn}. */
export const STACK_LABEL = "pulumi-containerd/stack";
/** On leases: which run of the engine made them. */
export const RUN_LABEL = "pulumi-containerd/run";

/** Stack and project, as a URN begins: `urn:pulumi:STACK::PROJECT`. */
export function stackOfUrn(urn: string): string {
    return urn.split("::", 2).join("::");
}

/** A client for changing a node: the first one of a run ends what killed runs left. Throws `Unreachable`, `NotFound`. */
export async function clientForChange(run: Run, node: string, namespace: string): Promise<Client> {
    const client = await run.client(node, namespace);
    if (run.stack) await run.onceAt(client, "ended leases", () => endAbandoned(client, run));
    return client;
}

async function endAbandoned(client: Client, { stack, id: ours }: Run): Promise<void> {
    const { leases } = await client.leases.list({ filters: [`labels."${STACK_LABEL}"==${JSON.stringify(stack)}`] });
    for (const { id, labels } of leases) {
        if (labels[RUN_LABEL] === ours) continue;
        if (labels[PURPOSE] === PULL) await removeIncoming(client, labels[UID] ?? "");
        await endLease(client, id);
    }
    const filters = [`labels."${COMMAND_LABEL}",labels."${STACK_LABEL}"==${JSON.stringify(stack)}`];
    const { containers } = await client.containers.list({ filters });
    for (const { id, labels } of containers) if (labels[RUN_LABEL] !== ours) await removeCommand(client, id);
}
