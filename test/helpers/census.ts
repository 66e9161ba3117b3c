/**
 * All that is on a worker and could be ours, as sorted lines that tests compare before and after: what a create left behind,
 * what a delete forgot, and what it took that was not ours.
 */
import type { Worker } from "../../playground/worker";

/** Lines by kind. Equal before and after means that nothing was left and nothing was taken. */
export interface Census {
    /** `NAMESPACE ID`. */
    containers: string[];
    /** `NAMESPACE ID`. */
    tasks: string[];
    /** `NAMESPACE SNAPSHOTTER KEY`. */
    snapshots: string[];
    /** `NAMESPACE ID`. */
    leases: string[];
    /** `NAMESPACE DIGEST`. */
    content: string[];
    /** `NAMESPACE ID`: writes that were begun and neither committed nor aborted. */
    ingests: string[];
    /** `NAMESPACE NAME DIGEST`. */
    images: string[];
    /** Mount points on the worker that a machine without containers does not have. */
    mounts: string[];
    /** Paths below `/var/lib/pulumi-containerd`. */
    files: string[];
    /** Bundles, runc's states and shim sockets below `/run`. */
    runtime: string[];
    /** Control groups of the worker, as `HIERARCHY PATH`. */
    cgroups: string[];
    /** `COMMAND` of the worker's processes, without containerd, sshd and process 1. */
    processes: string[];
    /** Unix sockets below `/run` that a machine without containers does not have. */
    sockets: string[];
    /** `INTERFACE [ADDRESS]` of a worker with a network of its own. */
    interfaces: string[];
    /** Tables of firewall rules of ours, in a network of the worker's own, and what lies below `/run/pulumi-containerd`. */
    networks: string[];
    /** `PROTOCOL ADDRESS:PORT` on which a worker with a network of its own listens. */
    listeners: string[];
}

/** Written to take one process for the whole: a census is taken after each of hundreds of kills. */
const SCRIPT = `
network=$1
list() { # KIND NAMESPACE: each line of stdin, with both in front
    while read -r line; do [ -z "$line" ] || echo "$1 $2 $line"; done
}
for namespace in $(ctr namespaces ls -q); do
    n() { ctr -n "$namespace" "$@" 2>/dev/null; }
    n containers ls -q | list containers "$namespace"
    n tasks ls -q | list tasks "$namespace"
    n leases ls -q | list leases "$namespace"
    n content ls -q | list content "$namespace"
    n content active 2>/dev/null | sed 1d | cut -f1 | list ingests "$namespace"
    n images ls | sed 1d | awk '{ print $1, $3 }' | list images "$namespace"
    for snapshotter in overlayfs native; do
        n snapshots --snapshotter $snapshotter ls | sed 1d | awk -v s=$snapshotter '{ print s, $1 }' | list snapshots "$namespace"
    done
done
awk '{ print $5 }' /proc/self/mountinfo | grep -E '^/(run|var/lib)/.' | list mounts -
# The folders of all volumes stay, like the one above them.
find /var/lib/pulumi-containerd -mindepth 1 ! -path '*/volumes' ! -path '*/volumes/records' 2>/dev/null | list files -
find /run/pulumi-containerd 2>/dev/null | list networks -
find /run/containerd/io.containerd.runtime.v2.task /run/containerd/runc /run/containerd/s /run/containerd/fifo \\
    -mindepth 2 -maxdepth 2 2>/dev/null | list runtime -
find /run/containerd/s -type s 2>/dev/null | list runtime -
for namespace in $(ctr namespaces ls -q); do echo "namespaces - $namespace"; done
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then set -- /sys/fs/cgroup; else set -- /sys/fs/cgroup/*/; fi
for hierarchy; do
    (cd "$hierarchy" && find . -mindepth 1 -type d ! -path ./init 2>/dev/null) | list cgroups "$(basename "$hierarchy")"
done
find /run -type s ! -path '/run/containerd/*' 2>/dev/null | list sockets -
if [ "$network" = own ]; then
    # Without the number behind an interface's @, which the kernel counts up.
    ip -o link | awk -F '[ :@]+' '{ print $2 }' | list interfaces -
    ip -o address | awk '{ print $2, $4 }' | list interfaces -
    nft list tables 2>/dev/null | grep pulumi | list networks -
    ss -Hlntu | awk '{ print $1, $5 }' | list listeners -
fi
for folder in /proc/[0-9]*; do
    # Not process 1, nor what runs this census itself. What is only waiting to be collected has no command.
    pid=\${folder#/proc/}
    [ "$pid" != 1 ] && [ "$pid" != $$ ] || continue
    parent=$(awk '/^PPid:/ { print $2 }' "$folder/status" 2>/dev/null)
    [ "\${parent:-$$}" != $$ ] || continue
    { tr '\\0' ' ' <"$folder/cmdline"; echo; } 2>/dev/null | list processes -
done
exit 0
`;

/** What a worker has of its own when nothing of ours is there. */
const ITS_OWN = /^(containerd --config |sleep 86400|sleep 10$|sshd: )/;

/** Takes the census of a worker whose containerd runs. `namespaces`: only these; default: all. */
export async function census(worker: Worker, namespaces?: readonly string[]): Promise<Census> {
    const result: Census = {
        containers: [],
        tasks: [],
        snapshots: [],
        leases: [],
        content: [],
        ingests: [],
        images: [],
        mounts: [],
        files: [],
        runtime: [],
        cgroups: [],
        processes: [],
        sockets: [],
        interfaces: [],
        networks: [],
        listeners: [],
    };
    const parents = new Set<string>();
    for (const line of (await worker.run(SCRIPT, worker.hasNetwork ? "own" : "host")).split("\n")) {
        const [kind = "", namespace = "", ...rest] = line.split(" ");
        const text = rest.join(" ").trim();
        if (kind === "namespaces") parents.add(`./${text}`);
        if (!isKind(kind, result)) continue;
        if (kind === "processes") {
            // A logger has a shell more in its first ten seconds: it looks whether its container lives so long.
            if (!ITS_OWN.test(text) && !result.processes.includes(text)) result.processes.push(text);
        } else if (kind === "cgroups") {
            // runc makes a namespace's group with its first container and leaves it there.
            if (!parents.has(text)) result.cgroups.push(`${namespace} ${text}`);
        } else if (namespace === "-") result[kind].push(text);
        else if (!namespaces || namespaces.includes(namespace)) result[kind].push(`${namespace} ${text}`);
    }
    for (const lines of Object.values(result) as string[][]) lines.sort();
    return result;
}

/** How many SSH connections a worker has. */
export async function sshConnections(worker: Worker): Promise<number> {
    const lines = await worker.run("ss -Htn state established sport = :22");
    return lines.split("\n").filter(Boolean).length;
}

function isKind(text: string, result: Census): text is keyof Census {
    return Object.hasOwn(result, text);
}
