/**
 * Which address a container or pod has on its network. containerd itself is the register: the address stands on the container's
 * object as a label, from its reservation to its removal, and no two objects of a node may have the same one.
 */
import type { Client } from "../../containerd/client";
import { ContainerdError } from "../../errors";
import { freeAddress, interfaceId, macOf, normalAddress, prefixOf } from "../../network/addresses";
import { DEFAULT_NETWORK, type NetworkDefinition } from "../../network/definition";
import type { Address, Attachment } from "../../network/settings";
import type { ContainerInputs, NetworkChoice, NetworkInputs } from "../../spec/inputs";
import { isAutomaticName } from "../names";
import { LABEL } from "../ownership";
import type { Run } from "../run";

/** The network that an argument means, with what is wanted on it; undefined where there is no network to be made. Pure. */
export function chosenNetwork(network: NetworkInputs): NetworkChoice | undefined {
    if (network === "bridge") return { definition: DEFAULT_NETWORK };
    return typeof network === "object" && "definition" in network ? network : undefined;
}

/** Who has an address on a node. */
interface Tenant {
    uid: string;
    owner: string;
    attachment: Attachment;
    labels: Record<string, string>;
}

/** Everything of ours on a node that has an address, whatever its namespace. */
export async function tenants(client: Client, filter = `labels."${LABEL.attachment}"`): Promise<Tenant[]> {
    const { namespaces } = await client.namespaces.list({});
    const found = namespaces.map(async ({ name }) => {
        const all: Tenant[] = [];
        for await (const { container } of client.inNamespace(name).containers.listStream({ filters: [filter] })) {
            const labels = container?.labels ?? {};
            const { [LABEL.attachment]: attachment, [LABEL.uid]: uid = "", [LABEL.owner]: owner = "" } = labels;
            if (attachment) all.push({ uid, owner, attachment: JSON.parse(attachment) as Attachment, labels });
        }
        return all;
    });
    return (await Promise.all(found)).flat();
}

/** Addresses by network, as this run knows them: read once, and each choice noted at once. */
function usedAddresses(run: Run, client: Client): Promise<Map<string, Set<string>>> {
    return run.onceAt(client.inNamespace("default"), "addresses", async () => {
        const used = new Map<string, Set<string>>();
        for (const { attachment } of await tenants(client)) note(used, attachment);
        return used;
    });
}

function note(used: Map<string, Set<string>>, attachment: Attachment): void {
    if (attachment.driver === "none") return;
    const known = used.get(attachment.network) ?? new Set();
    used.set(attachment.network, known);
    for (const address of addressesOf(attachment)) known.add(address);
}

/** All addresses of an attachment. */
export function addressesOf(attachment: Attachment): string[] {
    if (attachment.driver === "none" || attachment.driver === "cni") return [];
    return [attachment.ip4?.address, attachment.ip6?.address].filter((address) => address !== undefined);
}

/**
 * Chooses an address for a container or pod that is to be made. Throws `Conflict` for a fixed one that somebody has, `Failed`
 * when the subnet is full.
 */
export async function chooseAttachment(
    run: Run,
    client: Client,
    choice: NetworkChoice,
    seed: string,
): Promise<Attachment> {
    const used = await usedAddresses(run, client);
    const { key } = choice.definition;
    const fixed = [choice.ip, choice.ip6].flatMap((one) => (one === undefined ? [] : normalAddress(one)));
    if (fixed.length > 0) {
        // It may have been another's when the run began, who is gone since.
        for (const one of fixed) used.get(key)?.delete(one);
        for (const { attachment } of await tenants(client)) note(used, attachment);
    }
    const attachment = attach(choice, seed, used.get(key) ?? new Set());
    note(used, attachment);
    return attachment;
}

/**
 * Whether nobody else reserved the same addresses at the same time: another run may have. Both see each other then, or at least the
 * later one the earlier, and choose again; of those that want one fixed address the smaller uid keeps it.
 */
export async function isAlone(
    client: Client,
    attachment: Attachment,
    { uid, isFixed }: { uid: string; isFixed: boolean },
): Promise<boolean> {
    const ours = addressesOf(attachment);
    if (attachment.driver === "none" || ours.length === 0) return true;
    const others = await tenants(client);
    return !others.some(
        (other) =>
            (isFixed ? other.uid < uid : other.uid !== uid) &&
            other.attachment.driver !== "none" &&
            other.attachment.network === attachment.network &&
            addressesOf(other.attachment).some((address) => ours.includes(address)),
    );
}

