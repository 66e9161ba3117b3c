/**
 * Taking turns within this process: two Images that share a layer on a node must not fetch or unpack it at the same time.
 * Who comes second finds the work done, and sees so by asking containerd, so its own lease holds it as well.
 */

const queues = new WeakMap<object, Map<string, Promise<void>>>();

/**
 * Runs `work` when all earlier work of the same owner and key has ended, whether well or not. Gives what `work` gives.
 *
 * @param owner whose keys they are: the client of one node and namespace
 */
export async function inTurn<T>(owner: object, key: string, work: () => Promise<T>): Promise<T> {
    let queue = queues.get(owner);
    if (!queue) queues.set(owner, (queue = new Map()));
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
