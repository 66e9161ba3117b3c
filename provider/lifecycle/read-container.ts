/** What `refresh` finds of a Container: its spec read back into arguments, its labels, and whether all of it is there. */
import { hasCode } from "../errors";
import { imageConfig } from "../images/inspect";
import type { ContainerInputs } from "../spec/inputs";
import { readBack } from "../spec/readback";
import type { Spec } from "../spec/types";
import type { ContainerState } from "./container";
import { givenLabels } from "./labels";
import { specOf } from "./make-container";
import { LABEL } from "./ownership";
import type { Run } from "./run";

/** The arguments that changed on the node, with their values there; undefined when the container is gone, or another's. */
export async function readContainer(
    run: Run,
    state: ContainerState,
): Promise<(Partial<ContainerInputs> & { complete: boolean }) | undefined> {
    const client = await run.client(state.node, state.namespace);
    let container;
    try {
        ({ container } = await client.containers.get({ id: state.name }));
    } catch (error) {
        if (hasCode(error, "NotFound")) return undefined;
        throw error;
    }
    if (!container || container.labels[LABEL.uid] !== state.uid) return undefined;
    const complete =
        container.labels[LABEL.phase] === "complete" &&
        (await hasSnapshot(client, container.snapshotter, container.snapshot_key));
    const actual = JSON.parse(Buffer.from(container.spec?.value ?? "{}").toString()) as Spec;
    const expected = complete && state.image ? await expectedSpec(client, state) : undefined;
    const drift = expected ? readBack(actual, expected, state) : {};
    return { ...drift, labels: givenLabels(container.labels, state.labels), complete };
}

/** The spec as we would make it now; undefined where the image is gone, and nothing can be said. */
async function expectedSpec(client: Parameters<typeof specOf>[0], state: ContainerState): Promise<Spec | undefined> {
    try {
        const image = await imageConfig(client, state.image.slice(state.image.indexOf("@") + 1));
        return await specOf(client, state, image);
    } catch (error) {
        if (hasCode(error, "NotFound")) return undefined;
        throw error;
    }
}

async function hasSnapshot(client: Parameters<typeof specOf>[0], snapshotter: string, key: string): Promise<boolean> {
    try {
        await client.snapshots.stat({ snapshotter, key });
        return true;
    } catch (error) {
        if (hasCode(error, "NotFound")) return false;
        throw error;
    }
}
