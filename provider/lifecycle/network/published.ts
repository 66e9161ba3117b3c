/** Published ports among the resources of one program, and where others reach them. Pure, but for what a run remembers. */
import { formatPort, parsePorts, portsOverlap, sortedPorts } from "../../network/ports";
import type { Port } from "../../network/settings";
import type { Failure } from "../lifecycle";
import { nameOfUrn } from "../names";
import type { Run } from "../run";
import { holdsUnknown, isUnknown } from "../unknown";

interface Wanted {
    owner: string;
    node: string;
    ports?: string[];
}

/** The ports that resources of this program name, by their owners, as far as they were checked. */
function wantedPorts(run: Run): Map<string, { node: string; ports: Port[] }> {
    return run.first("published ports", new Map<string, { node: string; ports: Port[] }>());
}

/** What others of this program name on the same node. */
export function wantedByOthers(run: Run, { owner, node }: Pick<Wanted, "owner" | "node">): Port[] {
    return [...wantedPorts(run)].flatMap(([other, at]) => (other !== owner && at.node === node ? at.ports : []));
}

/**
 * What of these ports another resource of the program wants on the same node: said in the preview already. A resource that is
 * checked again (a replacement) takes its own words back first.
 */
export function contestedPorts(run: Run, { owner, node, ports = [] }: Wanted): Failure[] {
    const wanted = wantedPorts(run);
    wanted.delete(owner);
    if (isUnknown(node) || holdsUnknown(ports)) return [];
    const ours = parsePorts(ports).ports;
    const failures: Failure[] = [];
    for (const [other, theirs] of wanted) {
        if (theirs.node !== node) continue;
        ours.forEach((port) => {
            const same = theirs.ports.find((taken) => portsOverlap(port, taken));
            if (!same) return;
            const reason = `${formatPort(port)} is wanted by ${nameOfUrn(other)} too, on the same node (${formatPort(same)})`;
            failures.push({ property: "ports", reason });
        });
    }
    wanted.set(owner, { node, ports: ours });
    return failures;
}

/** All published ports: those that are named, and those that were chosen for what is named without one (`hostPorts`). */
export function portsOf(ports: readonly string[] = [], hostPorts: HostPorts = {}): Port[] {
    const chosen = Object.entries(hostPorts).flatMap(([text, host]) =>
        parsePorts([text]).wishes.map((wish): Port => ({ ...wish, host: [host, host] })),
    );
    return sortedPorts([...parsePorts(ports).ports, ...chosen]);
}

/** Host ports that were chosen, by the port in the container as `formatPort` writes it: `80/tcp`. */
export type HostPorts = Readonly<Record<string, number>>;

/**
 * Where each published port is reached: by port (or range) in the container and protocol, like `80/tcp`, the address and port
 * on the node, like `edge-1.example.net:8080`. Of several the first, but the node's loopback only where there is no other.
 */
export function publishedAt(ports: readonly Port[], nodeAddress: string): Record<string, string> {
    const isLoopback = ({ hostIp = "" }: Port): boolean => hostIp === "::1" || hostIp.startsWith("127.");
    const found: Record<string, string> = {};
    for (const port of [...ports.filter((one) => !isLoopback(one)), ...ports.filter(isLoopback)]) {
        const { protocol, hostIp, host, container } = port;
        const anywhere = hostIp === undefined || hostIp === "0.0.0.0" || hostIp === "::";
        found[`${range(container)}/${protocol}`] ??= `${hostPart(anywhere ? nodeAddress : hostIp)}:${range(host)}`;
    }
    return found;
}

function range([first, last]: [number, number]): string {
    return first === last ? String(first) : `${first}-${last}`;
}

/** An IPv6 address is put in brackets before a port. */
export function hostPart(address: string): string {
    return address.includes(":") ? `[${address}]` : address;
}
