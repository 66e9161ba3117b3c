/**
 * Removes from a machine whatever was made there for a Node, in all namespaces: what is left when the Node goes, because
 * `deletedWith` spared its deletes or something was killed.
 */
import type { Client } from "../containerd/client";
import { listPullRemains, sweepImageLeftovers } from "../images/sweep";
import { release } from "../images/records";
import { removeClaimedVolumes } from "./make-volume";
import { LABEL, onNode } from "./ownership";
import { isRecord, type Labelled } from "./pod/record";
import { removePod } from "./pod/remove-pod";
import { removeContainer } from "./remove-container";
import type { Run } from "./run";

/** Removes it. Throws when the machine does not answer. */
export async function removeClaimed(run: Run, client: Client, of: { node: string; claim: string }): Promise<void> {
    const { namespaces } = await client.namespaces.list({});
    for (const { name: namespace } of namespaces) {
        const at = client.inNamespace(namespace);
        const doomed = ({ id, labels }: Labelled) => ({
            node: of.node,
            namespace,
            name: id,
            uid: labels[LABEL.uid] ?? "",
        });
        // A pod takes its members along, in their order.
        for (const one of await containersOf(at, of.claim)) if (isRecord(one)) await removePod(run, doomed(one));
        for (const one of await containersOf(at, of.claim)) await removeContainer(run, doomed(one));
        await removeClaimedVolumes(at, of.claim);
        const { leases, snapshots, claims } = await listPullRemains(at);
        const ours = ({ owner }: { owner: string }) => owner.endsWith(onNode(of.claim));
        const owners = new Set([...leases, ...snapshots].filter(ours).map(({ owner }) => owner));
        for (const owner of owners) await sweepImageLeftovers(at, owner, []);
        for (const { image, uid } of claims.filter(ours)) await release(at, image, uid);
    }
}

async function containersOf(client: Client, claim: string): Promise<Labelled[]> {
    const found: Labelled[] = [];
    const filters = [`labels."${LABEL.node}"==${JSON.stringify(claim)}`];
    for await (const { container } of client.containers.listStream({ filters })) {
        // What Pulumi was told to leave stays.
        if (container && container.labels[LABEL.retain] !== "true")
            found.push({ id: container.id, labels: container.labels });
    }
    return found;
}
