/** Skips a test and says why; the runner prints the reason, and fails a test that is skipped without one. */
import type { Context, Runnable, Suite } from "mocha";

/**
 * Skips the running test, or, from a `before` hook, all tests of its suite. Never returns.
 *
 * @example
 * it("limits memory", function () {
 *     if (!hasMemoryController) skip(this, "this kernel has no memory controller");
 */
export function skip(context: Context, reason: string): never {
    const runnable: (Runnable & { skipReason?: string; type?: string }) | undefined = context.test;
    if (runnable) runnable.skipReason = reason;
    const current: (Runnable & { skipReason?: string }) | undefined = context.currentTest;
    if (current) current.skipReason = reason;
    const suite: (Suite & { skipReason?: string }) | undefined = runnable?.parent;
    // A hook's skip is its whole suite's.
    if (suite && runnable?.type === "hook") suite.skipReason = reason;
    return context.skip();
}
