/** The life of a Volume: a folder on a node that outlives containers, or what each container is to mount. */
import { ContainerdError } from "../errors";
import type { VolumeInputs } from "../spec/inputs";
import { volumeFolder, volumeKey, volumeSource } from "../spec/volumes";
import { labelsProblem, nodePolicies, placed, type Placed, knownUid } from "./check/common";
import { formatPath, validate } from "./check/validate";
import { volumeContradictions, volumeSchema } from "./check/volume";
import { argumentsOf, compare, type Policies } from "./diff";
import { givenLabels } from "./labels";
import { clientForChange } from "./leases";
import type { Lifecycle } from "./lifecycle";
import {
    holdsData,
    isFolder,
    lookAt,
    makeVolume,
    refuseInUse,
    removeVolume,
    renewVolume,
    sweepVolumes,
    takePlace,
} from "./make-volume";
import { formatId, nameFor, parseId } from "./names";
import type { Run } from "./run";
import { chooseNode } from "./settings";
import { holdsUnknown, UNKNOWN } from "./unknown";

/** A Volume's arguments after `check`. */
export interface VolumeArguments extends Placed, VolumeInputs {
    name: string;
    /** The folder on the node; empty for what is mounted in each container. */
    path: string;
    directory?: { uid?: number; gid?: number; mode?: string };
    labels?: Record<string, string>;
}

/** What is known of a Volume that was made. */
export interface VolumeState extends VolumeArguments {
    /** Whether its record is there too. */
    complete: boolean;
}

const policies: Policies<VolumeArguments> = {
    owner: "update",
    uid: "none",
    revision: "none",
    retainOnDelete: "update",
    timeouts: "none",
    replaceOnChanges: "none",
    ...nodePolicies,
    namespace: "replace",
    name: "replace",
    driver: "replace",
    options: "replace",
    // Follows from the others.
    path: "none",
    directory: "update",
    labels: "update",
};

export const volume: Lifecycle<VolumeArguments, VolumeState> = {
    arguments: argumentsOf(policies),

    check(run, olds, news) {
        const { value, failures } = validate(volumeSchema, news);
        const fail = (...wrong: typeof failures) => Promise.resolve({ inputs: news, failures: wrong });
        if (failures.length) return fail(...failures);
        const given = { ...(value as VolumeArguments), driver: (value as VolumeArguments).driver ?? "local" };
        const wrong = volumeContradictions(given);
        if (wrong.length) return fail(...wrong);
        const long = labelsProblem(given.labels);
        if (long) return fail({ property: formatPath(["labels", long.key]), reason: long.reason });
        const named = { ...given, ...placed(run, given, olds), name: nameFor(given, olds) };
        const inputs = { ...named, path: pathOf(named) };
        rememberReplacement(run, olds, inputs);
        return Promise.resolve({ inputs, failures });
    },

    diff(olds, news) {
        const { changed, replaces } = compare(policies, olds, news);
        if (!olds.complete) changed.push("complete");
        // Never deleted first, also under a name of its own: what mounts it would go before anybody looks what it holds.
        return { changed, replaces, deleteBeforeReplace: false };
    },

    async create(run, inputs) {
        const client = await clientForChange(run, inputs.node, inputs.namespace);
        const before = run.remembered<VolumeArguments>(beforeKey(inputs.owner));
        if (before && before.uid !== inputs.uid) await refuseLoss(run, before, inputs);
        await sweepVolumes(run, client, inputs, knownUid(run, inputs.owner));
        if (before?.node === inputs.node && before.name === inputs.name) await takePlace(client, before, inputs);
        await makeVolume(run, client, inputs);
        return { id: formatId(inputs), state: { ...inputs, complete: true } };
    },

    async read(run, id, state) {
        const { namespace, name, uid } = parseId(id);
        const node = state.node ?? chooseNode(run.settings, undefined);
        const client = await run.client(node, namespace);
        const { found, record } = await lookAt(client, { name, namespace, uid });
        // Of one that another program manages only the record says what it is.
        const { driver, options, path } = state.driver === undefined ? (record ?? state) : state;
        if (found === "other" || driver === undefined) return undefined;
        const known = { ...state, node, namespace, name, uid, driver, options, path };
        if (isFolder(known) ? found === "nothing" || found === "record" : record === undefined) return undefined;
        const labels = record ? givenLabels(record.labels ?? {}, state.labels) : state.labels;
        return { ...known, labels, complete: record !== undefined };
    },

    async update(run, _id, olds, news) {
        const client = await clientForChange(run, news.node, news.namespace);
        await renewVolume(client, olds, news);
        return { ...news, complete: true };
    },

    async delete(run, id, state) {
        const { namespace, name, uid } = parseId(id);
        const client = await clientForChange(run, state.node, namespace);
        const { found } = await lookAt(client, { name, namespace, uid });
        if (found === "nothing" || found === "other") return;
        if (found === "folder") {
            return run.report.warn(
                state.owner,
                `volume ${volumeKey({ name, namespace })} has no record on node ${state.node} any more, so it was left there: ${volumeFolder(volumeKey({ name, namespace }))}`,
            );
        }
        await refuseInUse(client, { name, namespace });
        const known = { ...state, name, namespace };
        // As the user's option deleteBeforeReplace has it: `create` has not asked.
        if (run.remembered(replacedKey(uid)) && (await holdsData(client, known))) throw lossOf(known);
        await removeVolume(client, { name, namespace, timeouts: state.timeouts });
    },
};

