/** The life of a Node: a claim on a machine, and what is known of it. Nothing is installed there. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "../containerd/client";
import { nodeFacts } from "../containerd/facts";
import { ContainerdError, hasCode } from "../errors";
import { survey } from "../node/survey";
import type { ConnectionSettings } from "../transport/ssh/settings";
import { CLAIM_NAMESPACE, claimLease, claimMachine, claimOn, releaseMachine } from "./claims";
import type { Placed } from "./check/common";
import { nodeSchema } from "./check/node";
import { formatDuration, parseDuration } from "./check/units";
import { validate } from "./check/validate";
import { argumentsOf, compare, type Policies } from "./diff";
import { clientForChange } from "./leases";
import type { Lifecycle } from "./lifecycle";
import { formatId } from "./names";
import { removeClaimed } from "./remove-claimed";
import { LOCALHOST, nodeAddress, nodeSettings } from "./settings";
import type { Run } from "./run";
import { deleteOrDrop, keptAsKnown } from "./steadfast";
import { holdsUnknown } from "./unknown";
import { refuseTwin } from "./twins";

/** A Node's arguments after `check`. */
export interface NodeInputs extends Pick<Placed, "owner" | "retainOnDelete" | "timeouts" | "replaceOnChanges"> {
    /** What it is called. */
    node: string;
    /** The UUID by which this stack claims the machine. */
    claim: string;
    connection?: ConnectionSettings;
    machine?: string;
    publicAddress?: string;
    labels?: Record<string, string>;
    capacity?: { cpus?: number; memory?: number };
    lost?: boolean;
}

/** What a machine is and has; see the resource's `NodeFacts`. */
export interface Facts {
    containerd: string;
    platform: string;
    snapshotters: string[];
    cgroup?: 1 | 2;
    kernel?: string;
    runc?: string;
    restartInterval?: string;
    cniPlugins?: string[];
}

/** What is known of a Node that was made. */
export interface NodeState extends NodeInputs {
    facts: Facts;
}

const policies: Policies<NodeInputs> = {
    owner: "update",
    retainOnDelete: "none",
    timeouts: "none",
    replaceOnChanges: "none",
    node: "replace",
    claim: "none",
    machine: "replace",
    connection: "update",
    publicAddress: "update",
    labels: "update",
    capacity: "update",
    lost: "update",
};

/** How long a machine that is just being made may take until it answers, where the option `customTimeouts` says nothing. */
const BOOT_TIME = 3 * 60_000;
const PAUSE = 3_000;

