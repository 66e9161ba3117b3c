/** What a Node's arguments must be like. */
import { bookkeeping, labelValueProblem } from "./common";
import { capacityArgument, connectionArguments } from "./connection";
import * as s from "./schema";

/** As in a path of `pulumi config set --path`, and in an environment variable. */
function nodeName(name: string): string | undefined {
    return /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/.test(name)
        ? undefined
        : "may hold letters, digits, '.', '_' and '-', and begins and ends with a letter or digit";
}

const { owner, uid, revision, retainOnDelete, timeouts, replaceOnChanges, facts } = bookkeeping;

export const nodeSchema = s.object({
    ...{ owner, uid, revision, retainOnDelete, timeouts, replaceOnChanges, facts },
    node: s.text("a name", nodeName),
    claim: s.optional(s.text()),
    connection: s.optional(s.object(connectionArguments)),
    machine: s.optional(s.text()),
    publicAddress: s.optional(s.text("an address")),
    labels: s.optional(s.map(s.scalar(labelValueProblem))),
    capacity: s.optional(capacityArgument),
    lost: s.optional(s.flag()),
});
