/**
 * Types of the OCI runtime spec 1.1 (https://github.com/opencontainers/runtime-spec), the document that containerd stores
 * with a container and runc runs. Only what this package writes or reads; the sections named are those of the spec.
 */

/** The whole document ("Container Configuration file: config.json"). */
export interface Spec {
    ociVersion: string;
    root: Root;
    process: Process;
    /** config.md, "Hostname": the name in the container's own UTS namespace; absent, the node's name stays. */
    hostname?: string;
    /** config.md, "Mounts": mounted in this order. */
    mounts: Mount[];
    /** config.md, "Annotations". */
    annotations?: Record<string, string>;
    hooks?: Hooks;
    linux: Linux;
}

/** config.md, "POSIX-platform Hooks": those that this package uses. */
export interface Hooks {
    /** Run on the node when the namespaces are made, before the root is the container's own; one that fails refuses the start. */
    createRuntime?: Hook[];
}

/** config.md, "POSIX-platform Hooks": one command. */
export interface Hook {
    /** Absolute, on the node. */
    path: string;
    /** The first is the command's name. */
    args?: string[];
    /** All that it gets: `NAME=value`. */
    env?: string[];
    /** Seconds. */
    timeout?: number;
}

/** config.md, "Root". */
export interface Root {
    /** Relative to the bundle. containerd mounts the snapshot there. */
    path: string;
    readonly?: boolean;
}

/** config.md, "Process". */
export interface Process {
    terminal?: boolean;
    user: User;
    args: string[];
    /** `NAME=value`. */
    env: string[];
    /** Absolute. runc makes it where it is missing. */
    cwd: string;
    capabilities?: LinuxCapabilities;
    noNewPrivileges?: boolean;
    rlimits?: Rlimit[];
    oomScoreAdj?: number;
}

/** config.md, "User", POSIX platforms. */
export interface User {
    uid: number;
    gid: number;
    additionalGids?: number[];
}

/** config.md, "Linux Process": capability sets, names with `CAP_`. */
export interface LinuxCapabilities {
    bounding?: string[];
    effective?: string[];
    permitted?: string[];
    inheritable?: string[];
    ambient?: string[];
}

/** config.md, "POSIX process": one resource limit, `RLIMIT_NOFILE` and the like. */
export interface Rlimit {
    type: string;
    soft: number;
    hard: number;
}

/** config.md, "Mounts". */
export interface Mount {
    destination: string;
    type?: string;
    source?: string;
    options?: string[];
}

/** config-linux.md. */
export interface Linux {
    namespaces: LinuxNamespace[];
    cgroupsPath?: string;
    resources?: LinuxResources;
    /** "Devices": nodes made in `/dev` beside the default ones. */
    devices?: LinuxDevice[];
    sysctl?: Record<string, string>;
    seccomp?: LinuxSeccomp;
    maskedPaths?: string[];
    readonlyPaths?: string[];
    rootfsPropagation?: string;
}

/** config-linux.md, "Namespaces". */
export interface LinuxNamespace {
    type: "pid" | "network" | "mount" | "ipc" | "uts" | "user" | "cgroup" | "time";
    /** One to join; absent, a new one is made. */
    path?: string;
}

/** config-linux.md, "Devices". */
export interface LinuxDevice {
    type: "c" | "b" | "u" | "p";
    path: string;
    major?: number;
    minor?: number;
    fileMode?: number;
    uid?: number;
    gid?: number;
}

/** config-linux.md, "Control groups". */
export interface LinuxResources {
    devices?: LinuxDeviceRule[];
    memory?: LinuxMemory;
    cpu?: LinuxCpu;
    pids?: { limit: number };
}

/** config-linux.md, "Allowed Device list": later rules win; absent major or minor is any. */
export interface LinuxDeviceRule {
    allow: boolean;
    type?: "a" | "c" | "b";
    major?: number;
    minor?: number;
    access?: string;
}

/** config-linux.md, "Memory": bytes, -1 is unlimited; `swap` is memory plus swap on cgroup v1 and v2 alike. */
export interface LinuxMemory {
    limit?: number;
    reservation?: number;
    swap?: number;
}

/** config-linux.md, "CPU": quota and period in microseconds. */
export interface LinuxCpu {
    shares?: number;
    quota?: number;
    period?: number;
    cpus?: string;
    mems?: string;
}

/** config-linux.md, "Seccomp". */
export interface LinuxSeccomp {
    defaultAction: SeccompAction;
    /** Absent: EPERM. */
    defaultErrnoRet?: number;
    architectures?: string[];
    syscalls?: LinuxSyscall[];
}

export type SeccompAction = "SCMP_ACT_ALLOW" | "SCMP_ACT_ERRNO";

/** One rule: all `args` must match. */
export interface LinuxSyscall {
    names: string[];
    action: SeccompAction;
    errnoRet?: number;
    args?: LinuxSeccompArg[];
}

/** `SCMP_CMP_MASKED_EQ`: `(argument & value) == valueTwo`. */
export interface LinuxSeccompArg {
    index: number;
    value: number;
    valueTwo?: number;
    op: "SCMP_CMP_EQ" | "SCMP_CMP_LT" | "SCMP_CMP_MASKED_EQ";
}
