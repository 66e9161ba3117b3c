/** What a benchmark measures and how it is judged: samples, their spread, and the ratio to a peer of the same run. */

/** Minimum, median and maximum of the samples, in the order in which they were taken. */
export interface Spread {
    min: number;
    median: number;
    max: number;
    samples: number[];
}

/** One line of the table. */
export interface Line {
    /** What was measured, like `start one container, network none`. */
    what: string;
    /** What it is held against, like `ctr run -d`; of an absolute figure, what counts. */
    against: string;
    unit: "ms" | "MB" | "packets";
    ours: Spread;
    /** Absent where the figure is absolute. */
    peer?: Spread;
    /** `ratio`: median of ours by median of the peer's. `more`: the difference of the medians. `absolute`: the largest of ours. */
    kind: "ratio" | "more" | "absolute";
    /** The figure that is judged. */
    figure: number;
    limit: number;
    reached: boolean;
    /** What a reader has to know about how it came about. */
    note?: string;
}

export function spread(samples: readonly number[]): Spread {
    if (samples.length === 0) throw new RangeError("a spread needs a sample");
    const sorted = [...samples].sort((a, b) => a - b);
    const middle = sorted.length / 2;
    const median = (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2;
    return { min: sorted[0]!, median, max: sorted.at(-1)!, samples: [...samples] };
}

/** The sample below which a share of them lies: 0.5 for the median, 0.99 for the 99th percentile (nearest rank). */
export function percentile(samples: readonly number[], share: number): number {
    if (samples.length === 0) throw new RangeError("a percentile needs a sample");
    const sorted = [...samples].sort((a, b) => a - b);
    return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
}

type Described = Pick<Line, "what" | "against" | "limit" | "note">;

/** A line that compares two sets of samples, in milliseconds, by the ratio of their medians. */
export function byRatio(line: Described, ours: readonly number[], peer: readonly number[]): Line {
    const [a, b] = [spread(ours), spread(peer)];
    return judged({ ...line, unit: "ms", kind: "ratio", ours: a, peer: b, figure: a.median / b.median });
}

/** A line that says how much more ours takes, in milliseconds. */
export function byMore(line: Described, ours: readonly number[], peer: readonly number[]): Line {
    const [a, b] = [spread(ours), spread(peer)];
    return judged({ ...line, unit: "ms", kind: "more", ours: a, peer: b, figure: a.median - b.median });
}

/** A line about megabytes of memory: the largest sample counts. */
export function byPeak(line: Described, megabytes: readonly number[]): Line {
    const ours = spread(megabytes);
    return judged({ ...line, unit: "MB", kind: "absolute", ours, figure: ours.max });
}

/** A line whose longest sample counts, in milliseconds; `peer` stands beside it. */
export function byLongest(line: Described, ours: readonly number[], peer?: readonly number[]): Line {
    const all = spread(ours);
    return judged({
        ...{ ...line, unit: "ms", kind: "absolute", ours: all, figure: all.max },
        ...(peer && { peer: spread(peer) }),
    });
}

function judged(line: Omit<Line, "reached">): Line {
    return { ...line, reached: line.figure <= line.limit };
}

/**
 * Measures several things by turns (A B A B …), so that what else the machine does hits all alike; every round begins with
 * another one. One more round at the beginning warms caches and does not count.
 *
 * @param runs rounds that count
 * @returns the samples of each, in its own order
 */
export async function interleaved<K extends string>(
    runs: number,
    measures: Record<K, () => Promise<number>>,
    { warmUp = true }: { warmUp?: boolean } = {},
): Promise<Record<K, number[]>> {
    const names = Object.keys(measures) as K[];
    const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<K, number[]>;
    for (let round = warmUp ? -1 : 0; round < runs; round++) {
        const turn = Math.abs(round) % names.length;
        for (const name of [...names.slice(turn), ...names.slice(0, turn)]) {
            const sample = await measures[name]();
            if (round >= 0) samples[name].push(sample);
        }
    }
    return samples;
}

/** Milliseconds that something takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
    const start = performance.now();
    await work();
    return performance.now() - start;
}

/** How often a row is measured: `BENCH_RUNS` from the environment, for a quick look, else what the row says. */
export function runs(usual: number): number {
    const asked = Number(process.env.BENCH_RUNS ?? usual);
    if (!Number.isInteger(asked) || asked < 1)
        throw new RangeError(`BENCH_RUNS is ${process.env.BENCH_RUNS}, not a number`);
    return asked;
}
