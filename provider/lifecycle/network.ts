/**
 * The life of a Network: a record on its node, from its creation to its removal. The bridge itself is made by the first container
 * that starts on it, and again after each boot; what that needs to know every container brings along.
 */
import type { Client } from "../containerd/client";
import { LONGEST_LABEL } from "../containerd/labels";
import { ContainerdError, hasCode } from "../errors";
import { bridgeName, chooseSubnets, defaultGateway, formatSubnet, parseSubnet } from "../network/addresses";
import type { NetworkDefinition } from "../network/definition";
import { sandboxKey } from "../spec/sandbox";
import { nodePolicies, type Placed, placed } from "./check/common";
import { definitionProblems, networkSchema } from "./check/network-resource";
import { validate } from "./check/validate";
import { argumentsOf, compare, type Policies } from "./diff";
import { labelChange, givenLabels } from "./labels";
import { deleteObject, inert } from "./late-start";
import { clientForChange } from "./leases";
import type { Lifecycle } from "./lifecycle";
import { formatId, nameFor, parseId } from "./names";
import { attach, tenants } from "./network/attachment";
import { checkNetwork } from "./network/node-network";
import { networkSettings } from "./network/settings";
import { contestedSubnets, overlapping } from "./network/subnets";
import { foreign, LABEL, ownerLabels } from "./ownership";
import { leftovers, oursBefore } from "./sweep";
import { knownUid } from "./check/common";
import { chooseNode } from "./settings";
import { isUnknown } from "./unknown";

/** A Network's arguments after `check`. */
export interface NetworkResourceInputs extends Placed, Omit<NetworkDefinition, "key" | "bridge" | "driver"> {
    name: string;
    driver: NetworkDefinition["driver"];
    labels?: Record<string, string>;
    /** What containers on it are told; made of the other arguments. */
    definition: NetworkDefinition;
}

/** What is known of a Network that was made. */
export interface NetworkState extends NetworkResourceInputs {
    networkName: string;
}

const policies: Policies<NetworkResourceInputs> = {
    owner: "update",
    uid: "none",
    revision: "none",
    retainOnDelete: "update",
    timeouts: "none",
    replaceOnChanges: "none",
    ...nodePolicies,
    namespace: "replace",
    name: "replace",
    driver: "replace",
    subnet: "replace",
    gateway: "replace",
    subnet6: "replace",
    gateway6: "replace",
    mtu: "replace",
    internal: "replace",
    masquerade: "replace",
    parent: "replace",
    mode: "replace",
    plugins: "replace",
    cniVersion: "replace",
    labels: "update",
    definition: "none",
};

