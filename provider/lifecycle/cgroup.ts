/**
 * A container's control group on its node, where nobody removed it.
 *
 * When the connection that asked for a process is cut in the middle, containerd ends runc at whatever it was doing. If runc has made
 * the control group by then and not yet written down that there is a container, nobody knows of it: no task is there, and each
 * delete succeeds. Seen in 9 of 40 cuts at random moments of a start, on containerd 2.4.2 with runc 1.1.5.
 */
import type { Client } from "../containerd/client";
import { pathExists } from "../containerd/node-files";
import { ContainerdError } from "../errors";
import { REMOVE_CGROUP } from "../node/cgroup.sh";
import { askNode } from "../node/command";

/** Where runc makes the group first, and `remove_cgroup` removes it last: in cgroup v1's first hierarchy, in v2's only one. */
const FIRST = ["/sys/fs/cgroup/cpuset", "/sys/fs/cgroup"];

/**
 * Removes the control group that a container without a process still has, if any. `pod`: the one that it is a member of. Throws
 * `Conflict` where a process is in it.
 */
export async function clearCgroup(client: Client, name: string, pod?: string): Promise<void> {
    const group = ["", client.namespace, ...(pod ? [pod] : []), name].join("/");
    const found = await Promise.all(FIRST.map((root) => pathExists(client, `${root}${group}`)));
    if (!found.includes(true)) return;
    const { code, output } = await askNode(client, `${REMOVE_CGROUP}remove_cgroup "$1"`, [group]);
    if (code === 0) return;
    const why = output.trim() || (code === 124 ? "that takes too long" : `exit status ${code}`);
    throw new ContainerdError("Conflict", `the control group ${group} cannot be removed: ${why}`, {
        node: client.node,
    });
}
