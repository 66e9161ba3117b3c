#!/bin/sh
# Boots one worker of the playground: a machine's processes, mounts, host name and control groups in namespaces of their own,
# the network is the host's. Started by worker.ts as: worker-boot.sh FOLDER CGROUP HOSTNAME
# FOLDER/run and FOLDER/var-lib become the worker's /run and /var/lib; so containerd's default paths are the worker's own.
set -eu
folder=$1 cgroup=$2 hostname=$3

# The mount points of the control group hierarchies, one a line: point, kind, options of the hierarchy.
hierarchies() {
    sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \([^ ]*\) .* - \(cgroup2\{0,1\}\) [^ ]* \(.*\)$/\1 \2 \3/p' /proc/self/mountinfo
}

if [ "${PLAYGROUND_STAGE:-}" = inside ]; then
    hostname "$hostname"
    # Mount the hierarchies again: seen from here, the worker's own group is their root.
    hierarchies | while read -r point kind options; do
        umount "$point"
        case $kind in
        cgroup) mount -t cgroup -o "${options#rw,}" cgroup "$point" ;;
        cgroup2)
            mount -t cgroup2 cgroup2 "$point"
            # No processes in a group that has controllers for its children: they go one level down.
            mkdir -p "$point/init"
            for pid in $(cat "$point/cgroup.procs"); do echo "$pid" >"$point/init/cgroup.procs" || true; done
            for controller in $(cat "$point/cgroup.controllers"); do
                echo "+$controller" >"$point/cgroup.subtree_control" || true
            done
            ;;
        esac
    done
    mount --bind "$folder/var-lib" /var/lib
    # What was in /run does not outlive a machine.
    find "$folder/run" -mindepth 1 -delete
    mount --bind "$folder/run" /run
    mkdir -p /run/lock /run/containerd
    : >/run/booted
    # Process 1: reaps what is left to it, and ignores what asks it to end.
    trap '' TERM INT HUP
    while :; do
        sleep 86400 &
        wait $!
    done
fi

hierarchies | while read -r point kind options; do
    mkdir -p "$point/$cgroup"
    # A group without processors and memory takes no process.
    for file in cpuset.cpus cpuset.mems; do
        if [ "$kind" = cgroup ] && [ -e "$point/$file" ]; then cat "$point/$file" >"$point/$cgroup/$file"; fi
    done
    echo $$ >"$point/$cgroup/cgroup.procs"
done
PLAYGROUND_STAGE=inside exec unshare --mount --pid --ipc --uts --cgroup --fork --kill-child --mount-proc \
    /bin/sh "$0" "$folder" "$cgroup" "$hostname"
