/** The labels that everything of ours on a node bears, and containerd's limits on labels. */

/** URN of the resource that made it; on what serves a moment, what it is for. */
export const OWNER = "pulumi-containerd/owner";
/** Which one of all objects that this owner ever made. */
export const UID = "pulumi-containerd/uid";
/** Most bytes of a label's key and value together, as containerd has it. */
export const LONGEST_LABEL = 4096;
