/** What `refresh` finds of a Container: its spec read back into arguments, its labels, and whether all of it is there. */
import type { Client } from "../containerd/client";
import { hasSnapshot } from "../containerd/snapshots";
import { hasCode } from "../errors";
import { imageConfig } from "../images/inspect";
import { keyOf } from "../images/names";
import type { ContainerInputs } from "../spec/inputs";
import { readBack } from "../spec/readback";
import type { Spec } from "../spec/types";
import type { ContainerState } from "./container";
import { givenLabels } from "./labels";
import { specIn, specOf } from "./make-container";
import { LABEL } from "./ownership";
import { privilegesOf } from "./privileges";
import type { Run } from "./run";

/** The arguments that changed on the node, with their values there; undefined when the name is another's by now. */
export async function readContainer(
    run: Run,
    state: ContainerState,
): Promise<(Partial<ContainerInputs> & { complete: boolean }) | "gone" | undefined> {
    const client = await run.client(state.node, state.namespace);
    let container;
    try {
        ({ container } = await client.containers.get({ id: state.name }));
    } catch (error) {
        if (hasCode(error, "NotFound")) return "gone";
        throw error;
    }
    if (!container || container.labels[LABEL.uid] !== state.uid) return undefined;
    const complete =
        container.labels[LABEL.phase] === "complete" &&
        (await hasSnapshot(client, container.snapshotter, container.snapshot_key));
    const actual = specIn(container.spec);
    // Of one that another program made its arguments are not known, and the reference is without its digest.
    const expected = complete && state.image?.includes("@") ? await expectedSpec(client, state, actual) : undefined;
    const drift = expected ? readBack(actual, expected, state) : {};
    const network =
        state.network ?? (actual.linux?.namespaces?.some(({ type }) => type === "network") ? "none" : "host");
    const image = state.image ?? container.image;
    return { network, image, ...drift, labels: givenLabels(container.labels, state.labels), complete };
}

/** The spec as we would make it now; undefined where the image is gone, and nothing can be said. */
async function expectedSpec(client: Client, state: ContainerState, actual: Spec): Promise<Spec | undefined> {
    try {
        const image = await imageConfig(client, keyOf(state.image).digest);
        return await specOf(client, state, image, privilegesOf(state, actual));
    } catch (error) {
        if (hasCode(error, "NotFound")) return undefined;
        throw error;
    }
}
