/** What the playground has on this machine, looked for without its help. */
import { existsSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";

/** Processes of this machine that carry a cluster's name or its workers' in their arguments or control groups. */
export async function processesOf(name: string): Promise<string[]> {
    const pids = readdirSync("/proc").filter((entry) => /^\d+$/.test(entry));
    const texts = await Promise.all(
        pids.map(async (pid) => {
            const files = ["cmdline", "cgroup"].map((file) => readFile(`/proc/${pid}/${file}`, "utf8").catch(() => ""));
            return (await Promise.all(files)).join("\n");
        }),
    );
    return pids.filter((_, index) => texts[index]?.includes(name));
}

/** Control groups of this machine that carry a worker's name. */
export function cgroupsOf(name: string): string[] {
    const hierarchies = readdirSync("/sys/fs/cgroup", { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const groups = hierarchies.map((entry) => path.join("/sys/fs/cgroup", entry.name, `pulumi-containerd-${name}`));
    return [...groups, `/sys/fs/cgroup/pulumi-containerd-${name}`].filter((group) => existsSync(group));
}
