/** Which blobs of the cache go, so that another one fits. Pure. */

/** A blob in the cache, or what an interrupted download left of one. */
export interface CacheEntry {
    /** File name in the cache's folder. */
    name: string;
    /** Bytes. */
    size: number;
    /** When it was used last, in milliseconds. */
    used: number;
    /** Somebody reads or writes it now. */
    inUse: boolean;
}

/** How much room there is, in bytes. */
export interface Room {
    /** Most that the cache may hold. */
    limit: number;
    /** What is to come. */
    incoming: number;
    /** Free on the disk now. */
    free: number;
    /** What the cache has to leave free on the disk. */
    reserve: number;
}

/**
 * The entries to remove, the least recently used first, never one that is in use: as few as make `incoming` bytes fit below
 * the limit, and leave the reserve on the disk. Undefined where all of them together would not be enough: then none should go.
 */
export function toEvict(entries: readonly CacheEntry[], room: Room): CacheEntry[] | undefined {
    const { limit, incoming, free, reserve } = room;
    const held = entries.reduce((sum, { size }) => sum + size, 0);
    let excess = Math.max(held + incoming - limit, incoming + reserve - free);
    const victims: CacheEntry[] = [];
    for (const entry of entries.filter(({ inUse }) => !inUse).sort((a, b) => a.used - b.used)) {
        if (excess <= 0) break;
        victims.push(entry);
        excess -= entry.size;
    }
    return excess <= 0 ? victims : undefined;
}
