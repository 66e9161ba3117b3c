/**
 * What `check` makes of a Container's arguments: plain, validated, units resolved (bytes, numbers), defaults filled in.
 * These are the inputs that stand in the state, and all that `spec/` gets.
 */
import type { NetworkDefinition } from "../network/definition";
import type { ConnectionSettings } from "../transport/ssh/settings";

/** One mount, the key in `mounts` being the absolute path in the container. Exactly one of bind, tmpfs, scratch, volume. */
export interface MountInputs {
    /** Absolute path on the node. */
    bind?: string;
    tmpfs?: {
        /** Bytes; the kernel's default (half of the memory) where absent. */ size?: number;
        /** Octal, like "1777". */ mode?: string;
    };
    /** Name of a folder of the container's own, which lives as long as the container. */
    scratch?: string;
    volume?: VolumeMountInputs;
    /** Path below the volume. */
    subPath?: string;
    readOnly?: boolean;
    propagation?: "private" | "rslave" | "rshared";
}

/** What a volume is made of, as Docker's driver `local` has it. */
export interface VolumeInputs {
    driver: "local" | "nfs" | "cifs" | "tmpfs";
    /** `type` and `device` as in mount(2), `o` as behind mount's `-o`. */
    options?: { type?: string; device?: string; o?: string };
}

/** A Volume, as whoever mounts it knows it. */
export interface VolumeMountInputs extends VolumeInputs {
    name: string;
    namespace: string;
    /** Which one of all that had that name. */
    uid: string;
    /** The node that it is on. */
    node: string;
    /** The folder on the node, where it is one. */
    path: string;
}

/** One file, the key in `files` being the absolute path in the container. */
export interface FileInputs {
    content?: string;
    base64?: string;
    /** Octal; "0644" where absent. */
    mode?: string;
    uid?: number;
    gid?: number;
    onChange?: OnChange;
}

/** What the running process is told when the file has changed. */
export type OnChange = "restart" | "none" | { signal: string } | { exec: string[] };

/** A Container's inputs after `check`. */
export interface ContainerInputs {
    /** URN of the resource: the owner written on all that is made. */
    owner: string;
    /** Which one of all objects that this owner ever made. */
    uid: string;
    /** Generation of what we generate (spec defaults, logger script); a new one reaches running containers as an update. */
    revision: number;
    retainOnDelete?: boolean;
    /** The option `customTimeouts`. */
    timeouts?: { create?: string; update?: string; delete?: string };
    /** The option `replaceOnChanges`. */
    replaceOnChanges?: string[];
    node: string;
    /** UUID of the claim of the Node that it is on, where that is a resource. */
    claim?: string;
    /** How that Node is reached. */
    connection?: ConnectionSettings;
    /** Where others reach that Node. */
    nodeAddress?: string;
    /** Whether that Node is declared lost. */
    lost?: boolean;
    /** containerd's namespace. */
    namespace: string;
    /** containerd's id of the container. */
    name: string;
    /** Pinned: `docker.io/library/nginx:1.27@sha256:…`. */
    image: string;
    /** `node/namespace` of the Image that `image` comes from, if it does: there the Image keeps it, and no claim is needed. */
    imageFrom?: string;
    /** Changes with each restart of the process that changed files ask for. */
    generation?: string;
    entrypoint?: string[];
    args?: string[];
    env?: Record<string, string>;
    files?: Record<string, FileInputs>;
    /** Name to content; stands in the container as `/run/secrets/NAME`. */
    secrets?: Record<string, string>;
    mounts?: Record<string, MountInputs>;
    workdir?: string;
    /** `user`, `user:group`, numbers or names. */
    user?: string;
    hostname?: string;
    /** NIS domain, and what stands behind the host name in `/etc/hosts`. */
    domainname?: string;
    tty?: boolean;
    readOnly?: boolean;
    privileged?: boolean;
    /** Names without `CAP_`, upper case, sorted; `ALL` allowed. */
    capabilities?: { add?: string[]; drop?: string[] };
    network: NetworkInputs;
    /** Published ports in Docker's words, sorted: `127.0.0.1:8080:80/tcp`, `10000-19999:10000-19999/udp`, `80/tcp`. */
    ports?: string[];
    /** Whether what the image exposes is published too. */
    publishAll?: boolean;
    /** Further lines of `/etc/hosts`: name to address. */
    hosts?: Record<string, string>;
    dns?: { servers?: string[]; search?: string[]; options?: string[] };
    /** Of the container's own namespaces. */
    sysctls?: Record<string, string>;
    /** Bytes. `swap` is memory plus swap, as Docker has it; -1 is unlimited. */
    memory?: { limit?: number; reservation?: number; swap?: number };
    cpu?: { cpus?: number; shares?: number; cpuset?: string };
    pidsLimit?: number;
    security?: { noNewPrivileges?: boolean; seccomp?: "default" | "unconfined" };
    labels?: Record<string, string>;
    snapshotter?: string;
    /** containerd's runtime, `io.containerd.runc.v2` where absent. */
    runtime?: string;
    log: LogInputs;
}

/**
 * The node's network, none at all, the default bridge, a Network with what this container is to have on it, that of another
 * Container (its Pulumi id), or that of a pod.
 */
export type NetworkInputs = "host" | "none" | "bridge" | NetworkChoice | { container: string } | PodNetwork;

/** A member's place in a pod of the same namespace. */
export interface PodNetwork {
    /** The pod's name. */
    pod: string;
    /** Whether the pod is on the node's own network. */
    host?: boolean;
    /** Whether its members see each other's processes. */
    shareProcessNamespace?: boolean;
}

/** A place on a Network. */
export interface NetworkChoice {
    definition: NetworkDefinition;
    /** Fixed addresses. */
    ip?: string;
    ip6?: string;
    mac?: string;
    /** Further names by which others on the network know it. */
    aliases?: string[];
}

/** Where the container's output goes. */
export interface LogInputs {
    driver: "file" | "none";
    /** Bytes at which the file is rotated. */
    maxSize: number;
    /** How many files are kept, the current one included. */
    maxFiles: number;
}