export const node: Lifecycle<NodeInputs, NodeState> = {
    arguments: argumentsOf(policies),

    check(run, olds, news) {
        const { value, failures } = validate(nodeSchema, news);
        if (failures.length) return Promise.resolve({ inputs: news, failures });
        const given = value as NodeInputs;
        const configured = configuredFor(run, given);
        const { connection } = given;
        if (olds) run.noteClaim(olds.claim);
        const claim = olds?.claim ?? randomUUID();
        if (connection && !holdsUnknown(connection)) run.noteConnection(claim, connection);
        return Promise.resolve({
            inputs: {
                ...given,
                facts: undefined,
                claim,
                labels: given.labels ?? configured.labels,
                capacity: given.capacity ?? configured.capacity,
                publicAddress:
                    given.publicAddress ??
                    configured.publicAddress ??
                    connection?.host ??
                    nodeAddress(run.settings, given.node),
            },
            failures,
        });
    },

    diff(olds, news) {
        const { changed, replaces } = compare(policies, olds, news);
        // Which machine it is may be said later than that it is one.
        const said = olds.machine === undefined || news.machine === undefined;
        const other = said ? replaces.filter((name) => name !== "machine") : replaces;
        return { changed, replaces: other, deleteBeforeReplace: false };
    },

    async create(run, inputs) {
        if (inputs.lost) {
            throw new ContainerdError("Invalid", "a machine that was never reached cannot be lost: take `lost` away", {
                node: inputs.node,
                property: "lost",
            });
        }
        const client = await firstContact(run, inputs);
        await refuseTwin(run, client, inputs.owner);
        await claimMachine(client, inputs, (uuid) => run.hasClaim(uuid));
        try {
            return { id: idOf(inputs), state: await stateOf(run, client, inputs) };
        } catch (error) {
            await releaseMachine(client, inputs).catch(() => undefined);
            throw error;
        }
    },

    async read(run, id, state) {
        if (Object.keys(state).length === 0) {
            throw new ContainerdError(
                "Unsupported",
                `a Node cannot be read by its id alone (${id}): declare it in this program`,
            );
        }
        if (state.lost) return state;
        try {
            const client = await run.client(state.node, CLAIM_NAMESPACE);
            const claim = await claimOn(client, state.owner);
            // A machine that was made anew holds nothing of ours: what was on it is gone as well.
            if (claim !== state.claim) return undefined;
            return await stateOf(run, client, state);
        } catch (error) {
            return keptAsKnown(run, state, error);
        }
    },

    async update(run, _id, olds, news) {
        if (news.lost) {
            run.declareLost(news.node, news.claim);
            return { ...news, facts: olds.facts };
        }
        const client = await clientFor(run, news.node);
        await refuseTwin(run, client, news.owner);
        await claimMachine(client, news);
        // A stack that was renamed leaves no claim under its old name.
        if (claimLease(olds.owner) !== claimLease(news.owner)) await releaseMachine(client, olds);
        return stateOf(run, client, news);
    },

    async delete(run, id, state) {
        if (state.lost) {
            return run.report.warn(
                state.owner,
                `declared lost: nothing was done on the machine, ${id} is dropped from the state`,
            );
        }
        await deleteOrDrop(run, state, `the claim ${claimLease(state.owner)} (a lease)`, async () => {
            const client = await clientFor(run, state.node);
            await removeClaimed(run, client, state);
            await releaseMachine(client, state);
        });
    },
};

function idOf({ node: name, claim }: NodeInputs): string {
    return formatId({ namespace: CLAIM_NAMESPACE, name, uid: claim });
}

/** What the stack's config says of it, if anything. Throws `NotFound` where nothing says how it is reached. */
function configuredFor(run: Run, { node: name, connection }: NodeInputs) {
    if (Object.hasOwn(run.settings.nodes, name)) return run.settings.nodes[name]!;
    return connection || name === LOCALHOST ? {} : nodeSettings(run.settings, name);
}

function clientFor(run: Run, name: string): Promise<Client> {
    return clientForChange(run, name, CLAIM_NAMESPACE);
}

/** A machine that is made in the same `up` may still boot. One that says who it is and refuses us will not change its mind. */
async function firstContact(run: Run, { node: name, connection, timeouts, owner }: NodeInputs): Promise<Client> {
    const patience = connection
        ? timeouts?.create === undefined
            ? BOOT_TIME
            : (parseDuration(timeouts.create) ?? BOOT_TIME)
        : 0;
    const end = Date.now() + patience;
    for (;;) {
        try {
            const client = await clientFor(run, name);
            await nodeFacts(client);
            run.report.progress(owner, "");
            return client;
        } catch (error) {
            if (!hasCode(error, "Unreachable", "Timeout") || Date.now() > end) throw error;
            run.report.progress(owner, `waits for the machine: ${error.reason}`);
            await sleep(PAUSE);
        }
    }
}

async function stateOf(run: Run, client: Client, inputs: NodeInputs): Promise<NodeState> {
    return { ...inputs, facts: await factsOf(run, client) };
}

async function factsOf(run: Run, client: Client): Promise<Facts> {
    const { version, platform, snapshotters } = await nodeFacts(client);
    const containerd = version.replace(/^v/, "");
    const known = { containerd, platform, snapshotters: [...snapshotters] };
    const seen = await survey(run.transport(client.node)).catch((error: unknown) => {
        // A user who may use the socket and run no commands: containerd's own facts are what counts.
        if (hasCode(error, "Unsupported", "Failed")) return undefined;
        throw error;
    });
    if (!seen) return known;
    return {
        ...known,
        cgroup: seen.cgroupVersion,
        kernel: seen.kernel,
        runc: seen.runcVersion,
        restartInterval: seen.restartInterval === undefined ? undefined : formatDuration(seen.restartInterval),
        cniPlugins: seen.cni?.plugins,
    };
}
