/** What `refresh` finds of a pod: its members' specs read back into arguments, what runs, and the state of its network. */
import type { Client } from "../../containerd/client";
import { parseLook } from "../../network/script";
import { podSandbox } from "../../spec/sandbox";
import { givenLabels } from "../labels";
import { isHealthy, patientOf } from "../health";
import { portsIn } from "../network/host-ports";
import { networkOf, publicAddress, publishedOf, reachedAt } from "../network/networking";
import { lookAtNetwork } from "../network/node-network";
import { publishedAt } from "../network/published";
import { LABEL } from "../ownership";
import { processState } from "../process";
import { readContainer } from "../read-container";
import type { Run } from "../run";
import { MEMBER_ARGUMENTS, madeFrom, type MemberInputs, memberContainer, podShares, type PodState } from "./inputs";
import { withHosts } from "./make-pod";
import { findMembers, findRecord, type Labelled } from "./record";
import { all } from "./remove-pod";

/** The pod as it is; undefined when it is gone or the name is another's by now. */
export async function readPod(run: Run, state: PodState): Promise<PodState | undefined> {
    const client = await run.client(state.node, state.namespace);
    const record = await findRecord(client, state.name);
    // The record alone is gone: its members and its network may be there still, and go when it is replaced or deleted.
    if (!record) return { ...state, ready: false, problems: ["its record is gone"], complete: false };
    if (record.labels[LABEL.uid] !== state.uid) return undefined;
    const sandbox = podSandbox(state, podShares(state));
    const { settings, self, hostPorts } = await networkOf(run, client, withHosts(state), record.labels, sandbox);
    const there = await findMembers(client, state);
    const looks = await all(
        Object.entries(state.containers).map(([name, member]) => lookAt(run, client, state, { name, member, there })),
    );
    const runs = looks.some(({ running }) => running);
    const problems = [
        ...looks.flatMap(({ name, problem }) => (problem === undefined ? [] : [`${name}: ${problem}`])),
        ...(settings && runs ? parseLook(await lookAtNetwork(client, settings)) : []),
    ];
    return {
        ...state,
        containers: Object.fromEntries(looks.map(({ name, member }) => [name, member])),
        labels: givenLabels(record.labels, state.labels),
        address: self.address,
        published: publishedOf(run, state, hostPorts),
        hostPorts,
        ready: state.ready && problems.length === 0,
        problems: problems.length > 0 ? problems : undefined,
        complete: undefined,
    };
}

/**
 * What can be said of a pod that another program made: what it is called and where it answers. Its arguments are not known, so
 * `ready` says that all its members run.
 */
export async function readForeignPod(run: Run, state: PodState): Promise<PodState | undefined> {
    const client = await run.client(state.node, state.namespace);
    const record = await findRecord(client, state.name);
    if (record?.labels[LABEL.uid] !== state.uid) return undefined;
    const there = [...(await findMembers(client, state))];
    const processes = await all(there.map(([, { id }]) => processState(client, id)));
    const members = there.map(([name, { id, labels }]) => {
        return [name, { containerId: id, imageDigest: labels[LABEL.image]?.split("@")[1] ?? "" }] as const;
    });
    return {
        ...state,
        podName: state.name,
        address: there[0] ? await addressAt(run, client, state, there[0][1].id) : "",
        published: publishedAt(portsIn(record.labels), publicAddress(run, state)),
        members: Object.fromEntries(members),
        ready: there.length > 0 && processes.every((process) => process?.status === "running"),
    };
}

/** The address of a member, which is that of its pod. */
async function addressAt(run: Run, client: Client, state: PodState, member: string): Promise<string> {
    const { container } = await client.containers.get({ id: member });
    return container ? (await reachedAt(run, client, state, container)).self.address : "";
}

/** A member as it is. */
interface Look {
    name: string;
    member: MemberInputs;
    running: boolean;
    problem?: string;
}

async function lookAt(
    run: Run,
    client: Client,
    state: PodState,
    { name, member, there }: { name: string; member: MemberInputs; there: ReadonlyMap<string, Labelled> },
): Promise<Look> {
    const container = memberContainer(state, name, member);
    const found = there.get(name);
    if (!found) return { name, member, running: false, problem: "its container is gone" };
    if (found.labels[LABEL.madeFrom] !== madeFrom(container)) {
        return { name, member, running: false, problem: "its container is an older one" };
    }
    const actual = await readContainer(run, {
        ...container,
        containerId: container.name,
        address: "",
        published: {},
        complete: true,
    });
    if (actual === undefined || actual === "gone")
        return { name, member, running: false, problem: "its container is gone" };
    const drifted = MEMBER_ARGUMENTS.filter((key) => key in actual).map((key) => [key, actual[key]] as const);
    const read: MemberInputs = { ...member, ...Object.fromEntries(drifted) };
    if (!actual.complete) return { name, member: read, running: false, problem: "a part of its container is gone" };
    const running = (await processState(client, container.name))?.status === "running";
    if (state.once) return { name, member: read, running };
    if (!running) return { name, member: read, running, problem: "does not run" };
    const healthy = !member.health || (await isMemberHealthy(run, client, state, container.name, member));
    return { name, member: read, running, ...(!healthy && { problem: "is not healthy" }) };
}

async function isMemberHealthy(
    run: Run,
    client: Client,
    pod: PodState,
    name: string,
    { health }: MemberInputs,
): Promise<boolean> {
    const { container } = await client.containers.get({ id: name });
    if (!health || !container) return false;
    const patient = await patientOf(run, client, pod, container);
    try {
        return await isHealthy(patient, health, (why) => run.report.progress(pod.owner, `${name}: ${why}`));
    } finally {
        run.report.progress(pod.owner, "");
    }
}
