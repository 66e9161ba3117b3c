/**
 * What a container shares: namespaces that outlive its process and lie on the node by name, made by the network's script before
 * each start. A container on a bridge has such a network namespace of its own; members of a pod have all of them in common.
 */
import { type Attachment, namespacePath, type SharedNamespace } from "../network/settings";
import { containerFolder } from "../node/folders";
import type { ContainerInputs, NetworkInputs, PodNetwork } from "./inputs";

/** The shared part of one container, of several containers, or of a pod. */
export interface Sandbox {
    /** `NAME@NAMESPACE` of the container or pod whose it is. */
    key: string;
    /** The folder on the node of the container or pod whose it is: its network's script and `hosts` lie there. */
    folder: string;
    namespaces: readonly SharedNamespace[];
    /** Whether `/dev/shm` is shared too. */
    shm: boolean;
}

/** Where a container's address and names come from, for what stands in its arguments (`self.address`). */
export interface Self {
    /** The container's or pod's own address; the node's with network `host`, empty with `none`. */
    address: string;
    /** Its IPv6 address; the node's with network `host` if others reach it by one; else empty. */
    address6: string;
    /** Where others reach the node. */
    nodeAddress: string;
    nodeName: string;
}

/** The key of a container or pod: no two on a node have the same. */
export function sandboxKey({ namespace, name }: { namespace: string; name: string }): string {
    return `${name}@${namespace}`;
}

/** What a container shares, and with whom; undefined where all of it is its own, or the node's. Pure. */
export function sandboxOf(inputs: Pick<ContainerInputs, "namespace" | "name" | "network">): Sandbox | undefined {
    const { network } = inputs;
    if (network === "host" || network === "none") return undefined;
    if (typeof network === "object" && "pod" in network) {
        return podSandbox({ namespace: inputs.namespace, name: network.pod }, network);
    }
    if (typeof network === "object" && "container" in network) {
        const [namespace = "", name = ""] = network.container.split("/");
        return ofOther(name, namespace, ["net"], false);
    }
    return ofOther(inputs.name, inputs.namespace, ["net"], false);
}

/** What the members of a pod share. On the node's own network that is no network and no host name. */
export function podSandbox(
    { namespace, name }: { namespace: string; name: string },
    { host = false, shareProcessNamespace = false }: Omit<PodNetwork, "pod"> = {},
): Sandbox {
    const namespaces: SharedNamespace[] = host ? ["ipc"] : ["net", "ipc", "uts"];
    return ofOther(name, namespace, [...namespaces, ...(shareProcessNamespace ? ["pid" as const] : [])], true);
}

/** Whether a container is on the node's own network. */
export function isOnHost(network: NetworkInputs): boolean {
    return network === "host" || (typeof network === "object" && "pod" in network && network.host === true);
}

/** Whether the sandbox is the container's own: then its network goes with it. */
export function ownsSandbox(inputs: Pick<ContainerInputs, "namespace" | "name" | "network">): boolean {
    return sandboxOf(inputs)?.key === sandboxKey(inputs);
}

function ofOther(name: string, namespace: string, namespaces: Sandbox["namespaces"], shm: boolean): Sandbox {
    return { key: sandboxKey({ namespace, name }), folder: containerFolder(namespace, name), namespaces, shm };
}

/** In whose folder `scratch` mounts lie: the pod's, so that its members share them, else the container's own. */
export function scratchHome(inputs: Pick<ContainerInputs, "namespace" | "network">, folder: string): string {
    const { network, namespace } = inputs;
    return typeof network === "object" && "pod" in network ? containerFolder(namespace, network.pod) : folder;
}

/** Path of one of the namespaces. */
export function sandboxPath({ key }: Sandbox, kind: SharedNamespace | "shm"): string {
    return namespacePath(key, kind);
}

/** The address under which a namespace is reached on its node and network; empty where it has none. */
export function addressOf(attachment: Attachment): string {
    if (attachment.driver === "none" || attachment.driver === "cni") return "";
    return attachment.ip4?.address ?? attachment.ip6?.address ?? "";
}

/** The IPv6 address of a namespace on its network; empty where it has none. */
export function address6Of(attachment: Attachment): string {
    if (attachment.driver === "none" || attachment.driver === "cni") return "";
    return attachment.ip6?.address ?? "";
}

/** An attachment as it is on a node without IPv6. */
export function withoutIp6(attachment: Attachment): Attachment {
    return attachment.driver === "none" || attachment.driver === "cni" ? attachment : { ...attachment, ip6: undefined };
}
