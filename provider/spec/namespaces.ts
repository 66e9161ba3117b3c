/** What the container sees of the node: namespaces, host name, network. */
import { type SpecOption, withLinux } from "./context";
import type { ContainerInputs } from "./inputs";
import type { LinuxNamespace } from "./types";

/** The kernel's limit is 64 bytes, DNS's 63. */
const HOSTNAME_LENGTH = 63;

/**
 * The name the container has in its UTS namespace. With network `host` and no `hostname` it is `undefined`: nothing is
 * written, and the new UTS namespace keeps the node's name at the time of the start, which is what Docker gives (it asks
 * for the name first, we need not know it). It is still a namespace of its own: the container cannot rename the node.
 */
export function containerHostname(inputs: ContainerInputs): string | undefined {
    if (inputs.hostname !== undefined) return inputs.hostname;
    if (inputs.network === "host") return undefined;
    return inputs.name.slice(0, HOSTNAME_LENGTH).replace(/[._-]+$/, "");
}

/** `hostname`. */
export const withHostname: SpecOption = (spec, { inputs }) => {
    const hostname = containerHostname(inputs);
    return hostname === undefined ? spec : { ...spec, hostname };
};

/**
 * The namespaces that every container has. The cgroup namespace is private on cgroup v2 and on v1 (Docker's default on v1 is
 * the node's): it hides the node's paths, and `/proc/self/cgroup` agrees with what is mounted at `/sys/fs/cgroup`.
 */
export const withNamespaces: SpecOption = (spec) => {
    const own: LinuxNamespace[] = [
        { type: "pid" },
        { type: "ipc" },
        { type: "uts" },
        { type: "mount" },
        { type: "cgroup" },
    ];
    return withLinux(spec, { namespaces: own });
};

/**
 * `network`: `host` is the node's, so no namespace; `none` is a new one with a loopback only (runc brings it up).
 * A network namespace of its own gets the two sysctls that Docker sets: any user may bind ports below 1024 there and ping
 * without a capability, both harmless where the network is the container's, and what makes no-new-privileges bearable.
 */
export const withNetwork: SpecOption = (spec, { inputs }) => {
    if (inputs.network === "host") return spec;
    return withLinux(spec, {
        namespaces: [...spec.linux.namespaces, { type: "network" }],
        sysctl: {
            ...spec.linux.sysctl,
            "net.ipv4.ip_unprivileged_port_start": "0",
            "net.ipv4.ping_group_range": "0 2147483647",
        },
    });
};