/** A place on a network for whom `seed` tells apart, `used` being the addresses of others. Pure. */
export function attach(choice: NetworkChoice, seed: string, used: ReadonlySet<string>): Attachment {
    const { definition } = choice;
    const [fixed4, fixed6] = [choice.ip, choice.ip6].map((one) => (one === undefined ? one : normalAddress(one)));
    if (definition.driver === "cni") {
        const { key, plugins = [], cniVersion = "1.0.0" } = definition;
        return { driver: "cni", network: key, plugins, cniVersion };
    }
    for (const fixed of [fixed4, fixed6]) {
        if (fixed !== undefined && used.has(fixed)) {
            throw new ContainerdError("Conflict", `${fixed} is another container's on this network`, {
                property: fixed === fixed4 ? "network.ip" : "network.ip6",
            });
        }
    }
    const ip4 = place(definition.subnet, definition.gateway, fixed4, seed, used);
    // The same place in both subnets, so that an address can be recognized.
    const twin = ip4 && definition.subnet6 ? interfaceId(definition.subnet6, ip4.address, ip4.prefix) : undefined;
    const ip6 = place(
        definition.subnet6,
        definition.gateway6 && normalAddress(definition.gateway6),
        fixed6 ?? twin,
        seed,
        used,
    );
    const common = {
        network: definition.key,
        mtu: definition.mtu,
        ip4,
        ip6,
        mac: choice.mac ?? macOf(ip4?.address ?? ip6?.address ?? seed),
    };
    if (definition.driver === "macvlan") {
        return { driver: "macvlan", parent: definition.parent ?? "", mode: definition.mode ?? "bridge", ...common };
    }
    const { bridge = "", internal = false, masquerade = true } = definition;
    // The default network does without on a node that has none; who names an IPv6 subnet or address wants it.
    const needsIp6 = choice.ip6 !== undefined || (definition.key !== DEFAULT_NETWORK.key && ip6 !== undefined && !ip4);
    return { driver: "bridge", bridge, internal, masquerade, ...(needsIp6 && { needsIp6 }), ...common };
}

function place(
    subnet: NetworkDefinition["subnet"],
    gateway: string | undefined,
    fixed: string | undefined,
    seed: string,
    used: ReadonlySet<string>,
): Address | undefined {
    if (subnet === undefined) return undefined;
    const address = fixed ?? freeAddress(subnet, seed, gateway === undefined ? used : [...used, gateway]);
    if (address === undefined) {
        throw new ContainerdError(
            "Conflict",
            `all addresses of ${subnet} are taken: make a Network with a larger subnet`,
            {
                property: "network",
            },
        );
    }
    return { address, prefix: prefixOf(subnet), ...(gateway !== undefined && { gateway }) };
}

/** Whether both want one and the same fixed address on one network. Pure. */
export function sameFixedAddress(one: { network?: NetworkInputs }, other: { network?: NetworkInputs }): boolean {
    const [a, b] = [one, other].map(({ network }) => chosenNetwork(network ?? "host"));
    if (!a || !b || a.definition.key !== b.definition.key) return false;
    return (["ip", "ip6", "mac"] as const).some((key) => a[key] !== undefined && a[key] === b[key]);
}

/**
 * Whether the old and the new one could not stand side by side: by one name, on the host's own ports, or at one address. Published ports
 * are no reason: they move. Pure.
 */
export function wouldFight(olds: Standing, news: Standing): boolean {
    if (olds.node !== news.node) return false;
    // A replacement is checked again, without the old inputs, and gets another name where nobody chose one.
    const chosen = !isAutomaticName(olds.name, [olds.owner, news.owner]);
    const sameName = olds.namespace === news.namespace && olds.name === news.name;
    if ((chosen && sameName) || (olds.network === "host" && news.network === "host")) return true;
    return sameFixedAddress(olds, news);
}

/** What tells where a container or pod stands. */
type Standing = Pick<ContainerInputs, "node" | "namespace" | "name" | "owner"> & { network?: NetworkInputs };
