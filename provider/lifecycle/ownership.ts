/** The labels by which an object says whose it is. Pure. */
import { OWNER, UID } from "../containerd/labels";
import { ContainerdError } from "../errors";

/** Label keys of ours. All begin alike, so that one filter finds them. */
export const LABEL = {
    /** URN of the resource that made it. */
    owner: OWNER,
    /** Which one of all that this owner ever made. */
    uid: UID,
    /** Generation of spec and scripts. */
    revision: "pulumi-containerd/revision",
    /** `creating` until all of it is there, then `complete`. */
    phase: "pulumi-containerd/phase",
    /** Present when Pulumi was told to leave it (`retainOnDelete`): a sweep passes it by. */
    retain: "pulumi-containerd/retain",
    /** UUID of the Node that it was made on, where that is a resource. */
    node: "pulumi-containerd/node",
    /** URN of the Task that runs the container. */
    task: "pulumi-containerd/task",
    /** Which one of all tasks it is. */
    taskUid: "pulumi-containerd/task-uid",
    /** While its process is stopped to be started anew: the monitor's labels (JSON) that it is to have again then. */
    restarting: "pulumi-containerd/restarting",
    /** Signal and grace (like `10s`) for whoever stops the process. */
    stopSignal: "pulumi-containerd/stop-signal",
    stopTimeout: "pulumi-containerd/stop-timeout",
    /** How it is connected to its network (JSON of `Attachment`): its address stays its own as long as it is there. */
    attachment: "pulumi-containerd/attachment",
    /** Host ports that were chosen for it (JSON of `HostPorts`): as its address, they stay its own. */
    hostPorts: "pulumi-containerd/host-ports",
    /** All its published ports (JSON of texts), for others to know; absent where they are too many for a label. */
    published: "pulumi-containerd/published",
    /** On a member: its pod's name, and which one of all pods of that name. */
    pod: "pulumi-containerd/pod",
    podUid: "pulumi-containerd/pod-uid",
    /** On a member: what the program calls it, when it starts among the others (a number), and what it was made from. */
    member: "pulumi-containerd/member",
    order: "pulumi-containerd/order",
    madeFrom: "pulumi-containerd/made-from",
    /** On a member: its image with the digest, which the container's own record lacks. */
    image: "pulumi-containerd/image",
    /** On a pod: its init containers have ended. */
    initialized: "pulumi-containerd/initialized",
    /** What a Network is (JSON of `NetworkDefinition`). */
    network: "pulumi-containerd/network",
    /** Key of the one whose ports it takes over once it does its work. */
    predecessor: "pulumi-containerd/predecessor",
} as const;

/** containerd's own label for the stop signal that an image asks for. */
export const IMAGE_STOP_SIGNAL = "io.containerd.image.config.stop-signal";

/** Label keys that users may not set: containerd's and ours mean something there. */
export const RESERVED_LABEL = /^(?:pulumi-containerd\/|containerd\.io\/|io\.containerd\.|io\.cri-containerd)/;

export interface Ownership {
    owner: string;
    uid: string;
    revision: number;
    phase: "creating" | "complete";
    retainOnDelete?: boolean;
    /** UUID of its Node. */
    claim?: string;
}

/** The labels that say whose an object is. */
export function ownerLabels(of: Ownership): Record<string, string> {
    return {
        [LABEL.owner]: of.owner,
        [LABEL.uid]: of.uid,
        [LABEL.revision]: String(of.revision),
        [LABEL.phase]: of.phase,
        ...(of.retainOnDelete ? { [LABEL.retain]: "true" } : {}),
        ...(of.claim === undefined ? {} : { [LABEL.node]: of.claim }),
    };
}

/** Who brings an image: the resource, and the Node that it is on, where that is one too. */
export function bringer({ owner, claim }: { owner: string; claim?: string }): string {
    return claim === undefined ? owner : `${owner}${onNode(claim)}`;
}

/** How what {@link bringer} says of a Node ends. */
export function onNode(claim: string): string {
    return ` on ${claim}`;
}

/** Who claims an image. What Pulumi was told to leave claims under another name, so that no sweep takes it for a leftover. */
export function claimant(of: { owner: string; claim?: string; retainOnDelete?: boolean }): string {
    return of.retainOnDelete ? `retained: ${of.owner}` : bringer(of);
}

/** The labels that are the user's: what is neither ours nor containerd's. */
export function userLabels(labels: Record<string, string>): Record<string, string> {
    return Object.fromEntries(Object.entries(labels).filter(([key]) => !RESERVED_LABEL.test(key)));
}

/** The error for an object of that name that belongs to somebody else. */
export function foreign(what: string, name: string, labels: Record<string, string>): ContainerdError {
    const owner = labels[LABEL.owner];
    const whose = owner
        ? `it belongs to ${owner}`
        : "it was not made by this package (ctr, nerdctl, Docker or Kubernetes have made it)";
    return new ContainerdError(
        "Conflict",
        `a ${what} named ${name} is there already, and ${whose}. It was left as it is: choose another name, or remove it yourself`,
        { property: "name" },
    );
}
