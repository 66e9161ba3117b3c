/** What `refresh` finds of a Container: its spec read back into arguments, its labels, and whether all of it is there. */
import type { Client } from "../containerd/client";
import { hasSnapshot } from "../containerd/snapshots";
import { hasCode } from "../errors";
import { imageConfig } from "../images/inspect";
import { keyOf } from "../images/names";
import { parseLook } from "../network/script";
import type { NetworkSettings } from "../network/settings";
import type { ContainerInputs } from "../spec/inputs";
import { readBack } from "../spec/readback";
import { withSelf } from "../spec/self";
import type { Spec } from "../spec/types";
import type { ContainerState } from "./container";
import { givenLabels } from "./labels";
import { specIn, specOf } from "./make-container";
import { LABEL } from "./ownership";
import { portsIn } from "./network/host-ports";
import { networkOf, publicAddress, publishedOf } from "./network/networking";
import { lookAtNetwork } from "./network/node-network";
import { publishedAt } from "./network/published";
import { processState } from "./process";
import { privilegesOf } from "./privileges";
import type { Run } from "./run";

/** The arguments that changed on the node, with their values there; undefined when the name is another's by now. */
export async function readContainer(
    run: Run,
    state: ContainerState,
): Promise<(Partial<ContainerState> & { complete: boolean }) | "gone" | undefined> {
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
    const network =
        state.network ?? (actual.linux?.namespaces?.some(({ type }) => type === "network") ? "none" : "host");
    const known = complete && state.image?.includes("@");
    const { self, settings, hostPorts } = await networkOf(run, client, { ...state, network }, container.labels);
    const expected = known ? await expectedSpec(client, withSelf(state, self), actual) : undefined;
    const drift = expected ? readBack(actual, expected, withSelf(state, self)) : {};
    const image = state.image ?? container.image;
    const networkProblems = settings && (await problemsOf(client, state.name, settings));
    const labels = givenLabels(container.labels, state.labels);
    // What another program published stands on the object alone.
    const published =
        state.owner === undefined
            ? publishedAt(portsIn(container.labels), publicAddress(run, state))
            : publishedOf(run, state, hostPorts);
    return {
        ...{ network, image, ...drift, labels, complete },
        ...{ address: self.address, published, hostPorts, networkProblems },
    };
}

/** What the node lacks of the network; nothing where no process runs, which is what asks for it. */
async function problemsOf(client: Client, name: string, settings: NetworkSettings): Promise<string[] | undefined> {
    if ((await processState(client, name))?.status !== "running") return undefined;
    const problems = parseLook(await lookAtNetwork(client, settings));
    return problems.length > 0 ? problems : undefined;
}

/** The spec as we would make it now; undefined where the image is gone, and nothing can be said. */
async function expectedSpec(client: Client, state: ContainerInputs, actual: Spec): Promise<Spec | undefined> {
    try {
        const image = await imageConfig(client, keyOf(state.image).digest);
        return await specOf(client, state, image, privilegesOf(state, actual));
    } catch (error) {
        if (hasCode(error, "NotFound")) return undefined;
        throw error;
    }
}
