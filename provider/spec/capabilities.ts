/** `capabilities`: the kernel's names, Docker's default set, and how `add` and `drop` change it. */
import { ContainerdError } from "../errors";
import type { NodeFacts } from "./context";
import type { ContainerInputs } from "./inputs";

/** All capabilities up to Linux 6 (capabilities(7)), without `CAP_`. runc leaves out what a kernel does not know. */
export const ALL_CAPABILITIES: readonly string[] = (
    "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER " +
    "FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE " +
    "NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE " +
    "SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM"
).split(" ");

/** The 14 that Docker and containerd give by default. */
export const DEFAULT_CAPABILITIES: readonly string[] =
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT".split(
        " ",
    );

/**
 * The container's capabilities, without `CAP_`, sorted. As Docker has it: `add: ["ALL"]` is all but what `drop` names;
 * `drop: ["ALL"]` is only what `add` names; of a name in both, `add` wins. Throws `Invalid` for a name the kernel has not.
 */
export function containerCapabilities({ privileged, capabilities }: ContainerInputs, node?: NodeFacts): string[] {
    const all = ALL_CAPABILITIES.filter((name) => node?.capabilities?.includes(name) ?? true);
    if (privileged) return all;
    const add = known(capabilities?.add, "add");
    const drop = known(capabilities?.drop, "drop");
    if (add.includes("ALL")) return all.filter((name) => !drop.includes(name));
    const kept = drop.includes("ALL") ? [] : DEFAULT_CAPABILITIES.filter((name) => !drop.includes(name));
    return [...new Set([...kept, ...add])].sort();
}

function known(names: string[] = [], list: "add" | "drop"): string[] {
    names.forEach((name, index) => {
        if (name === "ALL" || ALL_CAPABILITIES.includes(name)) return;
        const reason = `${JSON.stringify(name)} is no capability of Linux: names are written as NET_ADMIN, or ALL`;
        throw new ContainerdError("Invalid", reason, { property: `capabilities.${list}[${index}]` });
    });
    return names;
}

/** In the order of the kernel's numbers (linux/capability.h), from 0. */
const BY_NUMBER = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE " +
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN " +
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE " +
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split(" ");

/** The capabilities in a mask as `/proc/PID/status` writes it: hexadecimal, the bit of each one's number. Sorted. */
export function capabilitiesOfMask(mask: string): string[] {
    const bits = BigInt(`0x${mask}`);
    return BY_NUMBER.filter((_, number) => (bits >> BigInt(number)) & 1n).sort();
}
