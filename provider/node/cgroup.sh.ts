/** The shell function that removes a control group; also part of the network's script, where it serves pods. */

/**
 * Removes the control group PATH, and those directly below it, from the one hierarchy of cgroup v2 or from all of v1. Fails where a
 * process is still in one of them after two seconds: the kernel lets go of one that has just ended a moment later.
 */
export const REMOVE_CGROUP = `
remove_cgroup() { # PATH
    group=$1 tries=0
    set +f
    for at in /sys/fs/cgroup /sys/fs/cgroup/*; do
        while [ -d "$at$group" ]; do
            rmdir "$at$group"/*/ "$at$group" 2>/dev/null
            [ -d "$at$group" ] || break
            tries=$((tries + 1))
            [ $tries -lt 20 ] || { set -f; return 1; }
            sleep 0.1
        done
    done
    set -f
}
`;
