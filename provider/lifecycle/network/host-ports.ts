/**
 * Host ports that nobody named: of `ports` without one, and of what an image exposes (`publishAll`). They are chosen when the
 * container or pod is made. As with its address, containerd is the register: they stand on its object as a label, and stay.
 */
import type { Client } from "../../containerd/client";
import { LONGEST_LABEL } from "../../containerd/labels";
import { ContainerdError, hasCode } from "../../errors";
import { choosePort, formatPort, parsePorts, type PortWish, portsOverlap } from "../../network/ports";
import type { Port } from "../../network/settings";
import { LABEL } from "../ownership";
import { setLabels } from "../process";
import type { Run } from "../run";
import { tenants } from "./attachment";
import type { Networking, NetworkOwner } from "./networking";
import { checkNetwork } from "./node-network";
import { type HostPorts, portsOf, wantedByOthers } from "./published";

const ATTEMPTS = 20;
/** No label holds more, and to choose them takes a time that grows with the square of their number. */
const MOST_CHOSEN = 300;

/**
 * Chooses the host ports that are still to be chosen, and keeps them with the object of that name, which is there already. Those that
 * it has, it keeps; a replacement has those of its predecessor. `exposed` are the ports of its images (`exposedBy`). Throws
 * `Conflict`, `Invalid`.
 */
export async function settlePorts(
    run: Run,
    client: Client,
    inputs: NetworkOwner,
    network: Networking,
    exposed: readonly string[],
): Promise<Networking> {
    const { settings, labels, hostPorts: kept } = network;
    if (!settings) return network;
    const wishes = wishedPorts(inputs.ports, inputs.publishAll ? exposed : []);
    if (wishes.length === 0) return keep(client, inputs, network, {});
    if (wishes.length > MOST_CHOSEN) throw tooMany(wishes.length);
    const inherited = await hostPortsOf(client, labels[LABEL.predecessor]);
    const known = await portsOnNode(run, client);
    const refused: Port[] = [];
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
        const others = known.flatMap(({ owner, ports }) => (owner === inputs.owner ? [] : ports));
        const { hostPorts, fresh } = chooseHostPorts(wishes, {
            seed: inputs.owner,
            kept,
            inherited,
            named: portsOf(inputs.ports),
            taken: [...wantedByOthers(run, inputs), ...others, ...refused],
        });
        // Without a wait since the choice: what is made beside this one sees it.
        known.push({ owner: inputs.owner, ports: fresh });
        const ports = portsOf(inputs.ports, hostPorts);
        if (fresh.length > 0) {
            try {
                await checkNetwork(client, { ...settings, ports });
            } catch (error) {
                const taken = fresh.filter((port) => isAbout(error, port));
                if (taken.length === 0) throw error;
                refused.push(...taken);
                continue;
            }
        }
        const settled = await keep(client, inputs, network, hostPorts);
        const contested = fresh.length > 0 ? await wantedBeside(client, inputs, fresh) : [];
        if (contested.length === 0) return settled;
        // Another run chose the same at the same moment. Both choose again: each in an order of its own.
        refused.push(...contested);
    }
    const reason = `no host port could be chosen: all of ${ATTEMPTS} were taken by others. Name them in \`ports\``;
    throw new ContainerdError("Conflict", reason, { property: "ports" });
}

/** The ports of an image's config that are to be published by `publishAll`. */
export function exposedBy(config: { config?: { ExposedPorts?: Record<string, unknown> | null } | null }): string[] {
    return Object.keys(config.config?.ExposedPorts ?? {});
}

/**
 * The ports for which a host port is to be chosen: those without one, and what images expose and is not named. Pure. As an image
 * has them: a range stands for each of its ports, a text that is no port for none.
 */
export function wishedPorts(given: readonly string[] = [], exposed: readonly string[] = []): PortWish[] {
    const { ports, wishes } = parsePorts(given);
    const named: PortWish[] = [...ports, ...wishes];
    const more = new Map<string, PortWish>();
    for (const text of exposed) {
        const [, first, last = first, protocol = "tcp"] = /^(\d+)(?:-(\d+))?(?:\/([a-z]+))?$/i.exec(text) ?? [];
        for (let port = Number(first); port <= Number(last); port++) {
            const [wish] = parsePorts([{ container: port, protocol }]).wishes;
            if (!wish) break;
            const isNamed = named.some(
                (one) => one.protocol === wish.protocol && port >= one.container[0] && port <= one.container[1],
            );
            if (!isNamed) more.set(formatPort(wish), wish);
        }
    }
    return [...wishes, ...more.values()];
}

/** What is known when host ports are chosen. */
interface Known {
    seed: string;
    /** Its own: they stay, whatever others want. */
    kept: HostPorts;
    /** Of the one that it replaces: taken over, unless they are refused. */
    inherited: HostPorts;
    /** Those that it names itself. */
    named: readonly Port[];
    /** Others'. */
    taken: readonly Port[];
}

