/** What the script on the node is told, from a container's inputs. Pure. */
import type { Attachment, NetworkSettings } from "../../network/settings";
import { containerFolder } from "../../node/folders";
import type { ContainerInputs } from "../../spec/inputs";
import { containerHostname } from "../../spec/namespaces";
import { linuxResources } from "../../spec/resources";
import { type Sandbox, sandboxKey, sandboxOf } from "../../spec/sandbox";
import { nameOfUrn } from "../names";
import { chosenNetwork } from "./attachment";
import { type HostPorts, portsOf } from "./published";

/** The arguments of a container or pod that concern its network. */
export type Networked = Pick<
    ContainerInputs,
    | ("owner" | "namespace" | "name" | "network" | "ports" | "publishAll")
    | ("hosts" | "dns" | "hostname" | "domainname" | "memory" | "cpu" | "pidsLimit")
>;

/**
 * The settings of a network that belongs to this container, or to a pod whose members share so much. `hostPorts` are those that
 * were chosen.
 */
export function networkSettings(
    inputs: Networked,
    attachment: Attachment,
    predecessor?: string,
    pod?: Sandbox,
    hostPorts?: HostPorts,
): NetworkSettings {
    const own = pod ?? sandboxOf(inputs) ?? ownSandbox(inputs);
    const hostname = containerHostname(inputs as ContainerInputs) ?? inputs.name;
    return {
        key: own.key,
        folder: own.folder,
        namespaces: own.namespaces,
        ...(own.namespaces.includes("uts") && { hostname }),
        ...(own.shm && { shm: SHM_SIZE }),
        ...(pod && { cgroup: { path: `/${inputs.namespace}/${inputs.name}`, limits: linuxResources(inputs) } }),
        attachment,
        ports: portsOf(inputs.ports, hostPorts),
        ...(predecessor !== undefined && { predecessor }),
        names: namesOf(inputs, hostname),
        hosts: inputs.hosts ?? {},
        dns: {
            servers: inputs.dns?.servers ?? [],
            search: inputs.dns?.search ?? [],
            options: inputs.dns?.options ?? [],
        },
    };
}

/** Of a container whose network argument says nothing about it any more. */
function ownSandbox({ namespace, name }: Networked): Sandbox {
    const folder = containerFolder(namespace, name);
    return { key: sandboxKey({ namespace, name }), folder, namespaces: ["net"], shm: false };
}

/** Docker's 64 MiB. */
const SHM_SIZE = 64 << 20;

/**
 * The host name first, with its domain before it, as with Docker. On a Network also the resource's own name and its aliases; on the
 * default network, which all stacks of a node share, only names that no two have.
 */
function namesOf(inputs: Networked, hostname: string): string[] {
    const choice = chosenNetwork(inputs.network);
    const full = inputs.domainname === undefined ? [hostname] : [`${hostname}.${inputs.domainname}`, hostname];
    if (inputs.network === "bridge" || !choice) return full;
    const own = nameOfUrn(inputs.owner);
    const names = [...full, ...(/^[A-Za-z0-9][A-Za-z0-9-]{0,62}$/.test(own) ? [own] : []), ...(choice.aliases ?? [])];
    return [...new Set(names)];
}
