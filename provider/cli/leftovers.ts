/** Which of our things on a node no stack owns, and the command that removes each. Pure. */
import { claimLabel } from "../images/names";
import { networkScriptPath } from "../network/settings";
import { NODE_FOLDER } from "../node/folders";
import type { Belonging } from "./belongings";
import { type Finding, here, ok, onNode, type Remedy, word } from "./finding";

/** The state of a stack, as far as a doctor cares. */
export interface KnownStack {
    /** Name of the stack. */
    name: string;
    /** Name of the project. */
    project: string;
    /** The uids of all that its state has. */
    uids: ReadonlySet<string>;
    /** Names of its Nodes that say themselves, by a `connection`, how they are reached. */
    connected?: readonly string[];
}

/** What is to be said about the things of ours on a node. `stack`: the one whose state could be read. */
export function judgeBelongings(belongings: readonly Belonging[], stack: KnownStack | undefined): Finding[] {
    const findings: Finding[] = [];
    const counts = new Map<string, Map<string, number>>();
    const count = (group: string, kind: string): void => {
        const kinds = counts.get(group) ?? new Map<string, number>();
        counts.set(group, kinds.set(kind, (kinds.get(kind) ?? 0) + 1));
    };
    for (const one of belongings) {
        if (one.kind === "folder") {
            if (!one.hasContainer) findings.push(leftover(one, "no container of that name is there"));
            continue;
        }
        const group = stackOf(one.owner);
        const current = stack !== undefined && group === `${stack.name} of ${stack.project}`;
        if (one.retained) count(group, `retained ${one.kind}`);
        else if (one.kind === "lease" && one.passing && current) findings.push(passing(one, stack));
        else if (current && !stack.uids.has(one.uid)) findings.push(leftover(one, stateLacksIt(stack)));
        else count(group, one.kind);
    }
    const groups = [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
    return [...groups.map(([group, kinds]) => ok("ours", `of stack ${group}: ${listed(kinds)}`)), ...findings];
}

/** `STACK of PROJECT`, from what a label says of an owner: a URN, with words before or after it. */
export function stackOf(owner: string): string {
    const [, stack, project] = /urn:pulumi:([^:]+)::([^:]+)/.exec(owner) ?? [];
    return stack === undefined || project === undefined ? "unknown" : `${stack} of ${project}`;
}

function listed(kinds: ReadonlyMap<string, number>): string {
    return [...kinds]
        .map(([kind, count]) => {
            const noun = `${kind}${count === 1 ? "" : "s"}`;
            // Not the image itself is whose it says, but the use of it.
            return `${count} ${noun.replace(/images?$/, count === 1 ? "claim on an image" : "claims on images")}`;
        })
        .join(", ");
}

function stateLacksIt({ name, project }: KnownStack): string {
    return `the state of stack ${name} of ${project} does not have it`;
}

function passing(one: Belonging, { name }: KnownStack): Finding {
    return {
        check: "ours",
        status: "warning",
        text: `lease ${one.namespace}/${one.name} is of a \`pulumi up\` of stack ${name} that is under way or was killed: the next one ends it, and it expires by itself`,
        remedy: here(`pulumi up --stack ${word(name)}`),
    };
}

function leftover(one: Belonging, why: string): Finding {
    const what = one.kind === "image" ? "claim on image" : one.kind;
    return {
        check: "ours",
        status: "warning",
        text: `${what} ${one.namespace}/${one.name} is left over: ${why}`,
        remedy: removal(one),
    };
}

/** The command that removes it, for root on the node. */
export function removal(one: Belonging): Remedy {
    const ctr = `ctr -n ${word(one.namespace)}`;
    const name = word(one.name);
    const folder = word(`${NODE_FOLDER}/${one.name}@${one.namespace}`);
    // Rules, addresses and namespaces have no other trace than the script that made them.
    const script = word(networkScriptPath(`${NODE_FOLDER}/${one.name}@${one.namespace}`));
    const remove = `{ [ ! -e ${script} ] || sh ${script} remove; } && rm -rf ${folder}`;
    switch (one.kind) {
        case "container":
            // Off the restart monitor first: it would start it again.
            return onNode(
                `${ctr} containers label ${name} containerd.io/restart.status= && { ${ctr} tasks rm -f ${name}; ${ctr} containers rm ${name} && ${remove}; }`,
            );
        case "image":
            return onNode(
                one.brought && one.claims === 1
                    ? `${ctr} images rm --sync ${name}`
                    : `${ctr} images label ${name} ${word(`${claimLabel(one.uid)}=`)}`,
            );
        case "lease":
            return onNode(`${ctr} leases rm ${name}`);
        case "snapshot":
            return onNode(`${ctr} snapshots --snapshotter ${word(one.snapshotter)} rm ${name}`);
        case "folder":
            return onNode(remove);
    }
}
