/**
 * The default seccomp profile: what is not allowed fails with EPERM. Equal in effect to that of containerd 2.4 (a test holds
 * them against each other), generated for the container's capabilities and the node's architecture.
 */
import { ContainerdError } from "../errors";
import { type NodeFacts, kernelAtLeast } from "./context";
import { ARCHITECTURE_SYSCALLS, CAPABILITY_SYSCALLS, COMMON_SYSCALLS, PTRACE_SYSCALLS } from "./syscalls";
import type { LinuxSeccomp, LinuxSyscall, SeccompAction } from "./types";

/** The ABIs whose calls a process can make, by Go's name of the architecture. */
const ARCHITECTURES: Record<string, string[]> = {
    amd64: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    arm64: ["SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64"],
};

/** An image for a 32-bit architecture runs on a node of the 64-bit one. */
const SAME_NODE: Record<string, string> = { "386": "amd64", arm: "arm64" };

const ENOSYS = 38;

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (`linux/sched.h`): making namespaces. */
const CLONE_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000;

/** PER_LINUX, PER_LINUX32, each with and without UNAME26, and "only tell me" (`linux/personality.h`). */
const PERSONALITIES = [0x0, 0x0008, 0x20000, 0x20008, 0xffffffff];

/**
 * Address families (`linux/socket.h`) that `socket` may have. All but AF_ALG (38), the kernel's cryptography, an attack surface
 * that containers have no use for; and AF_VSOCK (40), which knows no network namespaces and reaches the hypervisor.
 * One comparison for those below AF_ALG: runc takes several comparisons of one argument as alternatives.
 */
const BELOW_AF_ALG = 38;
const OTHER_FAMILIES = [39, 41, 42, 43, 44, 45];

/**
 * The profile. `capabilities` without `CAP_`. Throws `Unsupported` on `security.seccomp` for an architecture whose calls are
 * not known here.
 */
export function seccompProfile(architecture: string, capabilities: readonly string[], node?: NodeFacts): LinuxSeccomp {
    const name = SAME_NODE[architecture] ?? architecture;
    const architectures = ARCHITECTURES[name];
    if (architectures === undefined) {
        const reason = `there is no default profile for ${architecture}, only for ${Object.keys(ARCHITECTURES).join(" and ")}: say "unconfined"`;
        throw new ContainerdError("Unsupported", reason, { property: "security.seccomp" });
    }
    const allowed = new Set([...COMMON_SYSCALLS, ...(ARCHITECTURE_SYSCALLS[name] ?? [])]);
    // Before 4.8, ptrace could leave the filter.
    if (kernelAtLeast(node, 4, 8, true)) PTRACE_SYSCALLS.forEach((call) => allowed.add(call));
    for (const capability of capabilities) CAPABILITY_SYSCALLS[capability]?.forEach((call) => allowed.add(call));

    const rules = [allow([...allowed].sort()), ...socketRules(), ...personalityRules()];
    return {
        defaultAction: "SCMP_ACT_ERRNO",
        architectures,
        syscalls: capabilities.includes("SYS_ADMIN") ? rules : [...rules, ...cloneRules()],
    };
}

/**
 * Threads and processes, but no namespaces. `clone3` has its flags in memory, where a filter cannot look: ENOSYS makes the C
 * library go back to `clone`, where EPERM would make it give up.
 */
function cloneRules(): LinuxSyscall[] {
    const noNamespaces = { index: 0, value: CLONE_NAMESPACES, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" } as const;
    const absent: SeccompAction = "SCMP_ACT_ERRNO";
    return [
        { ...allow(["clone"]), args: [noNamespaces] },
        { names: ["clone3"], action: absent, errnoRet: ENOSYS },
    ];
}

function socketRules(): LinuxSyscall[] {
    const below: LinuxSyscall = { ...allow(["socket"]), args: [{ index: 0, value: BELOW_AF_ALG, op: "SCMP_CMP_LT" }] };
    return [below, ...OTHER_FAMILIES.map((family) => allowEqual("socket", family))];
}

function personalityRules(): LinuxSyscall[] {
    return PERSONALITIES.map((value) => allowEqual("personality", value));
}

function allow(names: string[]): LinuxSyscall {
    return { names, action: "SCMP_ACT_ALLOW" };
}

function allowEqual(name: string, value: number): LinuxSyscall {
    return { ...allow([name]), args: [{ index: 0, value, op: "SCMP_CMP_EQ" }] };
}
