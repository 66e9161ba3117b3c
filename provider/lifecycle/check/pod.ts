/** What a Pod's arguments must be like. */
import type { ContainerInputs, LogInputs } from "../../spec/inputs";
import type { Failure } from "../lifecycle";
import { identifierProblem } from "../names";
import { type InitInputs, inOrder, type MemberInputs, memberName, type PodInputs } from "../pod/inputs";
import { isUnknown } from "../unknown";
import { bookkeeping, labelProblem, labelValueProblem } from "./common";
import { contradictions, limitArguments, LOG_DEFAULTS, processArguments } from "./container";
import { networkArguments, networkContradictions, normalizedPorts } from "./network";
import * as s from "./schema";
import { runArguments, withTimes } from "./task";
import { formatPath } from "./validate";

/** A member's name stands behind the pod's, and in `/etc/hosts`. Source: RFC 1123, a label. */
function memberNameProblem(name: string): string | undefined {
    return /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/.test(name) && !name.includes("--")
        ? undefined
        : "the name of a member may hold small letters, digits and single '-' between them, at most 40";
}

const after = s.optional(s.list(s.text("a name")));
const init = s.object({ ...processArguments, after });
const member = s.object({ ...processArguments, ...runArguments, after });

export const podSchema = s.object({
    ...bookkeeping,
    ...networkArguments,
    ...limitArguments,
    name: s.optional(s.text("a name", identifierProblem)),
    initContainers: s.optional(s.map(init, memberNameProblem)),
    containers: s.map(member, memberNameProblem),
    restart: runArguments.restart,
    labels: s.optional(s.map(s.scalar(labelValueProblem), labelProblem)),
    shareProcessNamespace: s.optional(s.flag()),
    once: s.optional(s.flag()),
    triggers: s.optional(s.anything()),
    snapshotter: s.optional(s.text()),
    runtime: s.optional(s.text()),
});

/** More than these in one pod are hardly meant. */
const MOST_MEMBERS = 250;

type Given = Partial<PodInputs> & { owner: string };

/** Defaults that need nothing but the arguments. */
export function podDefaults(given: Given): Given {
    const once = given.once ?? false;
    const restart = given.restart ?? (once ? "no" : "always");
    const log = ({ log: own }: Partial<Pick<MemberInputs, "log">>): LogInputs =>
        own !== undefined && isUnknown(own) ? own : { ...LOG_DEFAULTS, ...own };
    const members = isUnknown(given.containers)
        ? given.containers
        : mapped(given.containers, (one) => ({
              ...one,
              log: log(one),
              restart: one.restart ?? restart,
              health: withTimes(one.health),
          }));
    const inits = given.initContainers;
    return {
        ...given,
        once,
        restart,
        network: given.network ?? "bridge",
        ...normalizedPorts(given),
        containers: members,
        ...(inits && {
            initContainers: isUnknown(inits) ? inits : mapped(inits, (one) => ({ ...one, log: log(one) })),
        }),
    };
}

function mapped<T extends object>(values: Record<string, T> = {}, change: (value: T) => T): Record<string, T> {
    return Object.fromEntries(
        Object.entries(values).map(([key, value]) => [key, isUnknown(value) ? value : change(value)]),
    );
}

/** What is wrong with arguments that are well by themselves, but not together. `given` has its defaults. */
export function podProblems(given: Given): Failure[] {
    const failures: Failure[] = [];
    const refuse = (path: unknown[], reason: string) => failures.push({ property: formatPath(path), reason });
    failures.push(...networkContradictions(given));
    if (typeof given.network === "object" && ("container" in given.network || "pod" in given.network))
        refuse(["network"], "can't be another's: a pod has a network of its own, a Network, or the node's");
    const { memory } = given;
    for (const { property, reason } of contradictions({ network: "host", memory })) failures.push({ property, reason });
    const { once, restart } = given;
    if (once && restart !== "no" && !isUnknown(restart))
        refuse(["restart"], "a job (`once`) runs to its end and is not started again: leave restart out");
    for (const kind of ["initContainers", "containers"] as const) {
        const all: Record<string, InitInputs | MemberInputs> | undefined = given[kind];
        if (all === undefined || isUnknown(all)) continue;
        failures.push(...membersProblems(kind, all, given));
    }
    const members = given.containers;
    if (members && !isUnknown(members)) {
        if (Object.keys(members).length === 0) refuse(["containers"], "is empty: a pod has one member at least");
        for (const name of Object.keys(known(given.initContainers)))
            if (Object.hasOwn(members, name)) refuse(["initContainers", name], "is the name of a member too");
        if (once)
            for (const [name, { health, restart: own }] of Object.entries(members)) {
                if (health)
                    refuse(
                        ["containers", name, "health"],
                        "a job (`once`) is judged by its exit status: leave health out",
                    );
                if (own !== "no" && own !== restart)
                    refuse(["containers", name, "restart"], "a job (`once`) is not started again: leave restart out");
            }
    }
    return failures;
}

function known<T extends object>(value: T | undefined): T | Record<string, never> {
    return value === undefined || isUnknown(value) ? {} : value;
}

function membersProblems(kind: string, all: Record<string, InitInputs | MemberInputs>, given: Given): Failure[] {
    const failures: Failure[] = [];
    const count = Object.keys(all).length;
    if (count > MOST_MEMBERS)
        failures.push({ property: kind, reason: `holds ${count}, and a pod has at most ${MOST_MEMBERS}` });
    for (const [name, one] of Object.entries(all)) {
        if (isUnknown(one)) continue;
        const at = (property: string) => formatPath([kind, name]) + (property.startsWith("[") ? "" : ".") + property;
        const process = { ...one, network: "host" as const } as Partial<ContainerInputs>;
        for (const { property, reason } of contradictions(process)) failures.push({ property: at(property), reason });
        (Array.isArray(one.after) && !isUnknown(one.after) ? one.after : []).forEach((other, index) => {
            if (isUnknown(other) || (Object.hasOwn(all, other) && other !== name)) return;
            const reason = other === name ? "can't wait for itself" : `there is no ${other} among \`${kind}\``;
            failures.push({ property: at(`after[${index}]`), reason });
        });
        if (given.name !== undefined && !isUnknown(given.name)) {
            const long = identifierProblem(memberName({ name: given.name }, name));
            if (long)
                failures.push({ property: formatPath([kind, name]), reason: `with the pod's name before it, ${long}` });
        }
    }
    if (failures.length === 0 && inOrder(all) === undefined)
        failures.push({ property: kind, reason: "wait for each other in a circle: look at their `after`" });
    return failures;
}
