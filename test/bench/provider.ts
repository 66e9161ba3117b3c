/** The provider without the engine: one run against a worker, and resources made as the engine has them made. */
import type { Worker } from "../../playground/worker";
import type { Lifecycle } from "../../provider/lifecycle/lifecycle";
import { localSshFiles } from "../../provider/transport/ssh/ssh-files";
import { Run } from "../../provider/lifecycle/run";

/** The worker's name in the stack's config. */
export const NODE = "worker";

/** A run of the provider, as the engine would configure it for a worker. */
export function runOn(worker: Worker): Run {
    const settings = {
        nodes: { [NODE]: { socket: worker.address } },
        defaultNode: NODE,
        defaultNamespace: "default",
        registries: {},
        isSshHost: () => false,
    };
    return Run.start(settings, { progress: () => {}, warn: () => {} }, localSshFiles());
}

/** Checks and creates a resource; gives its id and what deletes it again. */
export async function create<I extends object, S extends I>(
    run: Run,
    life: Lifecycle<I, S>,
    args: object,
): Promise<{ id: string; remove: () => Promise<void> }> {
    const { inputs, failures } = await life.check(run, undefined, args);
    const [failure] = failures;
    if (failure) throw new Error(`${failure.property}: ${failure.reason}`);
    const { id, state } = await life.create(run, inputs as I);
    return { id, remove: () => life.delete(run, id, state) };
}
