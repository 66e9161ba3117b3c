/**
 * Limits of a whole pod: a control group above those of its members, made with the rest of what they share and removed with it.
 * Source: the kernel's documents of cgroup v1 (memory, cpu, cpuset, pids) and cgroup v2.
 */
import { REMOVE_CGROUP } from "../node/cgroup.sh";
import type { LinuxResources } from "../spec/types";

/** Lines of `VERSION CONTROLLER FILE VALUE`, in the order in which they have to be written: all that can be set, so that a limit that was taken away goes. */
export function limitLines({ memory, cpu, pids }: LinuxResources): string {
    const unlimited = (value: number | undefined): number | "max" => (value === undefined || value < 0 ? "max" : value);
    const v1 = (value: number | undefined): number => value ?? -1;
    const { limit, reservation, swap } = memory ?? {};
    const { quota, period = 100_000, shares = 1024, cpus } = cpu ?? {};
    const swapAlone = swap === undefined || swap < 0 || limit === undefined ? "max" : swap - limit;
    const lines: [version: 1 | 2, controller: string, file: string, value: string | number][] = [
        // The kernel refuses a limit above that of memory and swap together, also while both are being raised.
        [1, "memory", "memory.memsw.limit_in_bytes", -1],
        [1, "memory", "memory.limit_in_bytes", v1(limit)],
        [1, "memory", "memory.memsw.limit_in_bytes", v1(swap)],
        [1, "memory", "memory.soft_limit_in_bytes", v1(reservation)],
        [1, "cpu", "cpu.cfs_period_us", period],
        [1, "cpu", "cpu.cfs_quota_us", v1(quota)],
        [1, "cpu", "cpu.shares", shares],
        [1, "pids", "pids.max", unlimited(pids?.limit)],
        [2, "memory", "memory.max", unlimited(limit)],
        [2, "memory", "memory.swap.max", swapAlone],
        [2, "memory", "memory.low", reservation ?? 0],
        [2, "cpu", "cpu.max", `${unlimited(quota)} ${period}`],
        [2, "cpu", "cpu.weight", weightOf(shares)],
        [2, "pids", "pids.max", unlimited(pids?.limit)],
        // Empty: those of the group above.
        ...([1, 2] as const).map((version) => [version, "cpuset", "cpuset.cpus", cpus ?? ""] as const),
    ].map((line) => line as [1 | 2, string, string, string | number]);
    return lines.map((line) => line.join(" ").trimEnd()).join("\n");
}

/** cgroup v2's weight for v1's shares, as runc converts them. Source: runc, `ConvertCPUSharesToCgroupV2Value`. */
function weightOf(shares: number): number {
    return Math.floor(1 + ((shares - 2) * 9999) / 262142);
}

/**
 * Makes and removes the control group `$cgroup` with `$limits`. What is unlimited is not worth a failure on a kernel that does not
 * know it.
 */
export const LIMITS = `${REMOVE_CGROUP}set_limit() { # CONTROLLER FILE VALUE...
    controller=$1 file=$2
    shift 2
    if [ -e "$at/$file" ] && printf '%s\\n' "$*" >"$at/$file" 2>/dev/null; then return 0; fi
    case $* in '' | -1 | max | 'max 100000' | 0 | 100000 | 1024 | 39) return 0 ;; esac
    [ -e "$at/$file" ] || die "the node's kernel has no $file (control groups): the pod's limits need it"
    die "the node's kernel refuses $* as $file of the pod: is more in use already?"
}
set_limits() {
    [ -n "$cgroup" ] || return 0
    version=1
    [ ! -e /sys/fs/cgroup/cgroup.controllers ] || version=2
    if [ $version = 2 ]; then
        at=/sys/fs/cgroup
        IFS=/
        for part in \${cgroup#/}; do
            for one in cpu cpuset memory pids; do echo "+$one" >"$at/cgroup.subtree_control"; done 2>/dev/null
            at=$at/$part
            [ -d "$at" ] || mkdir "$at" || die "no control group can be made for the pod"
        done
        unset IFS
    fi
    IFS=$newline
    for line in $limits; do
        unset IFS
        set -- $line
        [ "$1" = $version ] || continue
        if [ $version = 1 ]; then
            at=/sys/fs/cgroup/$2$cgroup
            if [ $# -lt 4 ]; then
                [ ! -d "$at" ] || inherit_cpuset
                continue
            fi
            if [ ! -d "$at" ]; then
                if [ ! -d "/sys/fs/cgroup/$2" ]; then case $4 in -1 | max) continue ;; esac; fi
                mkdir -p "$at" || die "no control group can be made for the pod"
                [ "$2" != cpuset ] || inherit_cpuset
            fi
        fi
        shift
        set_limit "$@"
    done
    unset IFS
}
# Without processors and memory it takes no process.
inherit_cpuset() {
    for one in cpus mems; do
        above=\${at%/*}
        [ -n "$(cat "$above/cpuset.$one")" ] || cat "\${above%/*}/cpuset.$one" >"$above/cpuset.$one"
        cat "$above/cpuset.$one" >"$at/cpuset.$one"
    done
}
remove_limits() {
    [ -n "$cgroup" ] || return 0
    why=$(remove_cgroup "$cgroup") || die "the pod's control group $cgroup cannot be removed: $why"
}
`;
