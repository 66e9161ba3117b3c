/** Containers with published ports, made by the provider in a new run, and who asks there from outside. */
import { setTimeout as sleep } from "node:timers/promises";
import { busyboxImage } from "../../playground/images";
import { Docker } from "../../playground/docker";
import type { Worker } from "../../playground/worker";
import { container } from "../../provider/lifecycle/container";
import { task } from "../../provider/lifecycle/task";
import { timed } from "./measure";
import { create, NODE, runOn } from "./provider";

/** A server of pages; there is one in busybox. */
export const HTTPD = ["httpd", "-f", "-h", "/etc", "-p"];

/** What a resource's owner would be in a stack. */
export function ownerOf(type: string, name: string): string {
    return `urn:pulumi:bench::bench::pulumi-nodejs:dynamic/containerd:${type}::${name}`;
}

/** What a Container and its Task are, beside what all have. */
export interface Published {
    image: string;
    name: string;
    ports: readonly string[];
    /** Default: a process that does nothing. */
    args?: readonly string[];
    /** Default: `always`, as for users. */
    restart?: string;
    health?: object;
}

/** A Container and its Task on the default network, and how long that took. */
export async function published(
    worker: Worker,
    { image, name, ports, args = ["sleep", "infinity"], restart, health }: Published,
): Promise<{ milliseconds: number; remove: () => Promise<void> }> {
    const run = runOn(worker);
    const placed = { image, imageFrom: `${NODE}/default`, name, args, ports };
    const removals: (() => Promise<void>)[] = [];
    const milliseconds = await timed(async () => {
        const made = await create(run, container, { ...placed, owner: ownerOf("Container", name) });
        removals.push(made.remove);
        const process = { container: made.id, owner: ownerOf("Task", name), stop: { signal: "SIGKILL" } };
        const more = { ...(restart !== undefined && { restart }), ...(health && { health }) };
        removals.unshift((await create(run, task, { ...process, ...more })).remove);
    });
    const remove = async () => {
        for (const one of removals) await one();
        (await run.client(NODE, "default")).close();
    };
    return { milliseconds, remove };
}

/** Waits until a page is given at a port of this machine. Throws after a minute. */
export async function answer(port: number): Promise<void> {
    const deadline = performance.now() + 60_000;
    while (performance.now() < deadline) {
        const response = await fetch(`http://127.0.0.1:${port}/passwd`, {
            headers: { connection: "close" },
            signal: AbortSignal.timeout(300),
        }).catch(() => undefined);
        if (response?.ok && (await response.text().catch(() => "")).startsWith("root:")) return;
        await sleep(10);
    }
    throw new Error(`nobody answers at port ${port}`);
}

/** Docker on a worker, with busybox as `busybox:1`. */
export async function dockerOn(worker: Worker): Promise<Docker> {
    const docker = await Docker.start(worker);
    await docker.load(await busyboxImage(), "busybox:1");
    return docker;
}
