/** A Pod's arguments after `check`, and what each member is as a container of its own. Pure. */
import { createHash } from "node:crypto";
import type { ContainerInputs, PodNetwork } from "../../spec/inputs";
import type { Placed } from "../check/common";
import type { HealthInputs } from "../health";
import type { HostPorts } from "../network/published";
import type { Stop } from "../process";

/** The arguments of a container that a member has too. */
export const MEMBER_ARGUMENTS = [
    ...(["image", "imageFrom", "entrypoint", "args", "env", "files", "secrets", "mounts", "workdir", "user"] as const),
    ...(["tty", "readOnly", "privileged", "capabilities", "memory", "cpu", "pidsLimit", "security"] as const),
    ...(["labels", "log"] as const),
] as const;

type Process = Pick<ContainerInputs, (typeof MEMBER_ARGUMENTS)[number]>;

/** An init container: runs to its end before the members start. */
export interface InitInputs extends Process {
    /** Names of those that have to have ended before. */
    after?: string[];
}

/** A member. */
export interface MemberInputs extends Process {
    /** Names of members that have to do their work (run, be healthy) before this one starts. */
    after?: string[];
    restart: string;
    health?: HealthInputs;
    stop?: Stop;
}

/** A Pod's arguments after `check`. */
export interface PodInputs
    extends
        Placed,
        Pick<ContainerInputs, "network" | "ports" | "publishAll" | "hosts" | "dns">,
        Pick<ContainerInputs, "hostname" | "domainname" | "sysctls">,
        Pick<ContainerInputs, "memory" | "cpu" | "pidsLimit">,
        Pick<ContainerInputs, "snapshotter" | "runtime"> {
    name: string;
    initContainers?: Record<string, InitInputs>;
    containers: Record<string, MemberInputs>;
    /** Whether members see each other's processes. */
    shareProcessNamespace?: boolean;
    restart: string;
    labels?: Record<string, string>;
    once: boolean;
    triggers?: unknown;
}

/** What a member became. */
export interface MemberStatus {
    /** containerd's id, as in `ctr containers ls`. */
    containerId: string;
    imageDigest: string;
}

/** What is known of a Pod that was made. */
export interface PodState extends PodInputs {
    podName: string;
    /** Its own; with network `host` the node's, empty with `none`. */
    address: string;
    /** Where its published ports answer, by `port/protocol`. */
    published: Record<string, string>;
    /** The host ports that were chosen for it. */
    hostPorts?: HostPorts;
    members: Record<string, MemberStatus>;
    /** Whether all members do their work; of a job, whether all ended well. */
    ready: boolean;
    /** What is not as it should be, as the last look saw it. */
    problems?: string[];
    /** False where its record is gone, without which nothing else of it is found: then it is made anew. */
    complete?: false;
}

/** Names of all members and init containers. */
export function memberNames(pod: Partial<Pick<PodInputs, "containers" | "initContainers">>): string[] {
    return [...Object.keys(pod.initContainers ?? {}), ...Object.keys(pod.containers ?? {})];
}

/** containerd's id of a member. */
export function memberName(pod: Pick<PodInputs, "name">, member: string): string {
    return `${pod.name}.${member}`;
}

/** The uid of a member's container: its own, because claims on images go by it, but told by the pod's. */
export function memberUid(pod: Pick<PodInputs, "uid">, member: string): string {
    return createHash("sha256").update(`${pod.uid} ${member}`).digest("hex").slice(0, 12);
}

/** What a member is as a container. */
export function memberContainer(pod: PodInputs, member: string, process: Process): ContainerInputs {
    const { owner, revision, retainOnDelete, timeouts, node, namespace, claim, connection, nodeAddress, lost } = pod;
    const own = Object.fromEntries(MEMBER_ARGUMENTS.map((name) => [name, process[name]])) as unknown as Process;
    return {
        ...{ owner, revision, retainOnDelete, timeouts, node, namespace, claim, connection, nodeAddress, lost },
        ...own,
        uid: memberUid(pod, member),
        name: memberName(pod, member),
        network: { pod: pod.name, ...podShares(pod) },
        hostname: pod.network === "host" ? undefined : podHostname(pod),
        domainname: pod.domainname,
        sysctls: pod.sysctls,
        snapshotter: pod.snapshotter,
        runtime: pod.runtime,
        log: process.log,
    };
}

/** What its members share beyond, or short of, what those of any pod do. */
export function podShares({ network, shareProcessNamespace }: PodInputs): Omit<PodNetwork, "pod"> {
    return { ...(network === "host" && { host: true }), ...(shareProcessNamespace && { shareProcessNamespace }) };
}

/** The host name of all members. */
export function podHostname({ hostname, name }: Pick<PodInputs, "hostname" | "name">): string {
    return hostname ?? name.slice(0, 63).replace(/[._-]+$/, "");
}

/** What of a container is changed in place; all else makes it anew. */
const IN_PLACE: readonly (keyof ContainerInputs)[] = [
    ...(["owner", "revision", "retainOnDelete", "timeouts", "claim", "connection", "nodeAddress", "lost"] as const),
    ...(["imageFrom", "files", "secrets", "memory", "cpu", "pidsLimit", "labels", "log", "generation"] as const),
];

/**
 * A mark of what a member's container was made from: another one means that it has to be made anew. It stands on the container,
 * so that the next `up` sees how far a killed one came.
 */
export function madeFrom(inputs: ContainerInputs): string {
    const kept = Object.entries(inputs)
        .filter(([key, value]) => !IN_PLACE.includes(key as keyof ContainerInputs) && value !== undefined)
        // Which files there are is a matter of mounts; what is in them is not.
        .concat([
            ["files", Object.keys(inputs.files ?? {})],
            ["secrets", Object.keys(inputs.secrets ?? {}).length > 0],
        ]);
    return createHash("sha256")
        .update(JSON.stringify(sorted(Object.fromEntries(kept))))
        .digest("hex")
        .slice(0, 16);
}

function sorted(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(sorted);
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value).filter(([, inner]) => inner !== undefined && inner !== null);
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, sorted(inner)]));
}

/**
 * Names in groups: each group's names come after all that they are to come after, and may go side by side. Sorted within, so that
 * the order of a program's keys says nothing. Undefined where they wait for each other in a circle.
 */
export function inOrder(all: Readonly<Record<string, { after?: string[] }>>): string[][] | undefined {
    const groups: string[][] = [];
    const done = new Set<string>();
    const names = Object.keys(all).sort();
    while (done.size < names.length) {
        const next = names.filter((name) => !done.has(name) && (all[name]?.after ?? []).every((one) => done.has(one)));
        if (next.length === 0) return undefined;
        next.forEach((name) => done.add(name));
        groups.push(next);
    }
    return groups;
}
