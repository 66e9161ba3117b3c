/**
 * Makes a pod, and makes what is there into what is wanted: one way for both, which goes by what the node has and not by what an
 * earlier run meant to do.
 */
import pLimit from "p-limit";
import type { Client } from "../../containerd/client";
import { writeFiles } from "../../containerd/node-files";
import { ContainerdError } from "../../errors";
import { sweepImageLeftovers } from "../../images/sweep";
import { keyOf } from "../../images/names";
import { containerFolder } from "../../node/folders";
import type { ContainerInputs } from "../../spec/inputs";
import { podSandbox } from "../../spec/sandbox";
import { knownUid } from "../check/common";
import { labelChange } from "../labels";
import { clientForChange } from "../leases";
import { NotReady } from "../lifecycle";
import { formatId } from "../names";
import { exposedBy, settlePorts } from "../network/host-ports";
import { networkFiles, type Networking, networkOf, publishedOf, reserveNetwork } from "../network/networking";
import { ensureNetwork, takePorts } from "../network/node-network";
import type { HostPorts } from "../network/published";
import { bringer, LABEL } from "../ownership";
import { processState, setLabels } from "../process";
import type { Run } from "../run";
import { oursBefore, pullsBefore } from "../sweep";
import {
    inOrder,
    memberContainer,
    memberName,
    memberNames,
    memberUid,
    podHostname,
    podShares,
    type PodInputs,
    type PodState,
} from "./inputs";
import { at, bringImage, bringImages, bringUpMember, runInits, shape } from "./make-members";
import { findMembers, findRecord, recordLabels, reserveRecord } from "./record";
import { all, releaseImages, removeMember, removePod } from "./remove-pod";

/** How many members come up at a time. */
const SIDE_BY_SIDE = 16;

/** Makes all of a pod and waits until it does its work. What fails is undone before it throws, but for one that is not ready. */
export async function makePod(run: Run, inputs: PodInputs): Promise<PodState> {
    const client = await clientForChange(run, inputs.node, inputs.namespace);
    await sweep(run, client, inputs);
    let network: Networking;
    try {
        const sandbox = podSandbox(inputs, podShares(inputs));
        network = await reserveNetwork(
            run,
            client,
            withHosts(inputs),
            (labels) => reserveRecord(client, inputs, labels),
            sandbox,
        );
    } catch (error) {
        throw ContainerdError.from(error, { node: inputs.node });
    }
    try {
        await bringImages(run, client, containersOf(inputs), new Map());
        const settled = await settlePodPorts(run, client, inputs, network);
        await writeNetwork(client, inputs, settled);
        return await reconcile(run, client, { inputs, network: settled });
    } catch (error) {
        if (error instanceof NotReady) throw error;
        await removePod(run, { ...inputs, members: memberNames(inputs) }).catch(() => undefined); // what can't be undone now is swept by the next create
        throw ContainerdError.from(error, { node: inputs.node });
    }
}

/** Makes what is there into what is wanted; members that did not change keep running. */
export async function renewPod(run: Run, olds: PodState, news: PodInputs): Promise<PodState> {
    const client = await clientForChange(run, news.node, news.namespace);
    const record = await findRecord(client, news.name);
    if (record?.labels[LABEL.uid] !== news.uid) {
        const reason = `pod ${news.name} is gone from the node: run pulumi refresh, then up makes it anew`;
        throw new ContainerdError("NotFound", reason, { node: news.node });
    }
    await bringImagesFirst(run, client, news);
    const sandbox = podSandbox(news, podShares(news));
    const found = await networkOf(run, client, withHosts(news), record.labels, sandbox);
    const network = await settlePodPorts(run, client, news, found);
    // First, because what the network refuses must not be asked for at the next start.
    if (network.settings && (await isRunning(client, news))) await ensureNetwork(client, network.settings);
    await writeNetwork(client, news, network);
    await setLabels(client, news.name, { ...labelChange(olds.labels, news.labels), ...recordLabels(news) });
    return reconcile(run, client, { inputs: news, olds, network });
}

/** Before anything is changed: an image that cannot be had leaves all as it was, and nothing claimed. */
async function bringImagesFirst(run: Run, client: Client, pod: PodInputs): Promise<void> {
    const there = await findMembers(client, pod);
    try {
        await bringImages(run, client, containersOf(pod), there);
    } catch (error) {
        const uids = Object.keys(pod.containers).map((name) => memberUid(pod, name));
        const kept = [...there.values()].flatMap(({ labels }) => labels[LABEL.image] ?? []);
        await releaseImages(client, new Set(uids), kept).catch(() => undefined); // why it failed says more, and the next update does it
        throw error;
    }
}

/** What the members are to be as containers, by name. Pure. */
function containersOf(pod: PodInputs): Map<string, ContainerInputs> {
    return new Map(Object.entries(pod.containers).map(([name, member]) => [name, memberContainer(pod, name, member)]));
}

/** Chooses the host ports that are to be chosen; what is exposed only the images of the members tell. */
async function settlePodPorts(run: Run, client: Client, pod: PodInputs, network: Networking): Promise<Networking> {
    const members = Object.entries(pod.publishAll ? pod.containers : {});
    const images = await all(
        members.map(([name, member]) => bringImage(run, client, name, memberContainer(pod, name, member))),
    );
    const exposed = images.flatMap(({ config }) => exposedBy(config));
    return settlePorts(run, client, pod, network, exposed);
}

