/** What the process may do beyond its uid: capabilities, hidden and read-only paths, new privileges, system calls. */
import { containerCapabilities } from "./capabilities";
import { type SpecOption, withLinux, withProcess } from "./context";
import { seccompProfile } from "./seccomp";

/** Docker's: they tell about the node or its other processes, or reach its hardware. */
const MASKED_PATHS = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/** Docker's: writing there would change the node. */
const READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/**
 * `capabilities`. Inheritable and ambient sets are empty (CVE-2022-24769), so a process of another user than root has none
 * after its exec.
 */
export const withCapabilities: SpecOption = (spec, { inputs, node }) => {
    const names = containerCapabilities(inputs, node).map((name) => `CAP_${name}`);
    return withProcess(spec, { capabilities: { bounding: names, effective: names, permitted: names } });
};

/** Masked and read-only paths; none with `privileged`. */
export const withProtectedPaths: SpecOption = (spec, { inputs, node }) => {
    if (inputs.privileged) return spec;
    const thermal = Array.from(
        { length: node?.cpus ?? 0 },
        (_, cpu) => `/sys/devices/system/cpu/cpu${cpu}/thermal_throttle`,
    );
    return withLinux(spec, { maskedPaths: [...MASKED_PATHS, ...thermal], readonlyPaths: READONLY_PATHS });
};

/**
 * `security.noNewPrivileges`: true unless switched off, as with containerd (Docker's own default is false). It takes the
 * effect of set-uid bits and file capabilities: entrypoints that *drop* privileges (gosu, su-exec, setpriv, su as root) work;
 * `sudo`, `su` and `mount` of a process that is not root do not. A privileged container is not confined otherwise, so neither
 * by this.
 */
export const withNoNewPrivileges: SpecOption = (spec, { inputs }) =>
    withProcess(spec, { noNewPrivileges: inputs.security?.noNewPrivileges ?? !inputs.privileged });

/** `security.seccomp`: the default profile for the container's capabilities; none with `unconfined` or `privileged`. */
export const withSeccomp: SpecOption = (spec, { inputs, image, node }) => {
    if (inputs.privileged || inputs.security?.seccomp === "unconfined") return spec;
    const architecture = node?.architecture ?? image.architecture;
    return withLinux(spec, { seccomp: seccompProfile(architecture, containerCapabilities(inputs, node), node) });
};
