#!/bin/sh
# Runs a command inside a worker, as one of its own processes: enter.sh PID CGROUP COMMAND [ARGUMENT...]
# PID is the worker's process 1, seen from outside.
set -eu
pid=$1 cgroup=$2
shift 2
# Its namespaces alone would leave the command in the control groups of whoever called.
sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \([^ ]*\) .* - cgroup2\{0,1\} .*$/\1/p' /proc/self/mountinfo | while read -r point; do
    if [ -d "$point/$cgroup/init" ]; then group=$point/$cgroup/init; else group=$point/$cgroup; fi
    echo $$ >"$group/cgroup.procs"
done
exec nsenter --target "$pid" --mount --net --pid --ipc --uts --cgroup -- "$@"
