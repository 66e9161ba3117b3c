/** Random numbers that a seed repeats, so that a failure found by chance can be found again. */

/** Numbers from 0 to 1, without 1; the same ones for the same seed (Mulberry32). */
export function random(seed: number): () => number {
    let state = seed >>> 0;
    return () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let mixed = Math.imul(state ^ (state >>> 15), state | 1);
        mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
        return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
}

/** A copy in another order (Fisher and Yates). */
export function shuffled<T>(items: readonly T[], next: () => number): T[] {
    const result = [...items];
    for (let last = result.length - 1; last > 0; last--) {
        const other = Math.floor(next() * (last + 1));
        [result[last], result[other]] = [result[other] as T, result[last] as T];
    }
    return result;
}
