/** The shell function that removes a control group; also part of the network's script, where it serves pods. */

/**
 * Removes the control group PATH with those below it, from the one hierarchy of cgroup v2 or from all of v1, there from cpuset last:
 * runc makes it there first, so that it says of all whether they are done. The kernel lets go of a process that has just ended a
 * moment later: waits for a second. Fails, and prints why on one line, where a group stays.
 */
export const REMOVE_CGROUP = `
remove_cgroup() { # PATH
    group=$1 tries=0
    set +f
    set -- /sys/fs/cgroup/[!c]* /sys/fs/cgroup/c[!p]* /sys/fs/cgroup/cpu /sys/fs/cgroup/cpu[!s]* /sys/fs/cgroup/cpuset
    [ ! -e /sys/fs/cgroup/cgroup.controllers ] || set -- /sys/fs/cgroup
    set -f
    for at; do
        while [ -d "$at$group" ]; do
            said=$(find "$at$group" -depth -type d -exec rmdir {} \\; 2>&1)
            [ -d "$at$group" ] || break
            tries=$((tries + 1))
            [ $tries -lt 10 ] || {
                inside=$(find "$at$group" -name cgroup.procs -exec cat {} + 2>/dev/null | tr '\\n' ' ')
                if [ -n "$inside" ]; then echo "in it are the processes $inside"; else printf '%s' "$said" | tail -n 1; fi
                return 1
            }
            sleep 0.1
        done
    done
}
`;
