/**
 * Keeps the provider process small. By itself V8 lets the heap of such a process grow with the machine's memory: after a
 * thousand resources that do nothing at all it stands at 290 MB, of which some 60 are in use (docs/performance.md).
 */
import { setFlagsFromString } from "node:v8";

/** The newest Node whose V8 is known to have the flags: another V8 would complain of unknown ones, in the user's terminal. */
const NEWEST_NODE = 24;

/**
 * Tells V8 to collect garbage sooner instead of growing. Both flags are read at each collection, so that they work in a
 * process that runs already.
 */
export function boundMemory(): void {
    if (parseInt(process.versions.node, 10) > NEWEST_NODE) return;
    // The young generation stays as large as it is now, instead of doubling whenever it is full.
    setFlagsFromString("--semi-space-growth-factor=1");
    // The old one is collected when it has doubled, instead of quadrupled. Less would slow pulls down, whose every buffer counts.
    setFlagsFromString("--heap-growing-percent=100");
}
