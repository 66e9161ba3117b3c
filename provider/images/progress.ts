/**
 * What a pull tells while it runs: layers and bytes, as a value, and as the line that people read. Pure, but for the clock
 * of the throttle.
 */

/** How far a pull is. */
export interface PullProgress {
    /** What is being done: content comes before unpacking, though the two overlap. */
    phase: "resolving" | "downloading" | "unpacking" | "done";
    /** Layers that are complete (here, and unpacked once `phase` is "unpacking"), of how many. */
    layers: { done: number; total: number };
    /** Compressed bytes that are on the node, of how many; those that were there already count as done. */
    bytes: { done: number; total: number };
}

/** Decimal megabytes with one digit: what registries and network links are measured in. */
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

/**
 * One line for people.
 *
 * @example
 * formatProgress({ phase: "downloading", layers: { done: 3, total: 5 }, bytes: { done: 84.2e6, total: 150e6 } });
 * // "3/5 layers, 84.2/150.0 MB"
 */
export function formatProgress(progress: PullProgress): string {
    const { phase, layers, bytes } = progress;
    if (phase === "resolving") return "resolving";
    const amount = `${layers.done}/${layers.total} layers, ${megabytes(bytes.done)}/${megabytes(bytes.total)} MB`;
    if (phase === "unpacking") return `${amount}, unpacking`;
    return phase === "done" ? `${amount}, done` : amount;
}

/** A listener that may be called as often as one likes. */
export type ProgressListener = (progress: PullProgress) => void;

/**
 * Lets at most one report through every `interval` milliseconds (3 seconds where absent). The first one waits for an interval
 * too, so that a pull which takes less says nothing; reports are dropped, not kept, except that "done" passes if anything
 * was said before it.
 */
export function throttle(
    listener: ProgressListener,
    interval = 3000,
    now: () => number = () => performance.now(),
): ProgressListener {
    let last = now();
    let said = false;
    return (progress) => {
        const due = now() - last >= interval;
        if (!due && !(progress.phase === "done" && said)) return;
        last = now();
        said = true;
        listener(progress);
    };
}
