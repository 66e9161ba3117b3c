/**
 * What holds for every resource that lies on a node, whatever its kind: what cannot be reached is neither gone nor deleted, a
 * node that is declared lost is not asked any more, a machine that somebody else has claimed is not touched, and an update that
 * failed is on record, since nobody knows how much of it was done.
 */
import { ContainerdError, type ErrorCode } from "../errors";
import { settingPath } from "../transport/ssh/advice";
import { CLAIM_NAMESPACE, verifyClaim } from "./claims";
import type { Placed } from "./check/common";
import { type Difference, type Lifecycle, NotReady } from "./lifecycle";
import type { Run } from "./run";
import { DELETE_UNREACHABLE, LOCALHOST } from "./settings";
import { refuseTwin } from "./twins";

/** As much as is known here of what lies on a node. */
type OnNode = Pick<Placed, "owner" | "node" | "claim" | "lost"> & Partial<Pick<Placed, "namespace">>;

/** What says how a node is reached, not what lies on it: a change of these alone touches nothing there. */
const WAY: ReadonlySet<string> = new Set(["connection", "nodeAddress", "lost"]);

/**
 * A state whose last update failed: it is that of before, and `unfinished` the arguments that the node may have by now, one or
 * another. Both a program that is put back and one that stays are then a change. Holds secrets: it is an `additionalSecretOutput`.
 */
type Interrupted<I, S> = S & { unfinished?: I };

/** A life on a node that may not answer. */
export function steadfast<I extends OnNode, S extends I & OnNode>(
    kind: string,
    life: Lifecycle<I, S>,
): Lifecycle<I, Interrupted<I, S>> {
    const differ = (olds: S, news: I) => life.diff(olds, news).changed.length > 0;
    return {
        arguments: life.arguments,
        check: (run, olds, news) => life.check(run, olds, news),
        diff(state, news) {
            const { olds, unfinished } = parted<I, S>(state);
            const { changed, replaces, deleteBeforeReplace } = life.diff(olds, news);
            const warning = unfinished && "the last update of it failed in the middle: what that left is put in order";
            if (unfinished) changed.push("unfinished");
            // A node that becomes a resource of the program, or is one no longer, is the same machine all the same.
            const same = olds.claim === undefined || news.claim === undefined;
            const left = same ? replaces.filter((name) => name !== "claim") : replaces;
            const deleteFirst = deleteBeforeReplace && left.length > 0;
            return { changed, replaces: left, deleteBeforeReplace: deleteFirst, warning };
        },

        async create(run, inputs) {
            if (isLost(run, inputs)) throw lostError(inputs.node, "nothing can be made on it");
            await verify(run, inputs);
            return life.create(run, inputs);
        },

        async read(run, id, state) {
            if (Object.keys(state).length && isLost(run, state)) return state;
            const { olds, unfinished } = parted<I, S>(state);
            try {
                const found = await life.read(run, id, olds);
                if (!found || !unfinished) return found;
                // What is there is neither of the two, and would read as drift.
                const became = without(found, life.arguments);
                return { ...became, ...only<I, S>(olds, life.arguments), unfinished } as unknown as Interrupted<I, S>;
            } catch (error) {
                if (!Object.keys(state).length) throw error;
                return keptAsKnown(run, state, error);
            }
        },

        async update(run, id, state, news) {
            const { olds, unfinished } = parted<I, S>(state);
            if (!unfinished && onlyTheWay(life.diff(olds, news)))
                return { ...olds, ...wayOf(news), ...life.reached?.(run, news, olds) };
            if (isLost(run, news))
                throw lostError(news.node, "nothing can be changed on it: change only `lost`, or take it away");
            await verify(run, news);
            let from = olds;
            let begun = unfinished;
            try {
                const tried = unfinished && ({ ...without(olds, life.arguments), ...unfinished } as unknown as S);
                if (tried && !differ(olds, news)) from = tried;
                // A third program knows nothing of what only the second one had: the first is put back before.
                else if (tried && differ(tried, news))
                    from = await life.update(run, id, tried, only(olds, life.arguments));
                begun = news;
                return await life.update(run, id, from, news);
            } catch (error) {
                if (error instanceof NotReady) throw error;
                throw new NotReady(ContainerdError.from(error), { id, state: { ...olds, unfinished: begun } });
            }
        },

        async delete(run, id, state) {
            const what = `${kind} ${id.replace(/\/[^/]*$/, "")}`;
            if (isLost(run, state)) return drop(run, state, what, "it is declared lost");
            await deleteOrDrop(run, state, what, () => life.delete(run, id, parted<I, S>(state).olds));
        },
    };
}

function without(state: object, names: readonly string[]): object {
    return Object.fromEntries(Object.entries(state).filter(([name]) => !names.includes(name)));
}

function only<I, S extends I & object>(state: S, names: readonly (keyof I & string)[]): I {
    return Object.fromEntries(names.filter((name) => name in state).map((name) => [name, state[name]])) as I;
}

function parted<I, S extends I>({ unfinished, ...olds }: Interrupted<I, S>): { olds: S; unfinished: I | undefined } {
    return { olds: olds as unknown as S, unfinished };
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
    // A doctor has no program to learn from how a Node with a `connection` of its own is reached.
    const known = Object.hasOwn(run.settings.nodes, node) || node === LOCALHOST || run.settings.isSshHost(node);
    const first = known ? "," : " and once it is in the stack config containerd:nodes,";
    run.report.warn(
        owner,
        `dropped from the state without being deleted, because ${why.replace(/[.?]$/, "")}. Left behind on node ${node}: ${what}; ` +
            `should the machine come back${first} \`npx pulumi-containerd doctor ${node}\` lists what no stack owns`,
    );
}

/** The same error, with what to do about a node that never comes back. */
function wayOut(error: ContainerdError, node: string): ContainerdError {
    return new ContainerdError(
        error.code,
        `${sentence(error.reason)} Nothing was deleted. If the node is gone for good: set \`deleteUnreachable\` for it in the stack config ` +
            `(\`pulumi config set --path ${settingPath(node, "deleteUnreachable")} true\`, and give \`pulumi destroy\` the flag ` +
            `--run-program, or it goes by the config of the last up), or for once ${DELETE_UNREACHABLE}=${node} in the environment`,
        { node: error.node ?? node, property: error.property, cause: error },
    );
}

/** With its full stop, unless it asks something. */
function sentence(reason: string): string {
    return /[.?!]$/.test(reason) ? reason : `${reason}.`;
}
