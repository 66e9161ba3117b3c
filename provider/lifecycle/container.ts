/** The life of a Container: a containerd container, its writable snapshot, spec, files and secrets. No process. */
import type { ContainerInputs } from "../spec/inputs";
import { containerSchema, contradictions, withDefaults } from "./check/container";
import { placed, nodePolicies } from "./check/common";
import { factsOf, lacking } from "./check/facts";
import { validate } from "./check/validate";
import { compare, type Policies } from "./diff";
import type { Lifecycle } from "./lifecycle";
import { makeContainer, needsRestart, renewContainer } from "./make-container";
import { automaticName, formatId, isAutomaticName, newUid, parseId } from "./names";
import { pin, referenceOf } from "./pin";
import { readContainer } from "./read-container";
import { removeContainer } from "./remove-container";
import type { Run } from "./run";
import { chooseNode, nodeAddress as configuredAddress } from "./settings";
import { isUnknown } from "./unknown";

/** What is known of a Container that was made. */
export interface ContainerState extends ContainerInputs {
    containerId: string;
    /** Where its ports answer; empty with network `none`. */
    address: string;
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
    tty: "replace",
    readOnly: "replace",
    privileged: "replace",
    capabilities: "replace",
    network: "replace",
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
    async check(run, olds, news) {
        const { value, failures } = validate(containerSchema, news);
        if (failures.length) return { inputs: news, failures };
        const given = withDefaults(value as Partial<ContainerInputs>);
        const wrong = [...contradictions(given), ...lacking(given, factsOf(news))];
        if (wrong.length) return { inputs: news, failures: wrong };
        const inputs = { ...(given as ContainerInputs), ...placed(run, given as ContainerInputs, olds) };
        const name = nameOf(inputs, olds);
        const generation = olds?.generation && !needsRestart(olds, inputs) ? olds.generation : newUid();
        return { inputs: { ...inputs, name, generation, image: await pinned(run, inputs, olds) }, failures };
    },

    diff(olds, news) {
        const { changed, replaces } = compare(policies, olds, news);
        if (!olds.complete && !replaces.length) {
            changed.push("complete");
            replaces.push("complete");
        }
        return { changed, replaces, deleteBeforeReplace: replaces.length > 0 && wouldFight(olds, news) };
    },

    reached: (run, inputs) => ({ address: addressOf(run, inputs) }),

    async create(run, inputs) {
        await makeContainer(run, inputs);
        return { id: formatId(inputs), state: stateOf(run, inputs) };
    },

    async read(run, id, state) {
        const { namespace, name, uid } = parseId(id);
        const node = state.node ?? chooseNode(run.settings, undefined);
        const known = { ...state, node, namespace, name, uid };
        const found = await readContainer(run, known);
        // The object alone is gone: its snapshot, files and claim may lie there still, and go when it is replaced or deleted.
        if (found === "gone") return state.uid === undefined ? undefined : { ...state, complete: false };
        return (
            found && {
                ...known,
                ...found,
                containerId: name,
                address: state.address ?? addressOf(run, { ...known, ...found }),
            }
        );
    },

    async update(run, _id, olds, news) {
        await renewContainer(run, olds, news);
        return stateOf(run, news);
    },

    async delete(run, id, state) {
        const { namespace, name, uid } = parseId(id);
        await removeContainer(run, { ...state, namespace, name, uid });
    },
};

/**
 * Its own name, if one is given; else the automatic one that it has (also when the resource was renamed, by an alias), else a
 * new one. One that was given and is no longer is given up: as Pulumi's own providers have it, that is a replacement.
 */
function nameOf(given: ContainerInputs, olds: ContainerInputs | undefined): string {
    const kept = olds && isAutomaticName(olds.name) ? olds.name : undefined;
    return given.name ?? kept ?? automaticName(given.owner);
}

async function pinned(
    run: Run,
    { image, owner }: ContainerInputs,
    olds: ContainerInputs | undefined,
): Promise<string | undefined> {
    if (isUnknown(image)) return image;
    const reference = referenceOf(image, "image");
    return pin(run, { owner, reference, property: "image", before: olds?.image, pull: "missing" });
}

/** Whether the old and the new one could not stand side by side. */
function wouldFight(olds: ContainerState, news: ContainerInputs): boolean {
    if (olds.node !== news.node) return false;
    // A replacement is checked again, without the old inputs, and gets another name where nobody chose one.
    const chosen = !isAutomaticName(olds.name, [olds.owner, news.owner]);
    const sameName = olds.namespace === news.namespace && olds.name === news.name;
    return (chosen && sameName) || (olds.network === "host" && news.network === "host");
}

function stateOf(run: Run, inputs: ContainerInputs): ContainerState {
    return { ...inputs, containerId: inputs.name, address: addressOf(run, inputs), complete: true };
}

function addressOf(run: Run, { node, network, nodeAddress, connection }: ContainerInputs): string {
    if (network === "none") return "";
    return nodeAddress ?? connection?.host ?? configuredAddress(run.settings, node);
}
