/**
 * What `check` makes of a Container's arguments: plain, validated, units resolved (bytes, numbers), defaults filled in.
 * These are the inputs that stand in the state, and all that `spec/` gets.
 */
import type { ConnectionSettings } from "../transport/ssh/settings";

/** One mount, the key in `mounts` being the absolute path in the container. Exactly one of bind, tmpfs. */
export interface MountInputs {
    /** Absolute path on the node. */
    bind?: string;
    tmpfs?: {
        /** Bytes; the kernel's default (half of the memory) where absent. */ size?: number;
        /** Octal, like "1777". */ mode?: string;
    };
    readOnly?: boolean;
    propagation?: "private" | "rslave" | "rshared";
}

/** One file, the key in `files` being the absolute path in the container. */
export interface FileInputs {
    content?: string;
    base64?: string;
    /** Octal; "0644" where absent. */
    mode?: string;
    uid?: number;
    gid?: number;
    onChange?: "restart" | "none";
}

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
    tty?: boolean;
    readOnly?: boolean;
    privileged?: boolean;
    /** Names without `CAP_`, upper case, sorted; `ALL` allowed. */
    capabilities?: { add?: string[]; drop?: string[] };
    network: "host" | "none";
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

/** Where the container's output goes. */
export interface LogInputs {
    driver: "file" | "none";
    /** Bytes at which the file is rotated. */
    maxSize: number;
    /** How many files are kept, the current one included. */
    maxFiles: number;
}
