/**
 * Leases: what is made under one is not collected as garbage, until the lease ends. They expire by themselves, so that a
 * killed provider leaves nothing for ever; `pulumi-containerd/owner` tells whose they were.
 */
import { randomBytes } from "node:crypto";
import { hasCode } from "../errors";
import type { Client } from "./client";
import { OWNER } from "./labels";

const EXPIRE_LABEL = "containerd.io/gc.expire";

export interface LeaseOptions {
    /** The lease's name. Default: `pulumi-containerd-` and random hexadecimal digits. */
    id?: string;
    /** Who makes it, for the label {@link OWNER}. */
    owner: string;
    /** More labels. */
    labels?: Record<string, string>;
    /** Milliseconds after which containerd drops it by itself. Default: one hour. */
    expire?: number;
}

/**
 * Begins a lease and gives a client whose calls are under it, with its id. Whoever begins one ends it ({@link endLease});
 * {@link withLease} does both. Throws `AlreadyExists` where a lease of that id is there.
 */
export async function startLease(client: Client, options: LeaseOptions): Promise<{ leased: Client; id: string }> {
    const id = options.id ?? `pulumi-containerd-${randomBytes(8).toString("hex")}`;
    const expire = new Date(Date.now() + (options.expire ?? 3_600_000)).toISOString().replace(/\.\d+Z$/, "Z");
    const labels = { ...client.marks, ...options.labels, [OWNER]: options.owner, [EXPIRE_LABEL]: expire };
    await client.leases.create({ id, labels });
    return { leased: client.withLease(id), id };
}

/**
 * Ends a lease. One that is gone is well.
 *
 * @param collect whether what only it kept is collected before this returns. Default: true.
 */
export async function endLease(client: Client, id: string, collect = true): Promise<void> {
    try {
        await client.leases.delete({ id, sync: collect });
    } catch (thrown) {
        if (!hasCode(thrown, "NotFound")) throw thrown;
    }
}

/**
 * Works under a new lease and ends it whatever happens. What was made and is not held by a label, an image, a container or
 * another lease is collected before this returns.
 *
 * Throws what `work` throws, and then a lease that cannot be ended does not hide why: it expires by itself.
 */
export async function withLease<T>(
    client: Client,
    options: LeaseOptions,
    work: (leased: Client) => Promise<T>,
): Promise<T> {
    const { leased, id } = await startLease(client, options);
    let result: T;
    try {
        result = await work(leased);
    } catch (thrown) {
        await endLease(client, id).catch(() => {});
        throw thrown;
    }
    await endLease(client, id);
    return result;
}
