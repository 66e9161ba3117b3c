/** The largest memory of a provider process: watched from outside, so that nothing of it runs inside. */
import { readFile, readdir } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const LOOK_EVERY = 100;
/** In the environment of all that an engine starts: tells our provider processes from those of others on this machine. */
const MARK = "PULUMI_CONTAINERD_BENCH";

/** The environment to give to the engine. */
export function marked(run: string): NodeJS.ProcessEnv {
    return { [MARK]: run };
}

/**
 * Watches while `work` runs and gives its result, and the megabytes (of 1,000,000 bytes) at which the provider process that
 * was started meanwhile was largest: the kernel's own high-water mark of its resident memory.
 */
export async function withPeak<T>(run: string, work: () => Promise<T>): Promise<{ result: T; megabytes: number }> {
    let working = true;
    let kilobytes = 0;
    const watch = async () => {
        let pid: string | undefined;
        while (working) {
            pid ??= await providerOf(run);
            if (pid !== undefined) kilobytes = Math.max(kilobytes, await highWater(pid));
            await sleep(LOOK_EVERY);
        }
    };
    const watching = watch();
    try {
        const result = await work();
        return { result, megabytes: (kilobytes * 1024) / 1e6 };
    } finally {
        working = false;
        await watching;
    }
}

async function providerOf(run: string): Promise<string | undefined> {
    for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
        const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
        if (!/^[^\0]*node\0[^\0]*cmd\/dynamic-provider/.test(command)) continue;
        const environment = await readFile(`/proc/${pid}/environ`, "utf8").catch(() => "");
        if (environment.split("\0").includes(`${MARK}=${run}`)) return pid;
    }
    return undefined;
}

async function highWater(pid: string): Promise<number> {
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
}
