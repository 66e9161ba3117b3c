/** Makes the members and init containers of a pod: their images, their containers anew or in place, and their processes. */
import { isDeepStrictEqual } from "node:util";
import type { Client } from "../../containerd/client";
import { ContainerdError } from "../../errors";
import type { ImageForContainer } from "../../images/inspect";
import type { ContainerInputs } from "../../spec/inputs";
import { bringUp } from "../bring-up";
import { formatPath } from "../check/validate";
import { imageOf, makeAlone, renewContainer } from "../make-container";
import { formatId } from "../names";
import { LABEL } from "../ownership";
import { setLabels } from "../process";
import type { Run } from "../run";
import {
    type InitInputs,
    inOrder,
    madeFrom,
    type MemberInputs,
    memberContainer,
    memberName,
    memberUid,
    type PodInputs,
} from "./inputs";
import type { Labelled } from "./record";
import { all, removeMember } from "./remove-pod";

/** Brings the images of what is to be made anew before anything is stopped for it. */
export async function bringImages(
    run: Run,
    client: Client,
    wanted: ReadonlyMap<string, ContainerInputs>,
    there: ReadonlyMap<string, Labelled>,
): Promise<void> {
    const made = [...wanted].filter(([name, container]) => isOther(container, there.get(name)));
    await all(made.map(([name, container]) => bringImage(run, client, name, container)));
}

export async function bringImage(
    run: Run,
    client: Client,
    member: string,
    container: ContainerInputs,
): Promise<ImageForContainer> {
    try {
        return await imageOf(run, client, container);
    } catch (error) {
        throw at(error, ["containers", member]);
    }
}

/** Whether a member's container is not there, or not as it is to be. */
function isOther(wanted: ContainerInputs, found: Labelled | undefined): boolean {
    if (!found) return true;
    const { [LABEL.phase]: phase, [LABEL.madeFrom]: from } = found.labels;
    return phase !== "complete" || from !== madeFrom(wanted);
}

/** What is to become of one member. */
interface Shaping {
    name: string;
    member: MemberInputs;
    /** When it starts among the others. */
    order: number;
    found: Labelled | undefined;
    /** As it was in the last deployment. */
    old: MemberInputs | undefined;
}

/** Makes a member's container into what is wanted: anew, or in place. */
export async function shape(run: Run, client: Client, pod: PodInputs, shaping: Shaping): Promise<void> {
    const { name, member, order, found, old } = shaping;
    const container = memberContainer(pod, name, member);
    const labels = memberLabels(pod, name, container, { order, stop: member.stop });
    if (isOther(container, found)) {
        if (found) await removeMember(run, pod, found);
        await makeAlone(run, client, container, labels);
        return;
    }
    await setLabels(client, container.name, { [LABEL.stopSignal]: "", [LABEL.stopTimeout]: "", ...labels });
    const before = old && memberContainer(pod, name, old);
    if (!before || !isDeepStrictEqual(withoutAbsent(before), withoutAbsent(container)) || isOutdated(found, pod)) {
        await renewContainer(run, before ?? container, container);
    }
}

function withoutAbsent(inputs: ContainerInputs): unknown {
    return JSON.parse(JSON.stringify(inputs));
}

function isOutdated(found: Labelled | undefined, { revision }: PodInputs): boolean {
    return found?.labels[LABEL.revision] !== String(revision) || found.labels[LABEL.restarting] !== undefined;
}

function memberLabels(
    pod: PodInputs,
    name: string,
    container: ContainerInputs,
    { order, stop }: { order: number; stop?: MemberInputs["stop"] },
): Record<string, string> {
    return {
        [LABEL.pod]: pod.name,
        [LABEL.podUid]: pod.uid,
        [LABEL.member]: name,
        [LABEL.order]: String(order),
        [LABEL.madeFrom]: madeFrom(container),
        [LABEL.image]: container.image,
        ...(stop?.signal && { [LABEL.stopSignal]: stop.signal }),
        ...(stop?.timeout && { [LABEL.stopTimeout]: stop.timeout }),
    };
}

/** Runs the init containers, each to its end, and removes them. What a killed run left of one is made anew. */
export async function runInits(run: Run, client: Client, pod: PodInputs): Promise<void> {
    for (const group of inOrder(pod.initContainers ?? {}) ?? []) {
        await all(
            group.map(async (name) => {
                try {
                    await runInit(run, client, pod, name, pod.initContainers![name]!);
                } catch (error) {
                    throw at(error, ["initContainers", name]);
                }
            }),
        );
    }
}

async function runInit(run: Run, client: Client, pod: PodInputs, name: string, init: InitInputs): Promise<void> {
    const container = memberContainer(pod, name, init);
    const labels = memberLabels(pod, name, container, { order: -1 });
    await makeAlone(run, client, container, labels);
    await bringUpMember(run, client, pod, name, { restart: "no", once: true });
    await removeMember(run, pod, { id: container.name, labels: { ...labels, [LABEL.uid]: container.uid } });
}

export async function bringUpMember(
    run: Run,
    client: Client,
    pod: PodInputs,
    name: string,
    { restart, health, stop, once }: Pick<MemberInputs, "restart" | "health" | "stop"> & { once: boolean },
): Promise<void> {
    const { owner, revision, node, nodeAddress, connection, timeouts } = pod;
    const uid = memberUid(pod, name);
    const container = formatId({ namespace: pod.namespace, name: memberName(pod, name), uid });
    const { container: claimed } = await client.containers.get({ id: memberName(pod, name) });
    if (!claimed) throw new ContainerdError("NotFound", `container ${memberName(pod, name)} is gone`, { node });
    const place = { node, nodeAddress, connection };
    const inputs = { owner, uid, revision, ...place, timeouts, container, restart, health, stop, once };
    await bringUp(run, client, container, { ...inputs, desired: "running" }, { claimed });
}

/** The error, at the member's argument. Pure. */
export function at(error: unknown, path: string[]): ContainerdError {
    const told = ContainerdError.from(error);
    const below = told.property === undefined ? "" : `${told.property.startsWith("[") ? "" : "."}${told.property}`;
    const property = formatPath(path) + below;
    return new ContainerdError(told.code, told.reason, { node: told.node, property, cause: told });
}
