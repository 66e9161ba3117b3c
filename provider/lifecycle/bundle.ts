/**
 * A task's bundle on its node, where containerd has lost sight of it.
 *
 * containerd removes a bundle by renaming its folder to `.ID` and deleting that. Killed in between, it never looks at `.ID` again, and
 * from then on it can't remove a bundle of that id: no folder can be renamed to a name that another one has. It says nothing of
 * that, the task is gone, and each later start is refused ("mkdir …: file exists"), until the machine boots. Seen on 1.6.20 and 2.4.2.
 */
import type { Client } from "../containerd/client";
import { hasCode } from "../errors";
import { runOnNode } from "../node/command";

/**
 * Deletes both folders of the id that is `$1`, in which nothing is mounted (a container's files would go with it). The bundle's own
 * only where it is nobody's: no process works in it (a shim does), and it is not so new that its shim may not have come yet.
 */
const SCRIPT = `
bundles=$(cd .. && pwd -P) && cd "$bundles" || exit
! grep -qF -e " $bundles/.$1/" -e " $bundles/$1/" /proc/self/mountinfo || exit 0
rm -rf --one-file-system -- ".$1" || exit
[ -d "$1" ] && [ "$(($(date +%s) - $(stat -c %Z "$1")))" -ge 5 ] || exit 0
! readlink /proc/[0-9]*/cwd | grep -qxF -e "$bundles/$1" || exit 0
rm -rf --one-file-system -- "$1"
`;

/** Whether a start was refused because a bundle of that id lies there: another start is under way, or containerd has forgotten it. */
export function isBundleThere(error: unknown): boolean {
    return hasCode(error, "Failed") && /\bmkdir .*: file exists/.test(error.reason);
}

/** Deletes what containerd has forgotten of a task, and leaves alone what may still be somebody's. Throws as {@link runOnNode}. */
export async function clearBundle(client: Client, id: string): Promise<void> {
    await runOnNode(client, SCRIPT, [id]);
}
