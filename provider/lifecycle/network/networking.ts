/**
 * The network of a container that is made, renewed or read: its place on it is reserved with the container's own name, and what
 * the node is told about it lies in the container's folder.
 */
import { isIPv6 } from "node:net";
import type { Client } from "../../containerd/client";
import type { FileToWrite } from "../../containerd/node-files";
import { ContainerdError, hasCode } from "../../errors";
import { networkScript } from "../../network/script";
import { type Attachment, networkScriptPath, type NetworkSettings, RUN_FOLDER } from "../../network/settings";
import { address6Of, addressOf, isOnHost, type Sandbox, type Self, sandboxKey, withoutIp6 } from "../../spec/sandbox";
import type { ContainerInputs } from "../../spec/inputs";
import type { LinuxNamespace, Spec } from "../../spec/types";
import { knownUid } from "../check/common";
import { deleteObject } from "../late-start";
import { LABEL } from "../ownership";
import type { Run } from "../run";
import { nodeAddress } from "../settings";
import { chooseAttachment, chosenNetwork, isAlone } from "./attachment";
import { warnOfTable } from "./conntrack";
import { hostPortsIn, portLabels } from "./host-ports";
import { checkNetwork } from "./node-network";
import { type HostPorts, portsOf, publishedAt } from "./published";
import { networkSettings, type Networked } from "./settings";

/** What is known of a container's network. */
export interface Networking {
    /** What the node is told; absent where the network is not the container's own. */
    settings?: NetworkSettings;
    /** The labels that keep its place. */
    labels: Record<string, string>;
    /** The host ports that were chosen for it. */
    hostPorts: HostPorts;
    self: Self;
}

/** As much of a container or pod as its network asks for. */
export type NetworkOwner = Networked & Pick<ContainerInputs, "uid" | "node" | "nodeAddress" | "connection">;

const ATTEMPTS = 20;

/**
 * Looks whether the node can give the network, and takes a place on it with the name: `reserve` makes the object that has these
 * labels. `pod`: what its members share, where it is a pod. Throws `Conflict`, `Failed`.
 */
export async function reserveNetwork(
    run: Run,
    client: Client,
    inputs: NetworkOwner,
    reserve: (labels: Record<string, string>) => Promise<void>,
    pod?: Sandbox,
): Promise<Networking> {
    const choice = chosenNetwork(inputs.network);
    if (!choice) {
        const labels = pod ? networkLabels({ driver: "none" }, undefined) : {};
        await reserve(labels);
        return networkOf(run, client, inputs, labels, pod);
    }
    const predecessor = await predecessorOf(run, client, inputs);
    const isFixed = choice.ip !== undefined || choice.ip6 !== undefined;
    let hasIp6 = true;
    for (let attempt = 1; ; attempt++) {
        const chosen = await chooseAttachment(run, client, choice, `${inputs.uid} ${attempt}`);
        if (attempt === 1) {
            const settings = networkSettings(inputs, chosen, predecessor, pod);
            hasIp6 = await checkNetwork(client, settings);
            await warnOfTable(run, client, inputs.owner, settings);
        }
        // What is told to others must be an address that it has.
        const attachment = hasIp6 ? chosen : withoutIp6(chosen);
        const settings = networkSettings(inputs, attachment, predecessor, pod);
        const labels = { ...networkLabels(attachment, predecessor), ...portLabels(settings.ports, {}) };
        await reserve(labels);
        if (await isAlone(client, attachment, { uid: inputs.uid, isFixed })) {
            return { settings, labels, hostPorts: {}, self: selfOf(run, inputs, attachment) };
        }
        await deleteObject(client, inputs.name);
        if (attempt === ATTEMPTS) {
            const reason = `other runs took each of ${ATTEMPTS} addresses at the same moment: run pulumi up again`;
            throw new ContainerdError("Conflict", reason, { property: "network" });
        }
    }
}

function networkLabels(attachment: Attachment, predecessor: string | undefined): Record<string, string> {
    const kept = attachment.driver === "cni" ? { ...attachment, plugins: [] } : attachment;
    return {
        [LABEL.attachment]: JSON.stringify(kept),
        ...(predecessor !== undefined && { [LABEL.predecessor]: predecessor }),
    };
}

/** What is known of the network of one that is there, by its labels. */
export async function networkOf(
    run: Run,
    client: Client,
    inputs: NetworkOwner,
    labels: Record<string, string>,
    pod?: Sandbox,
): Promise<Networking> {
    const choice = chosenNetwork(inputs.network);
    const attachment = attachmentIn(labels, choice?.definition.plugins);
    if (!attachment) {
        return { labels: {}, hostPorts: {}, self: selfOf(run, inputs, await joinedAttachment(client, inputs)) };
    }
    const predecessor = labels[LABEL.predecessor] || undefined;
    const hostPorts = hostPortsIn(labels);
    const kept = [LABEL.hostPorts, LABEL.published].filter((key) => labels[key]).map((key) => [key, labels[key]!]);
    return {
        settings: networkSettings(inputs, attachment, predecessor, pod, hostPorts),
        labels: { ...networkLabels(attachment, predecessor), ...(Object.fromEntries(kept) as Record<string, string>) },
        hostPorts,
        self: selfOf(run, inputs, attachment),
    };
}

