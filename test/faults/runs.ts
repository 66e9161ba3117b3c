/** What the tests say about runs of the engine that were disturbed, and do before the next one. */
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import path from "node:path";
import type { Stack, UpdateResult } from "../../playground/stack";

/** What a user does after a crash of the engine: takes the lock away. */
export async function unlock(stack: Stack): Promise<void> {
    const folder = path.join(stack.folder, "backend/.pulumi/locks");
    const locks = await readdir(folder, { recursive: true }).catch(() => []);
    if (!locks.some((file) => file.endsWith(".json"))) return;
    const { code, stdout, stderr } = await stack.pulumi(["cancel", "--yes", "--stack", stack.name]);
    assert.equal(code, 0, stdout + stderr);
}

/** What the engine said of this severity. */
export function said({ diagnostics }: UpdateResult, severity: "error" | "warning" = "error"): string {
    const those = diagnostics.filter((diagnostic) => diagnostic.severity === severity);
    return those.map(({ message }) => message.trim()).join("\n");
}

/** The run went well. */
export function assertDone(result: UpdateResult, what: string): void {
    assert.equal(result.code, 0, `${what} fails: ${said(result) || result.stderr || result.stdout}`);
}