/** Whether a member runs, so that the network is there. */
async function isRunning(client: Client, pod: PodInputs): Promise<boolean> {
    const members = [...(await findMembers(client, pod)).values()];
    const states = await all(members.map(({ id }) => processState(client, id)));
    return states.some((state) => state?.status === "running");
}

/** With the members at home under their names. */
export function withHosts(inputs: PodInputs): PodInputs {
    const members = Object.fromEntries(Object.keys(inputs.containers).map((name) => [name, "127.0.0.1"]));
    return { ...inputs, hostname: podHostname(inputs), hosts: { ...members, ...inputs.hosts } };
}

async function writeNetwork(client: Client, inputs: PodInputs, network: Networking): Promise<void> {
    await writeFiles(client, containerFolder(inputs.namespace, inputs.name), networkFiles(network.settings));
}

/** Removes what earlier, killed creates of this owner left. */
async function sweep(run: Run, client: Client, inputs: PodInputs): Promise<void> {
    const { owner, node, namespace } = inputs;
    const [before, pulls] = await Promise.all([oursBefore(run, client), pullsBefore(run, client)]);
    const known = knownUid(run, owner);
    const ours = before.get(owner) ?? [];
    const left = new Map<string, string>();
    for (const { name, labels } of ours) {
        const uid = labels[LABEL.podUid];
        if (!uid || uid === known || labels[LABEL.retain] === "true") continue;
        left.set(uid, labels[LABEL.pod] || name);
    }
    for (const [uid, name] of left) await removePod(run, { node, namespace, name, uid });
    await run.onceAt(client, `swept images ${owner}`, async () => {
        const keep = ours.filter(({ labels }) => !left.has(labels[LABEL.podUid] ?? ""));
        await sweepImageLeftovers(
            client,
            bringer(inputs),
            keep.map(({ labels }) => labels[LABEL.uid] ?? ""),
            pulls,
        );
    });
}

/** What is to be made of a pod whose record is there. */
interface Wanted {
    inputs: PodInputs;
    olds?: PodState;
    network: Networking;
}

/** Makes the members into what they are to be, in the order of their starts, and waits for each. */
async function reconcile(run: Run, client: Client, { inputs, olds, network }: Wanted): Promise<PodState> {
    const { hostPorts, self } = network;
    const known = { address: self.address, hostPorts };
    const record = await findRecord(client, inputs.name);
    const done = inputs.once && olds?.ready === true;
    const there = await findMembers(client, inputs);
    for (const [name, member] of there)
        if (!Object.hasOwn(inputs.containers, name)) await removeMember(run, inputs, member);
    if (!record?.labels[LABEL.initialized]) {
        await runInits(run, client, inputs);
        await setLabels(client, inputs.name, { [LABEL.initialized]: "true" });
    }
    const problems: { name: string; error: NotReady }[] = [];
    for (const [order, group] of (inOrder(inputs.containers) ?? []).entries()) {
        // Each start holds the lock of what they share for a moment, and waits for it a few seconds at most.
        const limit = pLimit(SIDE_BY_SIDE);
        const start = async (name: string): Promise<void> => {
            const member = inputs.containers[name]!;
            await shape(run, client, inputs, {
                name,
                member,
                order,
                found: there.get(name),
                old: olds?.containers[name],
            });
            if (!done) await bringUpMember(run, client, inputs, name, { ...member, once: inputs.once });
        };
        const ended = await Promise.allSettled(group.map((name) => limit(start, name)));
        ended.forEach((end, index) => {
            if (end.status === "fulfilled") return;
            const name = group[index]!;
            if (!(end.reason instanceof NotReady)) throw at(end.reason, ["containers", name]);
            problems.push({ name, error: end.reason });
        });
        if (problems.length > 0) throw notReady(inputs, podState(run, inputs, { ...known, ready: false }), problems);
    }
    const { container } = await client.containers.get({ id: inputs.name });
    if (container) await takePorts(client, container);
    // What an update that failed has brought is claimed for members that are made of another image by now.
    if (olds) {
        const uids = Object.keys(inputs.containers).map((name) => memberUid(inputs, name));
        const kept = Object.values(inputs.containers).map(({ image }) => image);
        await releaseImages(client, new Set(uids), kept);
    }
    return podState(run, inputs, { ...known, ready: true });
}

function notReady(inputs: PodInputs, state: PodState, told: readonly { name: string; error: NotReady }[]): NotReady {
    const problems = told.map(({ name, error }) => `${name}: ${error.reason}`);
    const [first] = told.map(({ name, error }) => at(error, ["containers", name]));
    return new NotReady(first ?? new ContainerdError("Failed", "not ready"), {
        id: formatId(inputs),
        state: { ...state, problems },
    });
}

/** What is known of a pod. */
export function podState(
    run: Run,
    inputs: PodInputs,
    is: { address: string; hostPorts: HostPorts; ready: boolean },
): PodState {
    const members = Object.entries(inputs.containers).map(([name, { image }]) => {
        return [name, { containerId: memberName(inputs, name), imageDigest: keyOf(image).digest }] as const;
    });
    return {
        ...inputs,
        podName: inputs.name,
        ...is,
        published: publishedOf(run, inputs, is.hostPorts),
        members: Object.fromEntries(members),
    };
}
