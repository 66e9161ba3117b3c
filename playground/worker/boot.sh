#!/bin/sh
# Boots one worker of the playground: a machine's processes, mounts, host name and control groups in namespaces of their own.
# Started by machine.ts as: boot.sh FOLDER CGROUP HOSTNAME NETWORK [OVER UNDER]...
# FOLDER/run and FOLDER/var-lib become the worker's /run and /var/lib; so containerd's default paths are the worker's own.
# NETWORK `host` is this machine's network. With `own` it is another namespace, into which the caller puts an interface; then
# the worker also has its own /etc (FOLDER/etc lies over this machine's), /tmp and /var/log, since people log in to it, and
# each folder OVER lies over the folder UNDER.
set -eu
folder=$1 cgroup=$2 hostname=$3 network=$4

# The mount points of the control group hierarchies, one a line: point, kind, options of the hierarchy.
hierarchies() {
    sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \([^ ]*\) .* - \(cgroup2\{0,1\}\) [^ ]* \(.*\)$/\1 \2 \3/p' /proc/self/mountinfo
}

# Mount the hierarchies again: seen from here, the worker's own group is their root.
mount_hierarchies() {
    while read -r point kind options; do
        mkdir -p "$point"
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
}

if [ "${PLAYGROUND_STAGE:-}" = inside ]; then
    hostname "$hostname"
    found=$(hierarchies)
    echo "$found" | while read -r point _; do umount "$point"; done
    if [ "$network" = own ]; then
        # /sys/class/net is that of the network namespace in which /sys was mounted.
        mount -t sysfs sysfs /sys
        [ -d "${found%% *}" ] || mount -t tmpfs -o mode=0755 tmpfs /sys/fs/cgroup
        mount -t overlay -o "lowerdir=/etc,upperdir=$folder/etc,workdir=$folder/etc-work" overlay /etc
        shift 4
        while [ $# -gt 1 ]; do
            mount -t overlay -o "lowerdir=$1:$2" overlay "$2"
            shift 2
        done
        mount --bind "$folder/tmp" /tmp
        mount --bind "$folder/var-log" /var/log
    fi
    echo "$found" | mount_hierarchies
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
if [ "$network" = own ]; then net=--net; else net=; fi
# shellcheck disable=SC2086
PLAYGROUND_STAGE=inside exec unshare $net --mount --pid --ipc --uts --cgroup --fork --kill-child --mount-proc \
    /bin/sh "$0" "$@"