function pathOf(of: Pick<VolumeArguments, "name" | "namespace" | "driver" | "options">): string {
    const { name, namespace, driver, options } = of;
    if (holdsUnknown({ name, namespace, driver, options })) return UNKNOWN;
    const source = volumeSource(of);
    if (source.kind === "folder") return volumeFolder(volumeKey(of));
    return source.kind === "bind" ? source.device : "";
}

function beforeKey(owner: string): string {
    return `volume before ${owner}`;
}

function replacedKey(uid: string): string {
    return `volume ${uid} is replaced`;
}

/**
 * Keeps for `create` and `delete` what they are not told: which volume a new one replaces. The engine checks a replacement a second time,
 * without the old inputs, before it deletes or creates anything.
 */
function rememberReplacement(run: Run, olds: VolumeArguments | undefined, news: VolumeArguments): void {
    const { owner } = news;
    if (olds) run.first(beforeKey(owner), olds);
    const before = run.remembered<VolumeArguments>(beforeKey(owner));
    if (!olds && before) run.first(replacedKey(before.uid), true);
    if (!olds || !isFolder(olds) || holdsUnknown(news.options)) return;
    // A node that becomes a resource of the program is the same machine all the same.
    const same = olds.claim === undefined || news.claim === undefined;
    const replaces = compare(policies, olds, news).replaces.filter((name) => name !== "claim" || !same);
    if (replaces.length === 0 || (olds.retainOnDelete && news.retainOnDelete)) return;
    run.report.warn(
        owner,
        `is to be replaced, because of its ${replaces.join(", ")}: the new volume begins empty. \`up\` refuses that while the old one holds anything`,
    );
}

/** Throws `Conflict` when the volume that is replaced holds anything. */
async function refuseLoss(run: Run, before: VolumeArguments, inputs: VolumeArguments): Promise<void> {
    if (!isFolder(before)) return;
    // It stays where it is, because Pulumi was told so in an earlier update.
    if (before.retainOnDelete && inputs.retainOnDelete) return;
    const there = run.for(before);
    if (before.lost || inputs.lost || (before.claim !== undefined && run.isLost(before.node, before.claim))) return;
    if (run.mayDeleteUnreachable(before.node) && !(await there.answers(before.node))) return;
    const client = await there.client(before.node, before.namespace);
    const { found } = await lookAt(client, before);
    if (found !== "other" && (await holdsData(client, before))) throw lossOf(before);
}

function lossOf({ node, name, namespace }: Pick<VolumeArguments, "node" | "name" | "namespace">): ContainerdError {
    const key = volumeKey({ name, namespace });
    return new ContainerdError(
        "Conflict",
        `volume ${key} holds data, and would be replaced by an empty one. It was left as it is. To keep the data, undo the change. To begin ` +
            "anew and keep it aside, give the Volume the option retainOnDelete in an up of its own before. To begin anew without it, " +
            `empty its folder on the node (${volumeFolder(key)}), or take the Volume and what mounts it out of the program for one up`,
        { node },
    );
}
