/** The life of a Task: the process of a Container, and that it keeps running. */
import type { Client } from "../containerd/client";
import { nodeFacts } from "../containerd/facts";
import { ContainerdError, hasCode } from "../errors";
import { type Placed, placed } from "./check/common";
import { taskSchema } from "./check/task";
import { parseDuration } from "./check/units";
import { validate } from "./check/validate";
import { compare, type Policies } from "./diff";
import { ended, type HealthInputs, probe, waitHealthy } from "./health";
import { type Failure, type Lifecycle, NotReady } from "./lifecycle";
import { lastLogLines, withLog } from "./logs";
import { parseId } from "./names";
import { LABEL } from "./ownership";
import {
    type Container,
    exited,
    processState,
    removeTask,
    setLabels,
    startProcess,
    type Stop,
    stopOf,
    stopProcess,
    wantsTerminal,
} from "./process";
import { assertRestartable, hasRestartLabels, RESTART_LABELS, restartLabels } from "./restart";
import type { Run } from "./run";
import { chooseNode } from "./settings";
import { isUnknown } from "./unknown";

/** A Task's arguments after `check`. */
export interface TaskInputs extends Omit<Placed, "namespace"> {
    /** Pulumi's id of the Container: `namespace/name/uid`. */
    container: string;
    restart: string;
    health?: HealthInputs;
    stop?: { signal?: string; timeout?: string };
    once: boolean;
    triggers?: unknown;
    /** Changes with each restart of the process that its Container makes: then health is waited for anew. */
    generation?: string;
    desired: "running" | "stopped";
}

/** What is known of a Task that was made. */
export interface TaskState extends TaskInputs {
    /** It is as desired: runs and was seen healthy, is stopped, or as a job ended with 0. */
    ready: boolean;
    status: "running" | "stopped";
    exitCode?: number;
}

const policies: Policies<TaskInputs> = {
    owner: "update",
    uid: "none",
    revision: "none",
    retainOnDelete: "none",
    timeouts: "none",
    replaceOnChanges: "none",
    node: "replace",
    container: "replace",
    triggers: "replace",
    once: "replace",
    restart: "update",
    health: "update",
    stop: "update",
    desired: "update",
    generation: "update",
};

const HEALTH_DEFAULTS = { interval: "10s", timeout: "5s", retries: 3, startPeriod: "30s" };
/** How long a job may run, and an `up` may wait for health, where `customTimeouts` says nothing. */
const DEFAULT_TIMEOUT = "10m";
/** What ends in this time did not come up. Milliseconds. */
const AT_ONCE = 100;

export const task: Lifecycle<TaskInputs, TaskState> = {
    async check(run, olds, news) {
        const { value, failures } = validate(taskSchema, news);
        if (failures.length) return Promise.resolve({ inputs: news, failures });
        const given = value as Partial<TaskInputs> & { owner: string };
        const once = given.once ?? false;
        // Its namespace is its Container's.
        const { uid, node, revision } = placed(run, given, olds && { ...olds, namespace: "" });
        const inputs = {
            ...given,
            uid,
            node,
            revision,
            once,
            restart: given.restart ?? (once ? "no" : "always"),
            health: given.health && { ...HEALTH_DEFAULTS, ...given.health },
            desired: given.desired ?? "running",
        };
        return Promise.resolve({ inputs, failures: contradictions(inputs) });
    },

    diff(olds, news) {
        const { changed, replaces } = compare(policies, olds, news);
        if (!changed.length && !asDesired(olds, news)) changed.push("status");
        // One container has one process; under another container the new one may stand beside the old.
        const deleteBeforeReplace = replaces.length > 0 && olds.container === news.container;
        return { changed, replaces, deleteBeforeReplace };
    },

    async create(run, inputs) {
        const client = await clientOf(run, inputs);
        const claimed = await claim(client, inputs);
        const id = `${inputs.container}/${inputs.uid}`;
        try {
            // What a killed create left running is not what was asked for: it is started anew.
            const state = await bringUp(run, client, id, inputs, { claimed, anew: stopOf(claimed.labels) });
            return { id, state };
        } catch (error) {
            if (!(error instanceof NotReady)) await letGo(client, inputs).catch(() => undefined); // the next create finds it
            throw error instanceof NotReady ? error : ContainerdError.from(error, { node: inputs.node });
        }
    },

    async read(run, id, known) {
        const state = known.container === undefined ? fromId(run, id) : known;
        const client = await clientOf(run, state);
        const labels = await ourLabels(client, state);
        if (!labels) return undefined;
        const { name } = parseId(state.container);
        const process = await processState(client, name);
        if (state.once) return { ...state, ready: state.exitCode === 0 };
        const status = process?.status === "running" ? "running" : "stopped";
        const facts = await nodeFacts(client);
        const watched = hasRestartLabels(state.restart, facts, labels);
        const restart = watched || state.desired === "stopped" ? state.restart : foundPolicy(labels);
        return { ...state, status, restart, ready: await isReady(run, client, state, status) };
    },

    async update(run, id, olds, news) {
        const client = await clientOf(run, news);
        const { name } = parseId(news.container);
        const claimed = await claim(client, news);
        if (news.desired === "stopped") {
            await stopProcess(client, name, stopOf(claimed.labels));
            return { ...news, ready: true, status: "stopped" };
        }
        if (news.once && olds.exitCode === 0) return { ...news, ready: true, status: "stopped", exitCode: 0 };
        return bringUp(run, client, id, news, { claimed });
    },

    async delete(run, _id, state) {
        await letGo(await clientOf(run, state), state);
    },
};

