/** The life of a Task: the process of a Container, and that it keeps running. */
import type { Client } from "../containerd/client";
import { nodeFacts } from "../containerd/facts";
import { ContainerdError } from "../errors";
import { bringUp } from "./bring-up";
import { type Placed, placed, nodePolicies } from "./check/common";
import { taskSchema, withTimes } from "./check/task";
import { factsOf, lacking } from "./check/facts";
import { validate } from "./check/validate";
import { claim, letGo, ourLabels } from "./claim-container";
import { argumentsOf, compare, type Policies } from "./diff";
import { type HealthInputs, isHealthy, patientOf } from "./health";
import { type Failure, type Lifecycle, NotReady } from "./lifecycle";
import { parseId } from "./names";
import { processState, stopOf, stopProcess } from "./process";
import { foundPolicy, hasRestartLabels } from "./restart";
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
    ...nodePolicies,
    container: "replace",
    triggers: "replace",
    once: "replace",
    restart: "update",
    health: "update",
    stop: "update",
    desired: "update",
    generation: "update",
};

export const task: Lifecycle<TaskInputs, TaskState> = {
    arguments: argumentsOf(policies),

    async check(run, olds, news) {
        const said = withKnown(news as Partial<TaskInputs>, olds);
        if (!said) return Promise.resolve({ inputs: news, failures: [] });
        const { value, failures } = validate(taskSchema, said);
        if (failures.length) return Promise.resolve({ inputs: news, failures });
        const given = value as Partial<TaskInputs> & { owner: string };
        const once = given.once ?? false;
        // Its namespace is its Container's.
        const { uid, node, revision, facts } = placed(run, given, olds && { ...olds, namespace: "" });
        const inputs = {
            ...given,
            uid,
            node,
            revision,
            facts,
            once,
            restart: given.restart ?? (once ? "no" : "always"),
            health: withTimes(given.health),
            desired: given.desired ?? "running",
            hasContainer: undefined,
        };
        return Promise.resolve({ inputs, failures: [...contradictions(inputs), ...lacking(inputs, factsOf(news))] });
    },

    diff(olds, news) {
        const { changed, replaces } = compare(policies, olds, news);
        if (!asDesired(olds, news)) changed.push("status");
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

/**
 * What the program says of a Task. Where its Container has failed in this `up`, and the engine goes on (`--continue-on-error`), what
 * is not known of the Container is absent: it is as it was then, or `undefined` where there was none. The engine passes the Task
 * over in the end; an error of its own would only hide the one that counts.
 */
function withKnown(news: Partial<TaskInputs> & { hasContainer?: boolean }, olds?: TaskInputs): object | undefined {
    const { container = olds?.container, node = olds?.node } = news;
    if (!news.hasContainer || (news.container !== undefined && news.node !== undefined)) return news;
    return container === undefined || node === undefined ? undefined : { ...news, container, node };
}

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

async function isReady(run: Run, client: Client, state: TaskState, status: "running" | "stopped"): Promise<boolean> {
    if (status !== state.desired) return false;
    if (status === "stopped" || !state.health) return true;
    const { name } = parseId(state.container);
    const { container } = await client.containers.get({ id: name });
    if (!container) return false;
    const patient = await patientOf(run, client, state, container);
    try {
        return await isHealthy(patient, state.health, (why) => run.report.progress(state.owner, why));
    } finally {
        run.report.progress(state.owner, "");
    }
}
