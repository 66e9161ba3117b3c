/** The life of a Container: a containerd container, its writable snapshot, spec, files and secrets. No process. */
import type { ContainerInputs } from "../spec/inputs";
import { containerSchema, contradictions, volumesElsewhere, withDefaults } from "./check/container";
import { placed, nodePolicies } from "./check/common";
import { factsOf, lacking } from "./check/facts";
import { validate } from "./check/validate";
import { argumentsOf, compare, type Policies } from "./diff";
import type { Lifecycle } from "./lifecycle";
import { needsRestart } from "./file-changes";
import { makeContainer, renewContainer } from "./make-container";
import { formatId, nameFor, newUid, parseId } from "./names";
import { wouldFight } from "./network/attachment";
import { type Networking, publicAddress, publishedOf } from "./network/networking";
import { contestedPorts, type HostPorts } from "./network/published";
import { pin, referenceOf } from "./pin";
import { readContainer } from "./read-container";
import { removeContainer } from "./remove-container";
import type { Run } from "./run";
import { chooseNode } from "./settings";
import { isUnknown } from "./unknown";

/** What is known of a Container that was made. */
export interface ContainerState extends ContainerInputs {
    containerId: string;
    /** Its own; with network `host` the node's, empty with `none`. */
    address: string;
    /** Where its published ports answer, by `port/protocol` in the container. */
    published: Record<string, string>;
    /** The host ports that were chosen for it. */
    hostPorts?: HostPorts;
    /** What the node lacks of its network, as the last look saw it. */
    networkProblems?: string[];
    /** Whether all of it is there: object, spec and snapshot. */
    complete: boolean;
}

const policies: Policies<ContainerInputs> = {
    owner: "update",
    uid: "none",
    revision: "update",
    retainOnDelete: "update",
    timeouts: "none",
    replaceOnChanges: "none",
    ...nodePolicies,
    namespace: "replace",
    name: "replace",
    image: "replace",
    imageFrom: "update",
    generation: "none",
    entrypoint: "replace",
    args: "replace",
    env: "replace",
    files: "update",
    secrets: "update",
    mounts: "replace",
    workdir: "replace",
    user: "replace",
    hostname: "replace",
    domainname: "replace",
    tty: "replace",
    readOnly: "replace",
    privileged: "replace",
    capabilities: "replace",
    network: "replace",
    ports: "update",
    publishAll: "update",
    hosts: "update",
    dns: "update",
    sysctls: "replace",
    memory: "update",
    cpu: "update",
    pidsLimit: "update",
    security: "replace",
    labels: "update",
    snapshotter: "replace",
    runtime: "replace",
    log: "update",
};

export const container: Lifecycle<ContainerInputs, ContainerState> = {
    arguments: argumentsOf(policies),

    async check(run, olds, news) {
        const { value, failures } = validate(containerSchema, news);
        if (failures.length) return { inputs: news, failures };
        const given = withDefaults(value as Partial<ContainerInputs>);
        const wrong = [...contradictions(given), ...lacking(given, factsOf(news))];
        if (wrong.length) return { inputs: news, failures: wrong };
        const inputs = { ...(given as ContainerInputs), ...placed(run, given as ContainerInputs, olds) };
        const misplaced = [...contestedPorts(run, inputs), ...volumesElsewhere(inputs)];
        if (misplaced.length) return { inputs: news, failures: misplaced };
        const name = nameFor(inputs, olds);
        const generation = olds?.generation && !needsRestart(olds, inputs) ? olds.generation : newUid();
        return { inputs: { ...inputs, name, generation, image: await pinned(run, inputs, olds) }, failures };
    },

    diff(olds, news) {
        const { changed, replaces } = compare(policies, olds, news);
        if (!olds.complete && !replaces.length) {
            changed.push("complete");
            replaces.push("complete");
        }
        if (olds.networkProblems?.length) changed.push("networkProblems");
        // What is left of one whose object is gone holds its ports, and nobody hands them over.
        const inTheWay = !olds.complete || wouldFight(olds, news);
        return { changed, replaces, deleteBeforeReplace: replaces.length > 0 && inTheWay };
    },

    reached: (run, inputs, { hostPorts }) => ({
        published: publishedOf(run, inputs, hostPorts),
        ...(inputs.network === "host" && { address: publicAddress(run, inputs) }),
    }),

    async create(run, inputs) {
        return { id: formatId(inputs), state: stateOf(run, inputs, await makeContainer(run, inputs)) };
    },

    async read(run, id, state) {
        const { namespace, name, uid } = parseId(id);
        const node = state.node ?? chooseNode(run.settings, undefined);
        const known = { ...state, node, namespace, name, uid };
        const found = await readContainer(run, known);
        // The object alone is gone: its snapshot, files and claim may lie there still, and go when it is replaced or deleted.
        if (found === "gone") return state.uid === undefined ? undefined : { ...state, complete: false };
        return found && { ...known, ...found, containerId: name };
    },

    async update(run, _id, olds, news) {
        return stateOf(run, news, await renewContainer(run, olds, news));
    },

    async delete(run, id, state) {
        const { namespace, name, uid } = parseId(id);
        await removeContainer(run, { ...state, namespace, name, uid });
    },
};

async function pinned(
    run: Run,
    { image, owner }: ContainerInputs,
    olds: ContainerInputs | undefined,
): Promise<string | undefined> {
    if (isUnknown(image)) return image;
    const reference = referenceOf(image, "image");
    return pin(run, { owner, reference, property: "image", before: olds?.image, pull: "missing" });
}

function stateOf(run: Run, inputs: ContainerInputs, { self, hostPorts }: Networking): ContainerState {
    const published = publishedOf(run, inputs, hostPorts);
    return { ...inputs, containerId: inputs.name, address: self.address, published, hostPorts, complete: true };
}