/** A host port for each wish, and those among them that it does not have yet. Pure. Throws `Conflict` when there are no more. */
export function chooseHostPorts(
    wishes: readonly PortWish[],
    { seed, kept, inherited, named, taken }: Known,
): { hostPorts: Record<string, number>; fresh: Port[] } {
    const ours = [...named];
    const chosen: Port[] = [];
    const fresh: Port[] = [];
    const take = (wish: PortWish, host: number | undefined, inWay: readonly Port[]): Port | undefined => {
        const port: Port | undefined = host === undefined ? undefined : { ...wish, host: [host, host] };
        return port && !inWay.some((one) => portsOverlap(one, port)) ? port : undefined;
    };
    const rest: PortWish[] = [];
    for (const wish of wishes) {
        const port = take(wish, kept[formatPort(wish)], ours);
        if (!port) rest.push(wish);
        else {
            ours.push(port);
            chosen.push(port);
        }
    }
    for (const wish of rest) {
        const inWay = [...ours, ...taken];
        const port = take(wish, inherited[formatPort(wish)], inWay) ?? choosePort(wish, seed, inWay);
        if (!port) throw new ContainerdError("Conflict", "no host port is left to choose", { property: "ports" });
        ours.push(port);
        chosen.push(port);
        fresh.push(port);
    }
    const hostPorts = chosen.map(({ host: [host], ...wish }) => [formatPort(wish), host] as const);
    return { hostPorts: Object.fromEntries(hostPorts), fresh };
}

/** The labels by which an object keeps its ports. Throws `Invalid` for more chosen ones than a label holds. Pure. */
export function portLabels(ports: readonly Port[], hostPorts: HostPorts): Record<string, string> {
    const chosen = JSON.stringify(hostPorts);
    const all = JSON.stringify(ports.map(formatPort));
    const count = Object.keys(hostPorts).length;
    if (!fits(LABEL.hostPorts, chosen)) throw tooMany(count);
    return {
        ...(count > 0 && { [LABEL.hostPorts]: chosen }),
        ...(ports.length > 0 && fits(LABEL.published, all) && { [LABEL.published]: all }),
    };
}

function tooMany(count: number): ContainerdError {
    const reason = `${count} host ports are more than can be chosen at once: name ports in \`ports\`, as ranges if need be`;
    return new ContainerdError("Invalid", reason, { property: "ports" });
}

function fits(key: string, value: string): boolean {
    return Buffer.byteLength(key) + Buffer.byteLength(value) <= LONGEST_LABEL;
}

/** The chosen host ports that labels keep. */
export function hostPortsIn(labels: Readonly<Record<string, string>>): HostPorts {
    return JSON.parse(labels[LABEL.hostPorts] || "{}") as HostPorts;
}

/** All published ports that labels tell of. */
export function portsIn(labels: Readonly<Record<string, string>>): Port[] {
    const all = labels[LABEL.published];
    return all ? portsOf(JSON.parse(all) as string[]) : portsOf(undefined, hostPortsIn(labels));
}

/** Puts them on the object, where they are not there already. */
async function keep(
    client: Client,
    { name, ports: named }: NetworkOwner,
    network: Networking,
    hostPorts: HostPorts,
): Promise<Networking> {
    const ports = portsOf(named, hostPorts);
    const { [LABEL.hostPorts]: chosen = "", [LABEL.published]: published = "", ...rest } = network.labels;
    const wanted = portLabels(ports, hostPorts);
    const { [LABEL.hostPorts]: newChosen = "", [LABEL.published]: newPublished = "" } = wanted;
    // Always of what was chosen anew: what is on the object may be an attempt's.
    if (newChosen !== "" || chosen !== newChosen || published !== newPublished) {
        await setLabels(client, name, { [LABEL.hostPorts]: newChosen, [LABEL.published]: newPublished });
    }
    const settings = network.settings && { ...network.settings, ports };
    return { ...network, settings, hostPorts, labels: { ...rest, ...wanted } };
}

interface Holder {
    owner: string;
    ports: Port[];
}

/** Ports of all that is ours on the node, as this run knows them: read once, and each choice noted at once. */
function portsOnNode(run: Run, client: Client): Promise<Holder[]> {
    return run.onceAt(client.inNamespace("default"), "host ports", async () =>
        (await tenants(client)).map(({ owner, labels }) => ({ owner, ports: portsIn(labels) })),
    );
}

/** Which of these ports others have by now. */
async function wantedBeside(client: Client, { owner, uid }: NetworkOwner, ports: readonly Port[]): Promise<Port[]> {
    const others = (await tenants(client)).filter((other) => other.uid !== uid && other.owner !== owner);
    const theirs = others.flatMap(({ labels }) => portsIn(labels));
    return ports.filter((port) => theirs.some((other) => portsOverlap(port, other)));
}

/** The chosen ports of one with the key `NAME@NAMESPACE`; none where it is not there. */
async function hostPortsOf(client: Client, key: string | undefined): Promise<HostPorts> {
    const [name, namespace] = key?.split("@") ?? [];
    if (!name || !namespace) return {};
    try {
        const { container } = await client.inNamespace(namespace).containers.get({ id: name });
        return hostPortsIn(container?.labels ?? {});
    } catch (error) {
        if (hasCode(error, "NotFound")) return {};
        throw error;
    }
}

/** Whether the node's script refuses this port: it says so like `port 40000/tcp is taken by …`. */
function isAbout(error: unknown, { host: [host], protocol }: Port): boolean {
    if (!(error instanceof ContainerdError)) return false;
    const [, first, last = first, of] = /^ports? (\d+)(?:-(\d+))?\/(\w+) /.exec(error.reason) ?? [];
    return of === protocol && host >= Number(first) && host <= Number(last);
}
