/**
 * Whose a machine is: a lease of containerd's, one for each stack, that carries the UUID of the Node in the stack's state. Two
 * backends with stacks of one name would else take each other's things for leftovers. Source: containerd's Leases service.
 */
import { createHash } from "node:crypto";
import type { Client } from "../containerd/client";
import { OWNER } from "../containerd/labels";
import { endLease } from "../containerd/leases";
import { ContainerdError, hasCode } from "../errors";
import { claimsOf } from "../images/names";
import { stackOfUrn } from "./leases";
import { LABEL } from "./ownership";

/** Where the lease is: a namespace that every containerd has. */
export const CLAIM_NAMESPACE = "default";

/** Who claims a machine. */
export interface MachineClaim {
    /** URN of the Node. */
    owner: string;
    /** Its UUID. */
    claim: string;
}

/** Name of the lease by which a stack claims a machine. */
export function claimLease(owner: string): string {
    const hash = createHash("sha256").update(stackOfUrn(owner)).digest("hex");
    return `pulumi-containerd-claim-${hash.slice(0, 16)}`;
}

/** The UUID by which a stack's claim stands on a machine; undefined when there is none. */
export async function claimOn(client: Client, owner: string): Promise<string | undefined> {
    const found = await findClaim(client, owner);
    return found?.labels[LABEL.node];
}

async function findClaim(client: Client, owner: string) {
    const id = claimLease(owner);
    const { leases } = await client.inNamespace(CLAIM_NAMESPACE).leases.list({ filters: [`id==${id}`] });
    return leases.find((lease) => lease.id === id);
}

/**
 * Claims a machine for a Node. A claim of the same stack by another UUID holds while anything of that stack is there; where
 * nothing is, it was left by a killed create, and is taken over. Throws `Conflict`.
 *
 * @param isOurs whether a UUID is one of this very state's: the Node is being replaced, and takes its own claim over.
 */
export async function claimMachine(
    client: Client,
    { owner, claim }: MachineClaim,
    isOurs: (claim: string) => boolean = () => false,
): Promise<void> {
    const at = client.inNamespace(CLAIM_NAMESPACE);
    const id = claimLease(owner);
    // Two at once: the second one finds the first one's lease.
    for (let attempt = 0; attempt < 3; attempt++) {
        try {
            await at.leases.create({ id, labels: { [LABEL.node]: claim, [OWNER]: owner } });
            return;
        } catch (error) {
            if (!hasCode(error, "AlreadyExists")) throw error;
        }
        const found = await findClaim(client, owner);
        if (!found) continue;
        const other = found.labels[LABEL.node] ?? "";
        if (other === claim) return;
        if (!isOurs(other)) {
            const things = await thingsOf(client, owner);
            if (things.length) throw claimedByOther(client.node, owner, other, things);
        }
        await endLease(at, id);
    }
    throw new ContainerdError("Conflict", "others claim this machine at the same time: try again", {
        node: client.node,
    });
}

/** Ends a claim, if it is this one. Can be called twice. */
export async function releaseMachine(client: Client, { owner, claim }: MachineClaim): Promise<void> {
    if ((await claimOn(client, owner)) !== claim) return;
    await endLease(client.inNamespace(CLAIM_NAMESPACE), claimLease(owner));
}

/** Throws `Conflict` when the claim on a machine is not the one that a resource was made under. */
export async function verifyClaim(client: Client, { owner, claim }: MachineClaim): Promise<void> {
    const found = await claimOn(client, owner);
    if (found === claim) return;
    if (found !== undefined) throw claimedByOther(client.node, owner, found, await thingsOf(client, owner));
    throw new ContainerdError(
        "Conflict",
        "the claim of its Node is gone: the machine was made anew, or somebody took the claim away. Run `pulumi refresh`, " +
            "then `pulumi up` makes anew what is missing",
        { node: client.node },
    );
}

/** What of a stack is on a machine: containers as `namespace/name`, and claims on images. */
async function thingsOf(client: Client, owner: string): Promise<string[]> {
    const stack = `${stackOfUrn(owner)}::`;
    const { namespaces } = await client.namespaces.list({});
    const found: string[] = [];
    for (const { name } of namespaces) {
        const at = client.inNamespace(name);
        for await (const { container } of at.containers.listStream({ filters: [`labels."${OWNER}"`] })) {
            if (container?.labels[OWNER]?.startsWith(stack)) found.push(`${name}/${container.id}`);
        }
        const { images } = await at.images.list({ filters: [] });
        const used = images.filter(({ labels }) => [...claimsOf(labels).values()].some((of) => of.startsWith(stack)));
        found.push(...used.map((image) => `${name}/${image.name}`));
    }
    return found;
}

function claimedByOther(node: string, owner: string, other: string, things: readonly string[]): ContainerdError {
    const [, stack = "", project = ""] = /^urn:pulumi:([^:]*)::([^:]*)/.exec(owner) ?? [];
    const there = things.length ? `: ${things.slice(0, 5).join(", ")}${things.length > 5 ? ", …" : ""}` : "";
    return new ContainerdError(
        "Conflict",
        `another state of a stack ${stack} of project ${project} has claimed this machine (UUID ${other}), and has ${things.length} ` +
            `containers and images there${there}. Two backends with a stack of that name? Give one of them another name. If the Node was renamed in this program, give it an alias. If that state is lost, ` +
            `give up its claim on the machine by \`ctr -n ${CLAIM_NAMESPACE} leases delete ${claimLease(owner)}\` and remove those containers`,
        { node },
    );
}