export const network: Lifecycle<NetworkResourceInputs, NetworkState> = {
    arguments: argumentsOf(policies),

    check(run, olds, news) {
        const { value, failures } = validate(networkSchema, news);
        if (failures.length) return Promise.resolve({ inputs: news, failures });
        const given = value as Partial<NetworkResourceInputs> & { owner: string };
        const wrong = definitionProblems(given);
        if (wrong.length) return Promise.resolve({ inputs: news, failures: wrong });
        const place = placed(run, given, olds);
        const name = nameFor(given, olds);
        const filled = { ...given, ...place, name, driver: given.driver ?? "bridge", ...subnetsOf(given, olds) };
        const definition = definitionOf(filled as NetworkResourceInputs);
        const { gateway, gateway6 } = definition;
        const inputs = { ...filled, gateway, gateway6, definition };
        const contested = contestedSubnets(run, inputs);
        if (contested.length) return Promise.resolve({ inputs: news, failures: contested });
        return Promise.resolve({ inputs, failures });
    },

    diff(olds, news) {
        const { changed, replaces } = compare(policies, olds, news);
        return { changed, replaces, deleteBeforeReplace: replaces.length > 0 && wouldFight(olds, news) };
    },

    async create(run, inputs) {
        const client = await clientForChange(run, inputs.node, inputs.namespace);
        const before = await oursBefore(run, client);
        for (const { name } of leftovers(before.get(inputs.owner) ?? [], knownUid(run, inputs.owner))) {
            await deleteObject(client, name);
        }
        await assertFree(client, inputs);
        await reserve(client, inputs);
        try {
            // Another program's may have come at the same moment; then both give way, since neither knows which was first.
            await assertApart(client, inputs);
        } catch (error) {
            await deleteObject(client, inputs.name);
            throw error;
        }
        return { id: formatId(inputs), state: { ...inputs, networkName: inputs.name } };
    },

    async read(run, id, state) {
        const { namespace, name, uid } = parseId(id);
        const node = state.node ?? chooseNode(run.settings, undefined);
        const labels = await labelsOf(await run.client(node, namespace), name);
        if (labels?.[LABEL.uid] !== uid) return undefined;
        if (state.definition !== undefined) return { ...state, labels: givenLabels(labels, state.labels) };
        const definition = definitionIn(labels, node);
        const { driver, subnet, gateway, subnet6, gateway6 } = definition;
        const known = { driver, subnet, gateway, subnet6, gateway6, definition };
        return { ...state, ...known, node, namespace, name, uid, networkName: name };
    },

    async update(run, _id, olds, news) {
        const client = await clientForChange(run, news.node, news.namespace);
        const labels = { ...labelChange(olds.labels, news.labels), ...ownLabels(news) };
        const paths = Object.keys(labels).map((key) => `labels.${key}`);
        await client.containers.update({ container: { id: news.name, labels }, update_mask: { paths } });
        return { ...news, networkName: news.name };
    },

    async delete(run, id, state) {
        const { namespace, name, uid } = parseId(id);
        const client = await clientForChange(run, state.node, namespace);
        const labels = await labelsOf(client, name);
        if (labels?.[LABEL.uid] !== uid) return;
        await assertUnused(client, state);
        await deleteObject(client, name);
    },
};

/** The subnets: the given ones, those that it has, or chosen ones. */
function subnetsOf(
    given: Partial<NetworkResourceInputs> & { owner: string },
    olds: NetworkResourceInputs | undefined,
): Pick<NetworkResourceInputs, "subnet" | "gateway" | "subnet6" | "gateway6"> {
    const { driver = "bridge", owner, subnet, subnet6 } = given;
    const none = subnet6 === "" ? { subnet6: undefined } : {};
    if (driver !== "bridge" || subnet !== undefined || isUnknown(subnet)) return { ...none };
    if (olds?.driver === "bridge" && olds.subnet !== undefined) {
        return { subnet: olds.subnet, subnet6: subnet6 ?? olds.subnet6, ...none };
    }
    const chosen = chooseSubnets(owner, []);
    return { subnet: formatSubnet(chosen.subnet), subnet6: subnet6 ?? formatSubnet(chosen.subnet6), ...none };
}

/** What containers on it are told. Pure; parts may be unknown. */
function definitionOf(inputs: NetworkResourceInputs): NetworkDefinition {
    const { driver, subnet, subnet6, gateway, gateway6, mtu, internal, masquerade } = inputs;
    const { parent, mode, plugins, cniVersion } = inputs;
    const key = sandboxKey(inputs);
    const first = (text: string | undefined) =>
        text === undefined || isUnknown(text) || driver !== "bridge" ? undefined : defaultGateway(parseSubnet(text));
    return {
        key,
        driver,
        ...(driver === "bridge" && { bridge: bridgeName(key) }),
        subnet,
        gateway: gateway ?? first(subnet),
        subnet6,
        gateway6: gateway6 ?? first(subnet6),
        mtu,
        internal,
        masquerade,
        parent,
        mode,
        plugins,
        cniVersion,
    };
}

