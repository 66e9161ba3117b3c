/** Whether the node's table of connections is large enough for the ports that are published: a full one drops packets in silence. */
import type { Client } from "../../containerd/client";
import type { NetworkSettings, Port } from "../../network/settings";
import { askNode } from "../../node/command";
import type { Run } from "../run";

/** Fewer ports are not worth a question. */
const MANY = 1000;
/** Entries that are to be there for each UDP port: a relay has two flows to a port pair at times, and others use the table too. */
const ENTRIES = 4;

/** How many UDP ports are published. Pure. */
export function udpPorts(ports: readonly Port[]): number {
    return ports
        .filter(({ protocol }) => protocol === "udp")
        .reduce((sum, { host: [first, last] }) => sum + last - first + 1, 0);
}

/** What is to be said of a table of `most` entries, if anything. Pure. */
export function tableProblem(ports: number, most: number | undefined): string | undefined {
    const wanted = ports * ENTRIES;
    if (ports < MANY || most === undefined || most >= wanted) return undefined;
    return (
        `the node tracks at most ${most} connections (net.netfilter.nf_conntrack_max), and ${ports} UDP ports are published: under ` +
        `load packets are dropped in silence. Set it to ${wanted} or more on the node, by sysctl`
    );
}

/** Warns on the resource's row of a table that is too small. */
export async function warnOfTable(run: Run, client: Client, owner: string, settings: NetworkSettings): Promise<void> {
    const ports = udpPorts(settings.ports);
    if (ports < MANY) return;
    const { output } = await askNode(client, "cat /proc/sys/net/netfilter/nf_conntrack_max");
    const most = /^\d+$/.test(output.trim()) ? Number(output) : undefined;
    const problem = tableProblem(ports, most);
    if (problem) run.report.warn(owner, problem);
}
