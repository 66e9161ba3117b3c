/** Commands that runc runs on the node while it makes a container (OCI runtime spec, config.md, "POSIX-platform Hooks"). */
import { GATE_HOOK } from "../node/gate.sh";
import type { SpecOption } from "./context";
import type { Hooks } from "./types";

/** It only looks at a file; seconds. */
const TIMEOUT = 5;

/** The gate (`node/gate.sh.ts`): a start that its logger did not make ready, or that comes too soon, is refused with the reason. */
export const HOOKS: Hooks = {
    createRuntime: [{ path: "/bin/sh", args: ["sh", "-c", GATE_HOOK], env: ["PATH=/usr/bin:/bin"], timeout: TIMEOUT }],
};

/**
 * Every container has the gate, except with a terminal: then the shim starts the logger only when runc has made the container, so
 * nothing is ensured before, and nothing can be refused.
 */
export const withHooks: SpecOption = (spec, { inputs }) => (inputs.tty ? spec : { ...spec, hooks: HOOKS });
