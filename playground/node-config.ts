/** How the workers of a cluster are reached, in the words of their users: the stack config `containerd:nodes`, and ssh_config(5). */
import type { Worker } from "./worker";

/** What the stack config `containerd:nodes` says of a node. */
export type NodeEntry =
    | { socket: string }
    | { host: string; port: number; user: string; identityFile: string; hostKey: string; publicAddress: string };

/** A worker as an entry of `containerd:nodes`: by SSH, or by its socket when it has this machine's network. */
export function nodeEntry(worker: Worker): NodeEntry {
    if (!worker.hasNetwork) return { socket: worker.address };
    const { host, port, user, identityFile, hostKey } = worker.ssh;
    return { host, port, user, identityFile, hostKey, publicAddress: worker.ip };
}

/** An ssh_config by which `ssh NODE` reaches the workers by their host names. */
export function sshConfig(workers: readonly Worker[]): string {
    const hosts = workers.map((worker) => {
        const { host, port, user, identityFile, knownHostsFile } = worker.ssh;
        return [
            `Host ${worker.hostname}`,
            `    HostName ${host}`,
            `    Port ${port}`,
            `    User ${user}`,
            `    IdentityFile ${identityFile}`,
            "    IdentitiesOnly yes",
            `    UserKnownHostsFile ${knownHostsFile}`,
            "    StrictHostKeyChecking yes",
            "",
        ].join("\n");
    });
    return hosts.join("\n");
}
