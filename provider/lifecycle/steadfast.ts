/**
 * What holds for every resource that lies on a node, whatever its kind: what cannot be reached is neither gone nor deleted, a
 * node that is declared lost is not asked any more, and a machine that somebody else has claimed is not touched.
 */
import { ContainerdError, type ErrorCode } from "../errors";
import { settingPath } from "../transport/ssh/advice";
import { CLAIM_NAMESPACE, verifyClaim } from "./claims";
import type { Placed } from "./check/common";
import type { Difference, Lifecycle } from "./lifecycle";
import type { Run } from "./run";
import { DELETE_UNREACHABLE } from "./settings";
import { refuseTwin } from "./twins";

/** As much as is known here of what lies on a node. */
type OnNode = Pick<Placed, "owner" | "node" | "claim" | "lost"> & Partial<Pick<Placed, "namespace">>;

/** What says how a node is reached, not what lies on it: a change of these alone touches nothing there. */
const WAY: ReadonlySet<string> = new Set(["connection", "nodeAddress", "lost"]);

/** A life on a node that may not answer. */
export function steadfast<I extends OnNode, S extends I & OnNode>(
    kind: string,
    life: Lifecycle<I, S>,
): Lifecycle<I, S> {
    return {
        check: (run, olds, news) => life.check(run, olds, news),
        diff(olds, news) {
            const { changed, replaces, deleteBeforeReplace } = life.diff(olds, news);
            // A node that becomes a resource of the program, or is one no longer, is the same machine all the same.
            const same = olds.claim === undefined || news.claim === undefined;
            const left = same ? replaces.filter((name) => name !== "claim") : replaces;
            return { changed, replaces: left, deleteBeforeReplace: deleteBeforeReplace && left.length > 0 };
        },

        async create(run, inputs) {
            if (isLost(run, inputs)) throw lostError(inputs.node, "nothing can be made on it");
            await verify(run, inputs);
            return life.create(run, inputs);
        },

        async read(run, id, state) {
            if (Object.keys(state).length && isLost(run, state)) return state;
            try {
                return await life.read(run, id, state);
            } catch (error) {
                if (!Object.keys(state).length) throw error;
                return keptAsKnown(run, state, error);
            }
        },

        async update(run, id, olds, news) {
            if (onlyTheWay(life.diff(olds, news))) return { ...olds, ...wayOf(news), ...life.reached?.(run, news) };
            if (isLost(run, news))
                throw lostError(news.node, "nothing can be changed on it: change only `lost`, or take it away");
            await verify(run, news);
            return life.update(run, id, olds, news);
        },

        async delete(run, id, state) {
            const what = `${kind} ${id.replace(/\/[^/]*$/, "")}`;
            if (isLost(run, state)) return drop(run, state, what, "it is declared lost");
            await deleteOrDrop(run, state, what, () => life.delete(run, id, state));
        },
    };
}

/**
 * Deletes what lies on a node. Where the node does not answer, that is dropped from the state if the user has said so for this
 * node, and is told to be left behind (`what`); else the error says how that is said.
 */
export async function deleteOrDrop(
    run: Run,
    state: Pick<OnNode, "owner" | "node">,
    what: string,
    deed: () => Promise<void>,
): Promise<void> {
    try {
        await deed();
    } catch (error) {
        if (!(error instanceof ContainerdError) || !(await isSilent(run, state.node, error))) throw error;
        if (!run.mayDeleteUnreachable(state.node)) throw wayOut(error, state.node);
        drop(run, state, what, error.reason);
    }
}

/**
 * The state as it was, with a warning, when a look at it failed because its node does not answer: that says nothing about what
 * the node holds. Throws the error where the node does answer.
 */
export async function keptAsKnown<S extends Pick<OnNode, "owner" | "node">>(
    run: Run,
    state: S,
    error: unknown,
): Promise<S> {
    if (!(error instanceof ContainerdError) || !(await isSilent(run, state.node, error))) throw error;
    run.report.warn(state.owner, `kept as last known, because ${error.message}`);
    return state;
}

/** How it may show that a node does not answer: also by settings of the way there, or by a name that is none any more. */
const SILENT: readonly ErrorCode[] = ["Unreachable", "Timeout", "Unauthorized", "Unsupported", "Invalid", "NotFound"];

/** Whether something failed because its node does not answer. It is asked once more: a process that hangs is no dead node. */
async function isSilent(run: Run, node: string, error: ContainerdError): Promise<boolean> {
    // Without a node it is a registry that does not let us in.
    const maybe = SILENT.includes(error.code) && (error.code !== "Unauthorized" || error.node !== undefined);
    return maybe && !(await run.answers(node));
}

function isLost(run: Run, { node, claim, lost }: OnNode): boolean {
    return lost === true || (claim !== undefined && run.isLost(node, claim));
}

function lostError(node: string, what: string): ContainerdError {
    return new ContainerdError("Conflict", `the Node is declared lost (\`lost: true\`), so ${what}`, {
        node,
        property: "node",
    });
}

/** That it is the machine that is meant, and no other name's. */
async function verify(run: Run, { owner, node, claim }: OnNode): Promise<void> {
    const client = await run.client(node, CLAIM_NAMESPACE);
    await Promise.all([
        refuseTwin(run, client, owner),
        claim !== undefined && run.onceAt(client, `claim ${claim}`, () => verifyClaim(client, { owner, claim })),
    ]);
}

function onlyTheWay({ changed }: Difference): boolean {
    return changed.length > 0 && changed.every((name) => WAY.has(name));
}

function wayOf(news: object): object {
    return Object.fromEntries([...WAY].map((name) => [name, (news as Record<string, unknown>)[name]]));
}

function drop(run: Run, { owner, node }: Pick<OnNode, "owner" | "node">, what: string, why: string): void {
    run.report.warn(
        owner,
        `dropped from the state without being deleted, because ${why}. Left behind on node ${node}: ${what}; ` +
            "should the machine come back, `pulumi-containerd doctor` lists what no stack owns",
    );
}

/** The same error, with what to do about a node that never comes back. */
function wayOut(error: ContainerdError, node: string): ContainerdError {
    return new ContainerdError(
        error.code,
        `${error.reason}. Nothing was deleted. If the node is gone for good: set \`deleteUnreachable\` for it in the stack config ` +
            `(\`pulumi config set --path ${settingPath(node, "deleteUnreachable")} true\`, and give \`pulumi destroy\` the flag ` +
            `--run-program, or it goes by the config of the last up), or for once ${DELETE_UNREACHABLE}=${node} in the environment`,
        { node: error.node ?? node, property: error.property, cause: error },
    );
}
