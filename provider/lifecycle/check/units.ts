/** Reads sizes and durations as people write them. Pure. */
import bytes from "bytes";
import ms from "ms";

const SIZE = /^(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?$/i;
const DURATION_PART = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/g;
const DURATION = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/;

/** Bytes of a size: a number, or a text like `512MiB`, `512m`, `1.5g` (powers of 1024, as Docker). Undefined if it is none. */
export function parseSize(size: number | string): number | undefined {
    if (typeof size === "number") return Number.isSafeInteger(size) && size >= 0 ? size : undefined;
    const match = SIZE.exec(size.trim());
    if (!match) return undefined;
    return bytes.parse(`${match[1]}${match[2]}b`) ?? undefined;
}

/** Milliseconds of a duration like `30s` or `1m30s`. Undefined if it is none. */
export function parseDuration(text: string): number | undefined {
    const trimmed = text.trim();
    if (!DURATION.test(trimmed)) return undefined;
    let total = 0;
    for (const [, value, unit] of trimmed.matchAll(DURATION_PART)) total += ms(`${Number(value)}${unit as "s"}`);
    return total;
}

/** A duration of so many milliseconds in the one way we write it: `90000` is `1m30s`. */
export function formatDuration(milliseconds: number): string {
    let rest = milliseconds;
    let text = "";
    for (const unit of ["h", "m", "s", "ms"] as const) {
        const count = Math.floor(rest / ms(`1${unit}`));
        if (count) text += `${count}${unit}`;
        rest -= count * ms(`1${unit}`);
    }
    return text || "0s";
}
