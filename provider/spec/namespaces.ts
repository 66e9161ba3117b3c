/** What the container sees of the node: namespaces, host name, network. */
import { type SpecOption, withLinux } from "./context";
import type { ContainerInputs } from "./inputs";
import { isOnHost, sandboxOf, sandboxPath } from "./sandbox";
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
    if (isOnHost(inputs.network)) return undefined;
    return inputs.name.slice(0, HOSTNAME_LENGTH).replace(/[._-]+$/, "");
}

/** `hostname`. Where the UTS namespace is shared, whoever made it has named it. */
export const withHostname: SpecOption = (spec, { inputs }) => {
    const hostname = containerHostname(inputs);
    const shared = sandboxOf(inputs)?.namespaces.includes("uts") ?? false;
    return hostname === undefined || shared ? spec : { ...spec, hostname };
};

/**
 * The namespaces that every container has, those that it shares by their paths. The cgroup namespace is private on cgroup v2 and
 * on v1 (Docker's default on v1 is the node's): it hides the node's paths, and `/proc/self/cgroup` agrees with what is mounted
 * at `/sys/fs/cgroup`.
 */
export const withNamespaces: SpecOption = (spec, { inputs }) => {
    const sandbox = sandboxOf(inputs);
    const shared = (kind: "pid" | "ipc" | "uts"): { path?: string } =>
        sandbox?.namespaces.includes(kind) ? { path: sandboxPath(sandbox, kind) } : {};
    const namespaces: LinuxNamespace[] = [
        { type: "pid", ...shared("pid") },
        { type: "ipc", ...shared("ipc") },
        { type: "uts", ...shared("uts") },
        { type: "mount" },
        { type: "cgroup" },
    ];
    return withLinux(spec, { namespaces });
};

/**
 * `network`: `host` is the node's, so no namespace; `none` is a new one with a loopback only (runc brings it up); all else is one
 * that lies on the node by name. A network namespace of its own gets the two sysctls that Docker sets: any user may bind ports
 * below 1024 there and ping without a capability, both harmless where the network is the container's, and what makes
 * no-new-privileges bearable.
 */
export const withNetwork: SpecOption = (spec, { inputs }) => {
    const sysctl = { ...spec.linux.sysctl, ...inputs.sysctls };
    if (isOnHost(inputs.network)) return inputs.sysctls ? withLinux(spec, { sysctl }) : spec;
    const sandbox = sandboxOf(inputs);
    return withLinux(spec, {
        namespaces: [
            ...spec.linux.namespaces,
            { type: "network", ...(sandbox && { path: sandboxPath(sandbox, "net") }) },
        ],
        sysctl: {
            "net.ipv4.ip_unprivileged_port_start": "0",
            "net.ipv4.ping_group_range": "0 2147483647",
            ...sysctl,
        },
    });
};

/**
 * `domainname`, the NIS domain of the UTS namespace. As a sysctl, as Docker has it: runc knows the spec's own word for it only from
 * 1.2 on, and before passes it over without saying so. Where the namespace is shared, each member writes the same.
 */
export const withDomainname: SpecOption = (spec, { inputs: { domainname } }) => {
    if (domainname === undefined) return spec;
    return withLinux(spec, { sysctl: { ...spec.linux.sysctl, "kernel.domainname": domainname } });
};

/** `/dev/shm` in common with the other members. */
export const withSharedMemory: SpecOption = (spec, { inputs }) => {
    const sandbox = sandboxOf(inputs);
    if (!sandbox?.shm) return spec;
    const shm = { destination: "/dev/shm", type: "bind", source: sandboxPath(sandbox, "shm"), options: SHM_OPTIONS };
    return { ...spec, mounts: spec.mounts.map((mount) => (mount.destination === "/dev/shm" ? shm : mount)) };
};

const SHM_OPTIONS = ["rbind", "nosuid", "noexec", "nodev", "rw"];
