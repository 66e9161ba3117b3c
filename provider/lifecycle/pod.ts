/** The life of a Pod: containers that share an address and more, and run as one. */
import { factsOf, lacking } from "./check/facts";
import { placed, nodePolicies } from "./check/common";
import { volumesElsewhere } from "./check/container";
import { podDefaults, podProblems, podSchema } from "./check/pod";
import { formatPath, validate } from "./check/validate";
import { argumentsOf, compare, type Policies } from "./diff";
import type { Failure, Lifecycle } from "./lifecycle";
import { formatId, nameFor, parseId } from "./names";
import { wouldFight } from "./network/attachment";
import { publicAddress, publishedOf } from "./network/networking";
import { contestedPorts } from "./network/published";
import { pin, referenceOf } from "./pin";
import { madeFrom, memberContainer, memberNames, type PodInputs, type PodState } from "./pod/inputs";
import { makePod, renewPod } from "./pod/make-pod";
import { readForeignPod, readPod } from "./pod/read-pod";
import { removePod } from "./pod/remove-pod";
import type { Run } from "./run";
import { chooseNode } from "./settings";
import { holdsUnknown, isUnknown } from "./unknown";

const policies: Policies<PodInputs> = {
    owner: "update",
    uid: "none",
    revision: "update",
    retainOnDelete: "update",
    timeouts: "none",
    replaceOnChanges: "none",
    ...nodePolicies,
    namespace: "replace",
    name: "replace",
    network: "replace",
    ports: "update",
    publishAll: "update",
    hosts: "update",
    dns: "update",
    hostname: "replace",
    domainname: "replace",
    sysctls: "update",
    memory: "update",
    cpu: "update",
    pidsLimit: "update",
    shareProcessNamespace: "replace",
    snapshotter: "replace",
    runtime: "replace",
    initContainers: "replace",
    containers: "update",
    restart: "update",
    labels: "update",
    once: "replace",
    triggers: "replace",
};

export const pod: Lifecycle<PodInputs, PodState> = {
    arguments: argumentsOf(policies),

    async check(run, olds, news) {
        const { value, failures } = validate(podSchema, news);
        if (failures.length) return { inputs: news, failures };
        const given = podDefaults(value as Partial<PodInputs> & { owner: string });
        const wrong = [...podProblems(given), ...lackingOf(given, news)];
        if (wrong.length) return { inputs: news, failures: wrong };
        const inputs = { ...(given as PodInputs), ...placed(run, given, olds) };
        const misplaced = [...contestedPorts(run, inputs), ...volumesAway(inputs)];
        if (misplaced.length) return { inputs: news, failures: misplaced };
        const name = nameFor(inputs, olds, longestMember(inputs) + 1);
        return { inputs: await pinned(run, { ...inputs, name }, olds), failures };
    },

    diff(olds, news) {
        const { changed, replaces } = compare(policies, olds, news);
        if (!olds.ready && !changed.includes("ready")) changed.push("ready");
        // What a job did is done: another one is done anew.
        if (news.once && changed.includes("containers") && isOtherJob(olds, news)) replaces.push("containers");
        if (olds.complete === false && !replaces.length) {
            changed.push("complete");
            replaces.push("complete");
        }
        const inTheWay = olds.complete === false || wouldFight(olds, news);
        return { changed, replaces, deleteBeforeReplace: replaces.length > 0 && inTheWay };
    },

    reached: (run, inputs, { hostPorts }) => ({
        published: publishedOf(run, inputs, hostPorts),
        ...(inputs.network === "host" && { address: publicAddress(run, inputs) }),
    }),

    async create(run, inputs) {
        return { id: formatId(inputs), state: await makePod(run, inputs) };
    },

    async read(run, id, state) {
        const { namespace, name, uid } = parseId(id);
        const known = { ...state, node: state.node ?? chooseNode(run.settings, undefined), namespace, name, uid };
        return state.containers === undefined ? readForeignPod(run, known) : readPod(run, known);
    },

    update: (run, _id, olds, news) => renewPod(run, olds, news),

    async delete(run, id, state) {
        await removePod(run, { node: state.node, ...parseId(id), members: memberNames(state) });
    },
};

/** What of the members' arguments the node cannot do. */
function lackingOf(given: Partial<PodInputs>, news: unknown): Failure[] {
    const facts = factsOf(news);
    const failures = lacking({ node: given.node, snapshotter: given.snapshotter }, facts);
    if (given.containers === undefined || isUnknown(given.containers)) return failures;
    for (const [name, { restart }] of Object.entries(given.containers)) {
        for (const { property, reason } of lacking({ node: given.node, restart }, facts))
            failures.push({ property: `${formatPath(["containers", name])}.${property}`, reason });
    }
    return failures;
}

/** What is wrong with volumes of members that lie on another node. */
function volumesAway({ node, containers, initContainers }: PodInputs): Failure[] {
    return Object.entries({ initContainers, containers }).flatMap(([kind, all]) =>
        Object.entries(all === undefined || isUnknown(all) ? {} : all).flatMap(([name, one]) =>
            isUnknown(one)
                ? []
                : volumesElsewhere({ node, mounts: one.mounts }).map(({ property, reason }) => {
                      const at = formatPath([kind, name]) + (property.startsWith("[") ? "" : ".") + property;
                      return { property: at, reason };
                  }),
        ),
    );
}

/** The inputs with every image pinned; what is not known yet stays. */
async function pinned(run: Run, inputs: PodInputs, olds: PodInputs | undefined): Promise<PodInputs> {
    const pinAll = async <T extends { image: string }>(
        kind: "containers" | "initContainers",
        all: Record<string, T>,
    ): Promise<Record<string, T>> => {
        const each = Object.entries(all).map(async ([name, one]): Promise<[string, T]> => {
            if (isUnknown(one) || isUnknown(one.image)) return [name, one];
            const property = formatPath([kind, name, "image"]);
            const reference = referenceOf(one.image, property);
            const before = olds?.[kind]?.[name]?.image;
            const image = await pin(run, { owner: inputs.owner, reference, property, before, pull: "missing" });
            return [name, image === undefined ? one : { ...one, image }];
        });
        return Object.fromEntries(await Promise.all(each));
    };
    const { containers, initContainers } = inputs;
    return {
        ...inputs,
        containers: isUnknown(containers) ? containers : await pinAll("containers", containers),
        ...(initContainers && {
            initContainers: isUnknown(initContainers) ? initContainers : await pinAll("initContainers", initContainers),
        }),
    };
}

function longestMember({ containers, initContainers }: PodInputs): number {
    const names = [containers, initContainers].flatMap((all) => (all && !isUnknown(all) ? Object.keys(all) : []));
    return Math.max(0, ...names.map(({ length }) => length));
}

/** Whether the members of a job would do something else. */
function isOtherJob(olds: PodState, news: PodInputs): boolean {
    if (holdsUnknown(news.containers)) return true;
    const work = (inputs: PodInputs) =>
        Object.entries(inputs.containers)
            .map(([name, member]) => [name, madeFrom(memberContainer({ ...inputs, uid: "", name: "" }, name, member))])
            .sort();
    return JSON.stringify(work(olds)) !== JSON.stringify(work(news));
}
