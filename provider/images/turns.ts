/**
 * Taking turns within this process: two Images that share a layer on a node must not fetch or unpack it at the same time.
 * Who comes second finds the work done, and sees so by asking containerd, so its own lease holds it as well.
 */

import type { Client } from "../containerd/client";

const queues = new WeakMap<object, Map<string, Promise<void>>>();

/**
 * Runs `work` when all earlier work with the same key on the same node and in the same namespace has ended, whether well or
 * not. Gives what `work` gives.
 */
export async function inTurn<T>(
    { connection, namespace }: Pick<Client, "connection" | "namespace">,
    name: string,
    work: () => Promise<T>,
): Promise<T> {
    const key = `${namespace} ${name}`;
    let queue = queues.get(connection);
    if (!queue) queues.set(connection, (queue = new Map()));
    const before = queue.get(key) ?? Promise.resolve();
    const mine = before.then(work);
    const ended = mine.then(
        () => undefined,
        () => undefined,
    );
    queue.set(key, ended);
    try {
        return await mine;
    } finally {
        if (queue.get(key) === ended) queue.delete(key);
    }
}
