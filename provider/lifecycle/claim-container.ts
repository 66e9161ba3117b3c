/** Which Task runs a container, as written on it: one Task at a time, and how it is to be stopped. */
import type { Client } from "../containerd/client";
import { ContainerdError, hasCode } from "../errors";
import { parseId } from "./names";
import { LABEL } from "./ownership";
import { type Container, setLabels, stopOf, stopProcess } from "./process";
import type { TaskInputs } from "./task";

/** The container's labels, if it is the container meant and this Task runs it; undefined when not. */
export async function ourLabels(
    client: Client,
    { container, uid }: TaskInputs,
): Promise<Record<string, string> | undefined> {
    const { name, uid: containerUid } = parseId(container);
    try {
        const { container: found } = await client.containers.get({ id: name });
        const ours = found?.labels[LABEL.uid] === containerUid && found.labels[LABEL.taskUid] === uid;
        return ours ? found.labels : undefined;
    } catch (error) {
        if (hasCode(error, "NotFound")) return undefined;
        throw error;
    }
}

/** Writes on the container that this Task runs it, and how it is to be stopped. Throws `Conflict`, `NotFound`. */
export async function claim(client: Client, inputs: TaskInputs): Promise<Container> {
    const { name, uid } = parseId(inputs.container);
    let found;
    try {
        found = (await client.containers.get({ id: name })).container;
    } catch (error) {
        if (!hasCode(error, "NotFound")) throw error;
    }
    const at = { node: inputs.node, property: "container" };
    // One whose removal was cut off in the middle has nothing left that could run.
    if (found?.labels[LABEL.uid] !== uid || found.labels[LABEL.phase] === "creating") {
        throw new ContainerdError(
            "NotFound",
            `container ${name} is gone from the node: run pulumi refresh, then up makes it anew`,
            at,
        );
    }
    const other = found.labels[LABEL.task];
    if (other && other !== inputs.owner && found.labels[LABEL.taskUid] !== inputs.uid) {
        throw new ContainerdError("Conflict", `container ${name} is run by another Task already: ${other}`, at);
    }
    const stop = {
        [LABEL.task]: inputs.owner,
        [LABEL.taskUid]: inputs.uid,
        [LABEL.stopSignal]: inputs.stop?.signal ?? "",
        [LABEL.stopTimeout]: inputs.stop?.timeout ?? "",
        [LABEL.restarting]: "",
    };
    await setLabels(client, name, stop);
    return { ...found, labels: { ...found.labels, ...stop } };
}

/** Stops the process and takes the Task's labels off; the container stays. */
export async function letGo(client: Client, state: TaskInputs): Promise<void> {
    const labels = await ourLabels(client, state);
    if (!labels) return;
    const { name } = parseId(state.container);
    await stopProcess(client, name, stopOf(labels));
    const ours = [LABEL.task, LABEL.taskUid, LABEL.stopSignal, LABEL.stopTimeout, LABEL.restarting];
    try {
        await setLabels(client, name, Object.fromEntries(ours.map((key) => [key, ""])));
    } catch (error) {
        if (!hasCode(error, "NotFound")) throw error;
    }
}
