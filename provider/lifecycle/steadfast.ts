/**
 * What holds for every resource that lies on a node, whatever its kind: what cannot be reached is neither gone nor deleted, a
 * node that is declared lost is not asked any more, and a machine that somebody else has claimed is not touched.
 */
import { ContainerdError, hasCode } from "../errors";
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
                // A node that does not answer says nothing about what it holds: keep what was known.
                if (!isSilent(error) || !Object.keys(state).length) throw error;
                run.report.warn(state.owner, `kept as last known, because ${error.message}`);
                return state;
            }
        },

        async update(run, id, olds, news) {
            if (onlyTheWay(life.diff(olds, news))) return { ...olds, ...wayOf(news) };
            if (isLost(run, news))
                throw lostError(news.node, "nothing can be changed on it: change only `lost`, or take it away");
            await verify(run, news);
            return life.update(run, id, olds, news);
        },

        async delete(run, id, state) {
            if (isLost(run, state)) return drop(run, kind, id, state, "it is declared lost");
            try {
                await life.delete(run, id, state);
            } catch (error) {
                if (!isSilent(error)) throw error;
                if (run.mayDeleteUnreachable(state.node)) return drop(run, kind, id, state, error.reason);
                throw wayOut(error, state.node);
            }
        },
    };
}

/** Whether the node did not answer, or did not let us in. */
function isSilent(error: unknown): error is ContainerdError {
    return hasCode(error, "Unreachable", "Timeout") || (hasCode(error, "Unauthorized") && error.node !== undefined);
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

function drop(run: Run, kind: string, id: string, { owner, node }: OnNode, why: string): void {
    run.report.warn(
        owner,
        `dropped from the state without being deleted, because ${why}. Left behind on node ${node}: ${kind} ${id.replace(/\/[^/]*$/, "")}; ` +
            "should the machine come back, `pulumi-containerd doctor` lists what no stack owns",
    );
}

/** The same error, with what to do about a node that never comes back. */
function wayOut(error: ContainerdError, node: string): ContainerdError {
    return new ContainerdError(
        error.code,
        `${error.reason}. Nothing was deleted. If the node is gone for good: set \`deleteUnreachable\` for it in the stack config ` +
            `(\`pulumi config set --path containerd:nodes.${node}.deleteUnreachable true\`), or for once ${DELETE_UNREACHABLE}=${node} in the environment`,
        { node: error.node ?? node, property: error.property, cause: error },
    );
}
