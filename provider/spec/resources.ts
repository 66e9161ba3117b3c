/** Limits on memory, CPU and processes: in the spec, and for `Tasks.Update` on a running container. */
import type { ContainerInputs } from "./inputs";
import type { LinuxCpu, LinuxMemory, LinuxResources } from "./types";

/** The kernel's default period in microseconds; Docker's `--cpus` is a share of it. */
export const CPU_PERIOD = 100_000;

/** The kernel's weight of a cgroup without one. */
const DEFAULT_SHARES = 1024;

/**
 * `memory`, `cpu`, `pidsLimit` as the spec has them; what is not given is not limited.
 *
 * A memory limit alone does not limit swap. Docker would allow as much swap as memory then, where the kernel counts swap;
 * where it does not, runc refuses the whole container, and that is not known here.
 */
export function linuxResources(inputs: Pick<ContainerInputs, "memory" | "cpu" | "pidsLimit">): LinuxResources {
    const { memory, cpu, pidsLimit } = inputs;
    const limits: LinuxMemory = defined({ limit: memory?.limit, reservation: memory?.reservation, swap: memory?.swap });
    const cpus: LinuxCpu = defined({
        shares: cpu?.shares,
        quota: cpu?.cpus === undefined ? undefined : Math.round(cpu.cpus * CPU_PERIOD),
        period: cpu?.cpus === undefined ? undefined : CPU_PERIOD,
        cpus: cpu?.cpuset,
    });
    return defined({
        memory: Object.keys(limits).length > 0 ? limits : undefined,
        cpu: Object.keys(cpus).length > 0 ? cpus : undefined,
        // 0 and -1 are "unlimited", as in Docker; runc knows only -1.
        pids: pidsLimit === undefined ? undefined : { limit: pidsLimit > 0 ? pidsLimit : -1 },
    });
}

/**
 * What to send to `Tasks.Update` so that a running container goes from the limits of `before` to those of `after`. runc leaves
 * alone what is absent, so a limit that was taken away is said to be unlimited. A `cpuset` that was taken away cannot be
 * said so: it goes with the next start of the process.
 */
export function updatedResources(
    before: Pick<ContainerInputs, "memory" | "cpu" | "pidsLimit">,
    after: Pick<ContainerInputs, "memory" | "cpu" | "pidsLimit">,
): LinuxResources {
    const [old, now] = [linuxResources(before), linuxResources(after)];
    const lifted: LinuxResources = {
        memory: defined({
            limit: old.memory?.limit === undefined ? undefined : -1,
            reservation: old.memory?.reservation === undefined ? undefined : -1,
            swap: old.memory?.swap === undefined ? undefined : -1,
        }),
        cpu: defined({
            shares: old.cpu?.shares === undefined ? undefined : DEFAULT_SHARES,
            quota: old.cpu?.quota === undefined ? undefined : -1,
        }),
    };
    const memory = { ...lifted.memory, ...now.memory };
    const cpu = { ...lifted.cpu, ...now.cpu };
    return defined({
        memory: Object.keys(memory).length > 0 ? memory : undefined,
        cpu: Object.keys(cpu).length > 0 ? cpu : undefined,
        pids: now.pids ?? (old.pids && { limit: -1 }),
    });
}

/** The object without its undefined values: JSON would drop them too, but comparisons would see them. */
function defined<T extends object>(value: T): T {
    return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as T;
}
