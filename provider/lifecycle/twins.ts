/**
 * Refuses one machine under two names, which would be filled, counted and claimed twice. Equal settings are refused where the
 * config is read; this is for those that differ and lead to the same containerd: a name and an address, two ways through a
 * jump host. Source: containerd's Introspection service (`Server`).
 */
import type { Client } from "../containerd/client";
import { endLease, startLease } from "../containerd/leases";
import { ContainerdError } from "../errors";
import type { Run } from "./run";

/** Milliseconds: a node that hangs must not hold up the one that is compared with it. */
const PATIENCE = 5_000;
/** Milliseconds after which containerd drops the lease of a comparison whose maker was killed. */
const EXPIRE = 60_000;

/**
 * Throws `Invalid` when this run has changed, or is about to change, the same containerd under another node's name.
 *
 * Asks the node once a run for containerd's UUID. Where another node has the same one, a lease tells whether they are one: machines
 * that were cloned from one image share the UUID (`io.containerd.grpc.v1.introspection/uuid` below containerd's root), and are two
 * all the same.
 *
 * @param owner URN of the resource that is worked on.
 */
export function refuseTwin(run: Run, client: Client, owner: string): Promise<void> {
    return run.onceAt(client, "twins", async () => {
        const { uuid } = await client.introspection.server({});
        if (uuid === "") return;
        const alike = run.first(`nodes of containerd ${uuid}`, [] as Client[]);
        // Of two that come at the same time, the second one finds the first one here.
        const before = alike.filter(({ node }) => node !== client.node);
        alike.push(client);
        try {
            const twin = before.length ? await findTwin(client, before, owner) : undefined;
            if (twin !== undefined) throw sameMachine(client.node, twin);
        } catch (error) {
            alike.splice(alike.indexOf(client), 1);
            throw error;
        }
    });
}

/** The one of the others that sees a lease which is made here. One that does not answer is no proof of anything. */
async function findTwin(client: Client, others: readonly Client[], owner: string): Promise<string | undefined> {
    const { id } = await startLease(client, { owner, expire: EXPIRE });
    try {
        const seen = others.map(async (other) => {
            const request = { filters: [`id==${id}`] };
            const { leases } = await other.leases.list(request, { timeout: PATIENCE }).catch(() => ({ leases: [] }));
            return leases.length > 0;
        });
        return others[(await Promise.all(seen)).indexOf(true)]?.node;
    } finally {
        await endLease(client, id, false).catch(() => undefined);
    }
}

function sameMachine(node: string, twin: string): ContainerdError {
    return new ContainerdError(
        "Invalid",
        `is the same machine as node ${twin}: both lead to one containerd. Give each machine one name: take one of the two out of the ` +
            "stack config containerd:nodes (or of the program's Nodes), and use the other one",
        { node },
    );
}