/** What can be said of a Task that another program made, by its id alone. */
function fromId(run: Run, id: string): TaskState {
    const slash = id.lastIndexOf("/");
    const node = chooseNode(run.settings, undefined);
    const wanted = { restart: "always", once: false, desired: "running" } as const;
    const found = { owner: "", revision: 0, ready: false, status: "stopped" } as const;
    return { ...wanted, ...found, node, container: id.slice(0, slash), uid: id.slice(slash + 1) };
}

function contradictions({ once, restart, health, desired }: Partial<TaskInputs>): Failure[] {
    const failures: Failure[] = [];
    if (once && restart !== "no" && !isUnknown(restart)) {
        failures.push({
            property: "restart",
            reason: "a job (`once`) runs to its end and is not started again: leave restart out",
        });
    }
    if (once && health)
        failures.push({ property: "health", reason: "a job (`once`) is judged by its exit status: leave health out" });
    if (once && desired === "stopped")
        failures.push({ property: "desired", reason: "a job (`once`) cannot be wanted stopped" });
    return failures;
}

function asDesired(olds: TaskState, news: TaskInputs): boolean {
    if (!olds.ready) return false;
    return olds.once || olds.status === news.desired;
}

function clientOf(run: Run, { node, container }: TaskInputs): Promise<Client> {
    return run.client(node, parseId(container).namespace);
}