/** Whether the old and the new one could not stand side by side. */
function wouldFight(olds: NetworkState, news: NetworkResourceInputs): boolean {
    if (olds.node !== news.node) return false;
    if (olds.namespace === news.namespace && olds.name === news.name) return true;
    if (isUnknown(news.subnet) || isUnknown(news.subnet6)) return true;
    return (
        overlapping(olds.definition, news.definition) !== undefined ||
        (olds.driver === "macvlan" && olds.parent === news.parent)
    );
}

/** Throws `Conflict` where another Network or a route of the node has the subnet. */
async function assertFree(client: Client, inputs: NetworkResourceInputs): Promise<void> {
    const { owner, definition } = inputs;
    await assertApart(client, inputs);
    const attachment = attach({ definition }, owner, new Set());
    const named = { owner, namespace: inputs.namespace, name: inputs.name, network: { definition } };
    await checkNetwork(client, networkSettings(named, attachment));
}

/** Throws `Conflict` where another Network has the subnet. */
async function assertApart(client: Client, { node, definition }: NetworkResourceInputs): Promise<void> {
    const { namespaces } = await client.namespaces.list({});
    for (const { name } of namespaces) {
        const filters = [`labels."${LABEL.network}"`];
        const { containers } = await client.inNamespace(name).containers.list({ filters });
        for (const { labels } of containers) {
            const other = JSON.parse(labels[LABEL.network] ?? "{}") as NetworkDefinition;
            if (other.key === definition.key || definition.driver !== "bridge" || other.driver !== "bridge") continue;
            const property = overlapping(definition, other);
            if (property === undefined) continue;
            const reason = `${definition[property]} overlaps the Network ${labels[LABEL.owner]}: give another \`${property}\``;
            throw new ContainerdError("Conflict", reason, { node, property });
        }
    }
}

async function reserve(client: Client, inputs: NetworkResourceInputs): Promise<void> {
    try {
        await client.containers.create({ container: inert(inputs.name, { ...inputs.labels, ...ownLabels(inputs) }) });
    } catch (error) {
        if (!hasCode(error, "AlreadyExists")) throw error;
        throw foreign("network", inputs.name, (await labelsOf(client, inputs.name)) ?? {}).with({ node: inputs.node });
    }
}

function ownLabels(inputs: NetworkResourceInputs): Record<string, string> {
    const { plugins, ...definition } = inputs.definition;
    const whole = JSON.stringify(inputs.definition);
    // The plugins of a chain may be longer than a label.
    const fits = !plugins || Buffer.byteLength(LABEL.network) + Buffer.byteLength(whole) <= LONGEST_LABEL;
    const kept = fits ? whole : JSON.stringify({ ...definition, plugins: [] });
    return { ...ownerLabels({ ...inputs, phase: "complete" }), [LABEL.network]: kept };
}

/** What a Network of another program is. Throws `Unsupported` for a chain of plugins that is too long for its labels. */
function definitionIn(labels: Record<string, string>, node: string): NetworkDefinition {
    const definition = JSON.parse(labels[LABEL.network] ?? "{}") as NetworkDefinition;
    if (definition.driver !== "cni" || definition.plugins?.length) return definition;
    const reason =
        "the Network's chain of plugins is too long to be read by another program: make it a Network here too";
    throw new ContainerdError("Unsupported", reason, { node });
}

/** Throws `Conflict` while somebody has an address on it. */
async function assertUnused(client: Client, { node, name, definition }: NetworkState): Promise<void> {
    const on = (await tenants(client)).filter(
        ({ attachment }) => attachment.driver !== "none" && attachment.network === definition.key,
    );
    if (on.length === 0) return;
    const who = [...new Set(on.map(({ owner }) => owner))].slice(0, 3).join(", ");
    const reason = `network ${name} is in use by ${on.length} (${who}): delete them first`;
    throw new ContainerdError("Conflict", reason, { node });
}

async function labelsOf(client: Client, name: string): Promise<Record<string, string> | undefined> {
    try {
        return (await client.containers.get({ id: name })).container?.labels ?? {};
    } catch (error) {
        if (hasCode(error, "NotFound")) return undefined;
        throw error;
    }
}