/** The place on a network that labels keep. */
export function attachmentIn(
    labels: Record<string, string>,
    plugins: Record<string, unknown>[] = [],
): Attachment | undefined {
    const text = labels[LABEL.attachment];
    if (!text) return undefined;
    const attachment = JSON.parse(text) as Attachment;
    return attachment.driver === "cni" ? { ...attachment, plugins } : attachment;
}

/** The place of one whose network is another container's or pod's. */
async function joinedAttachment(client: Client, inputs: NetworkOwner): Promise<Attachment | undefined> {
    const { network } = inputs;
    if (isOnHost(network) || typeof network !== "object") return undefined;
    const [namespace, name] =
        "container" in network
            ? network.container.split("/")
            : [inputs.namespace, "pod" in network ? network.pod : undefined];
    return namespace && name ? attachmentOfContainer(client, namespace, name) : undefined;
}

const LOOPBACK = "127.0.0.1";

/**
 * Where a container is, by what is on its node alone. `address` is where the node reaches its ports: its own address, that of whom it
 * shares the network with, or with network `host` the node's loopback.
 */
export async function reachedAt(
    run: Run,
    client: Client,
    node: Pick<NetworkOwner, "node" | "nodeAddress" | "connection">,
    { labels, spec }: { labels: Record<string, string>; spec: { value?: Uint8Array | string } | null },
): Promise<{ address: string; self: Self }> {
    const { name, namespace } = sandboxIn(spec) ?? {};
    const joined = name && namespace ? await attachmentOfContainer(client, namespace, name) : undefined;
    const attachment = attachmentIn(labels) ?? joined;
    const network = networkNamespace(spec) ? "none" : "host";
    return {
        address: (attachment && addressOf(attachment)) || LOOPBACK,
        self: selfOf(run, { ...node, network }, attachment),
    };
}

/** Whose network a container joins, by its spec; undefined where it joins none that lies on the node by name. */
export function sandboxIn(
    spec: { value?: Uint8Array | string } | null,
): { name: string; namespace: string } | undefined {
    const path = networkNamespace(spec)?.path ?? "";
    const key = path.startsWith(`${RUN_FOLDER}/`) ? path.slice(RUN_FOLDER.length + 1).split("/")[0] : undefined;
    const [name, namespace] = key?.split("@") ?? [];
    return name && namespace ? { name, namespace } : undefined;
}

function networkNamespace(spec: { value?: Uint8Array | string } | null): LinuxNamespace | undefined {
    const { linux } = JSON.parse(Buffer.from((spec?.value ?? "{}") as Uint8Array).toString() || "{}") as Partial<Spec>;
    return linux?.namespaces.find(({ type }) => type === "network");
}

async function attachmentOfContainer(client: Client, namespace: string, name: string): Promise<Attachment | undefined> {
    try {
        const { container } = await client.inNamespace(namespace).containers.get({ id: name });
        return attachmentIn(container?.labels ?? {});
    } catch (error) {
        if (hasCode(error, "NotFound")) return undefined;
        throw error;
    }
}

/** Where others reach the node of a container. */
export function publicAddress(
    run: Run,
    { node, nodeAddress: given, connection }: Pick<NetworkOwner, "node" | "nodeAddress" | "connection">,
): string {
    return given ?? connection?.host ?? nodeAddress(run.settings, node);
}

function selfOf(
    run: Run,
    inputs: Pick<NetworkOwner, "network" | "node" | "nodeAddress" | "connection">,
    attachment: Attachment | undefined,
): Self {
    const atNode = publicAddress(run, inputs);
    const onHost = isOnHost(inputs.network);
    return {
        address: (attachment && addressOf(attachment)) || (onHost ? atNode : ""),
        address6: (attachment && address6Of(attachment)) || (onHost && isIPv6(atNode) ? atNode : ""),
        nodeAddress: atNode,
        nodeName: inputs.node,
    };
}

/** Key of the container that the state had for this owner when the run began, if this one takes its place on the same node. */
async function predecessorOf(run: Run, client: Client, inputs: NetworkOwner): Promise<string | undefined> {
    const before = knownUid(run, inputs.owner);
    if (before === undefined || before === inputs.uid || !(inputs.ports?.length || inputs.publishAll)) return undefined;
    const filters = [`labels."${LABEL.uid}"==${JSON.stringify(before)}`];
    const { containers } = await client.containers.list({ filters });
    const found = containers.find(({ labels }) => labels[LABEL.owner] === inputs.owner && labels[LABEL.attachment]);
    return found && sandboxKey({ namespace: inputs.namespace, name: found.id });
}

/** Where published ports answer. */
export function publishedOf(
    run: Run,
    inputs: Pick<NetworkOwner, "ports" | "node" | "nodeAddress" | "connection">,
    hostPorts: HostPorts | undefined,
): Record<string, string> {
    const ports = portsOf(inputs.ports, hostPorts);
    return ports.length > 0 ? publishedAt(ports, publicAddress(run, inputs)) : {};
}

/** The files that the node is told by. */
export function networkFiles(settings: NetworkSettings | undefined): FileToWrite[] {
    if (!settings) return [];
    const path = networkScriptPath(settings.folder);
    return [{ path, content: networkScript(settings), mode: 0o700, uid: 0, gid: 0 }];
}