/** The container's labels, if it is the container meant and this Task runs it; undefined when not. */
async function ourLabels(client: Client, { container, uid }: TaskInputs): Promise<Record<string, string> | undefined> {
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
async function claim(client: Client, inputs: TaskInputs): Promise<Container> {
    const { name, uid } = parseId(inputs.container);
    let found;
    try {
        found = (await client.containers.get({ id: name })).container;
    } catch (error) {
        if (!hasCode(error, "NotFound")) throw error;
    }
    const at = { node: inputs.node, property: "container" };
    if (found?.labels[LABEL.uid] !== uid) {
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

/**
 * Starts the process where it does not run, and waits until it does its work. With `anew`, a process that runs is stopped
 * in that way first.
 */
async function bringUp(
    run: Run,
    client: Client,
    id: string,
    inputs: TaskInputs,
    { claimed, anew }: { claimed: Container; anew?: Stop },
): Promise<TaskState> {
    const { name } = parseId(inputs.container);
    const facts = await nodeFacts(client);
    assertRestartable(inputs.restart, wantsTerminal(claimed), facts, inputs.node);
    const runs = !anew && (await processState(client, name))?.status === "running";
    // The monitor is called off meanwhile: it would start it too.
    if (anew || (!runs && inputs.desired === "running")) await stopProcess(client, name, anew ?? {}, claimed.labels);
    if (inputs.desired === "stopped") return { ...inputs, ready: true, status: "stopped" };
    if (!runs) await start(client, claimed);
    if (inputs.once) return runOnce(client, name, inputs);
    const labels = restartLabels(inputs.restart, facts);
    // After a stop there are none to be taken off.
    if (runs || Object.keys(labels).length > 0) await watch(client, name, labels);
    const patient = { client, transport: run.transport(inputs.node), name };
    const deadline = Date.now() + timeoutOf(inputs);
    try {
        if (inputs.health)
            await waitHealthy(patient, inputs.health, deadline, (why) => run.report.progress(inputs.owner, why));
        else await assertRunning(client, name, inputs);
    } catch (error) {
        const told = await toldWithLog(client, name, error, inputs.node);
        const running = (await processState(client, name))?.status === "running";
        throw new NotReady(told, { id, state: { ...inputs, ready: false, status: running ? "running" : "stopped" } });
    } finally {
        run.report.progress(inputs.owner, "");
    }
    return { ...inputs, ready: true, status: "running" };
}

async function start(client: Client, container: Container): Promise<void> {
    try {
        await startProcess(client, container.id, container);
    } catch (error) {
        const told = ContainerdError.from(error, { node: client.node });
        throw new ContainerdError(told.code, startProblem(told.reason), { node: told.node, cause: error });
    }
}

/** What the runtime says of a start that failed, with what to do about it where that is known. Pure. */
export function startProblem(said: string): string {
    const command = /exec: "([^"]*)": (?:stat |executable file not found|permission denied)/.exec(said)?.[1];
    if (command === undefined) return said;
    const what = said.includes("permission denied")
        ? `the command ${command} may not be executed in the image (its mode, or it is a folder)`
        : `there is no command ${command} in the image`;
    return `${what}: see the Container's \`entrypoint\` and \`args\`, and what the image itself starts. The runtime says: ${said}`;
}

/** A process that ended at once was a failure, unless that is what it should do. */
async function assertRunning(client: Client, name: string, { restart }: TaskInputs): Promise<void> {
    // With a policy containerd would start it again, and a moment is no proof; without, this is the only look.
    if (restart === "no") await exited(client, { container_id: name }, AT_ONCE);
    const state = await processState(client, name);
    if (state?.status === "running" || (restart === "no" && state?.exitStatus === 0)) return;
    throw ended({ client, name }, state?.exitStatus);
}

async function runOnce(client: Client, name: string, inputs: TaskInputs): Promise<TaskState> {
    const exitCode = await exited(client, { container_id: name }, timeoutOf(inputs));
    if (exitCode === 0) {
        await stopProcess(client, name, {});
        return { ...inputs, ready: true, status: "stopped", exitCode };
    }
    const error =
        exitCode === undefined
            ? new ContainerdError(
                  "Timeout",
                  `the job ${name} did not end in ${inputs.timeouts?.create ?? DEFAULT_TIMEOUT}: set customTimeouts`,
              )
            : ended({ client, name }, exitCode);
    throw await toldWithLog(client, name, error, inputs.node);
}

/** The error with the last lines of the log. */
async function toldWithLog(client: Client, name: string, error: unknown, node: string): Promise<ContainerdError> {
    const told = ContainerdError.from(error, { node });
    // The shim holds the log's pipes until the task is removed: only then the last line is sure to be there.
    if ((await processState(client, name))?.status === "stopped") await removeTask(client, name);
    const log = await lastLogLines(client, name);
    return new ContainerdError(told.code, withLog(told.reason, log), { node, property: told.property, cause: told });
}

/** Puts exactly these of the monitor's labels on the container. */
async function watch(client: Client, name: string, wanted: Record<string, string>): Promise<void> {
    const none = Object.fromEntries(RESTART_LABELS.map((key) => [key, ""]));
    await setLabels(client, name, { ...none, ...wanted });
}

async function isReady(run: Run, client: Client, state: TaskState, status: "running" | "stopped"): Promise<boolean> {
    if (status !== state.desired) return false;
    if (status === "stopped" || !state.health) return true;
    const patient = { client, transport: run.transport(state.node), name: parseId(state.container).name };
    return (await probe(patient, state.health)) === undefined;
}

function foundPolicy(labels: Record<string, string>): string {
    const [status, , policy] = RESTART_LABELS.map((key) => labels[key]);
    if (status !== "running") return "no";
    return policy || "always";
}

/** Stops the process and takes the Task's labels off; the container stays. */
async function letGo(client: Client, state: TaskInputs): Promise<void> {
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

function timeoutOf({ timeouts }: TaskInputs): number {
    return parseDuration(timeouts?.create ?? DEFAULT_TIMEOUT) ?? 0;
}
