/** What the descriptions of several resources have in common. */
import { LONGEST_LABEL } from "../../containerd/labels";
import { ContainerdError } from "../../errors";
import { REVISION } from "../../spec/revision";
import type { ConnectionSettings } from "../../transport/ssh/settings";
import type { Policies } from "../diff";
import { identifierProblem, newUid } from "../names";
import { RESERVED_LABEL } from "../ownership";
import type { Run } from "../run";
import { chooseNode, nodeSettings } from "../settings";
import { isUnknown } from "../unknown";
import { connectionArguments } from "./connection";
import * as s from "./schema";

/** What every resource's inputs hold beside its own arguments. */
export interface Placed {
    /** URN. */
    owner: string;
    /** Which one of all objects that this owner ever made: also under a fixed name, no two are taken for one another. */
    uid: string;
    revision: number;
    retainOnDelete?: boolean;
    /** The option `customTimeouts`. */
    timeouts?: { create?: string; update?: string; delete?: string };
    /** The option `replaceOnChanges`: the engine does not learn from a dynamic provider which arguments changed. */
    replaceOnChanges?: string[];
    node: string;
    namespace: string;
    /** UUID of the claim of the Node that it is on, where that is a resource: another machine has another one. */
    claim?: string;
    /** How that Node is reached. */
    connection?: ConnectionSettings;
    /** Where others reach that Node. */
    nodeAddress?: string;
    /** Whether that Node is declared lost. */
    lost?: boolean;
}

/** How the part of {@link Placed} that comes from a Node is compared. */
export const nodePolicies = {
    node: "replace",
    claim: "replace",
    connection: "update",
    nodeAddress: "update",
    lost: "update",
} as const satisfies Partial<Policies<Placed>>;

export const namespaceArgument = s.optional(s.text("a containerd namespace", identifierProblem));

/** The descriptions of {@link Placed}. */
export const bookkeeping = {
    owner: s.text(),
    uid: s.optional(s.text()),
    revision: s.optional(s.number({ min: 0 })),
    retainOnDelete: s.optional(s.flag()),
    timeouts: s.optional(
        s.object({ create: s.optional(s.text()), update: s.optional(s.text()), delete: s.optional(s.text()) }),
    ),
    replaceOnChanges: s.optional(s.list(s.text())),
    node: s.optional(s.text("a node's name")),
    namespace: namespaceArgument,
    claim: s.optional(s.text()),
    connection: s.optional(s.object(connectionArguments)),
    nodeAddress: s.optional(s.text()),
    lost: s.optional(s.flag()),
    facts: s.optional(s.anything()),
};

/**
 * Where a resource goes and which object it is, with the stack's defaults filled in. Throws `Invalid`; warns of a node that
 * the config lacks.
 */
export function placed(
    run: Run,
    given: { owner: string; node?: string; namespace?: string; connection?: ConnectionSettings },
    olds: Placed | undefined,
): Pick<Placed, "uid" | "node" | "namespace" | "revision"> & { facts: undefined } {
    const node = chooseNode(run.settings, given.node);
    if (!isUnknown(node) && !given.connection) warnOfAbsent(run, given.owner, node);
    run.first(knownKey(given.owner), olds?.uid);
    return {
        uid: olds?.uid ?? newUid(),
        node,
        namespace: given.namespace ?? run.settings.defaultNamespace,
        revision: REVISION,
        // Looked at by `check` alone: a kernel that was upgraded is no change of what runs on it.
        facts: undefined,
    };
}

/** The uid of the object that the state had for an owner when this run began, if it had one. */
export function knownUid(run: Run, owner: string): string | undefined {
    return run.remembered<string>(knownKey(owner));
}

function knownKey(owner: string): string {
    return `uid ${owner}`;
}

/** `check` does not know a preview from an `up`, and a preview must work for a node that is yet to come. */
function warnOfAbsent(run: Run, owner: string, node: string): void {
    try {
        nodeSettings(run.settings, node);
    } catch (error) {
        const { reason } = ContainerdError.from(error);
        run.report.warn(owner, `nothing says yet how node ${node} is reached, so nothing is checked for it: ${reason}`);
    }
}

/** What is wrong with the key of a label. */
export function labelProblem(key: string): string | undefined {
    if (key === "") return "a label needs a name";
    if (RESERVED_LABEL.test(key))
        return "labels that begin like this mean something to containerd or to this package: choose another";
    return undefined;
}

/** What is wrong with the value of a label. */
export function labelValueProblem(value: string): string | undefined {
    return value === "" ? "must not be empty: containerd takes a label without a value away" : undefined;
}

/** What is wrong with labels as a whole. */
export function labelsProblem(labels: Record<string, string> = {}): { key: string; reason: string } | undefined {
    for (const [key, value] of Object.entries(labels)) {
        const bytes = Buffer.byteLength(key) + Buffer.byteLength(value);
        if (bytes > LONGEST_LABEL) {
            return {
                key,
                reason: `has ${bytes} bytes with its name, and containerd takes ${LONGEST_LABEL}: put it into a file`,
            };
        }
    }
    return undefined;
}
