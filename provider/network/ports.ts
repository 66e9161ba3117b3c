/**
 * Published ports, from what a user writes to `Port`s. Pure. Mistakes are returned as data, by item: `check` shows all of
 * them at once, each at its argument.
 */
import { isIP } from "node:net";
import { hashNumber, normalAddress } from "./addresses";
import type { Port } from "./settings";

/** A port, or a first and a last one as in `10000-19999`. */
export type PortNumbers = number | string;

/** A published port in the long form. */
export interface PortObject {
    /** In the container. */
    container: PortNumbers;
    /** On the node. Default: one is chosen there. */
    host?: PortNumbers;
    /** Address of the node. Default: all. */
    hostIp?: string;
    /** `tcp` (the default), `udp` or `sctp`. */
    protocol?: string;
}

/** What is wrong with an item of the list. */
export interface PortProblem {
    index: number;
    reason: string;
}

/** Where host ports are chosen from: as Docker has it, Linux' own default for ports that nobody names. */
const CHOSEN = [32768, 60999] as const;
const PROTOCOLS = ["tcp", "udp", "sctp"] as const;

type Numbers = [number, number];

/** A published port for which the node is yet to choose one of its own. */
export type PortWish = Omit<Port, "host">;
type Wish = PortWish & { host?: Numbers };

/** A reason, on its way up to the item that it belongs to. */
class Problem extends Error {}

/**
 * Reads a list of ports. They are sorted, so equal lists in another order are equal.
 *
 * @returns of the items without problems those with a host port and those without (`wishes`), and the problems
 * @example
 * parsePorts(["127.0.0.1:8080:80", "10000-19999:10000-19999/udp", "9090"])
 */
export function parsePorts(items: readonly (string | number | PortObject)[]): {
    ports: Port[];
    wishes: PortWish[];
    problems: PortProblem[];
} {
    const problems: PortProblem[] = [];
    const ports: Port[] = [];
    const wishes: PortWish[] = [];
    items.forEach((item, index) => {
        try {
            const { host, ...wish } = read(typeof item === "object" ? item : splitShort(String(item)));
            if (host) {
                const port = { ...wish, host };
                const other = ports.find((one) => portsOverlap(one, port));
                if (other) throw new Problem(`${formatPort(port)} overlaps ${formatPort(other)}`);
                ports.push(port);
            } else {
                const text = formatPort(wish);
                if (wishes.some((one) => formatPort(one) === text)) throw new Problem(`${text} is there twice`);
                wishes.push(wish);
            }
        } catch (error) {
            if (!(error instanceof Problem)) throw error;
            problems.push({ index, reason: error.message });
        }
    });
    return { ports: sortedPorts(ports), wishes: wishes.sort(compareWishes), problems };
}

/** A port in Docker's short syntax, with its protocol; without a host port like `80/tcp` and `127.0.0.1::80/tcp`. */
export function formatPort({ protocol, hostIp, host, container }: Wish): string {
    const address = hostIp === undefined ? "" : hostIp.includes(":") ? `[${hostIp}]:` : `${hostIp}:`;
    const onHost = host ? `${formatNumbers(host)}:` : hostIp === undefined ? "" : ":";
    return `${address}${onHost}${formatNumbers(container)}/${protocol}`;
}

/** The ports in their one order, and their keys always in the same order, for comparisons as text. */
export function sortedPorts(ports: readonly Port[]): Port[] {
    return ports.map(ordered).sort(compare);
}

/**
 * A host port for a wish: the first that overlaps none of `taken`, of those that come in the seed's order. Undefined when there is
 * none.
 */
export function choosePort(wish: PortWish, seed: string, taken: readonly Port[]): Port | undefined {
    const [first, last] = CHOSEN;
    const count = last - first + 1;
    const start = Number(hashNumber(`${seed} ${wish.protocol} ${wish.container[0]}`) % BigInt(count));
    for (let step = 0; step < count; step++) {
        const number = first + ((start + step) % count);
        const port: Port = { ...wish, host: [number, number] };
        if (!taken.some((one) => portsOverlap(one, port))) return port;
    }
    return undefined;
}

/** Whether two published ports would fight over a port of the node. */
export function portsOverlap(one: Port, other: Port): boolean {
    if (one.protocol !== other.protocol) return false;
    if (one.host[0] > other.host[1] || other.host[0] > one.host[1]) return false;
    const [left, right] = [one.hostIp, other.hostIp];
    if (left === undefined || right === undefined || left === right) return true;
    const [family, otherFamily] = [isIP(left), isIP(right)];
    return family === otherFamily && (isWildcard(left) || isWildcard(right));
}

function isWildcard(address: string): boolean {
    return address === "0.0.0.0" || address === "::";
}

function formatNumbers([first, last]: Numbers): string {
    return first === last ? String(first) : `${first}-${last}`;
}

function ordered({ protocol, hostIp, host, container }: Port): Port {
    return { protocol, ...(hostIp === undefined ? {} : { hostIp }), host, container };
}

function order(a: string, b: string): number {
    return a < b ? -1 : a > b ? 1 : 0;
}

function compareWishes(one: PortWish, other: PortWish): number {
    return one.container[0] - other.container[0] || order(formatPort(one), formatPort(other));
}

function compare(one: Port, other: Port): number {
    return (
        order(one.protocol, other.protocol) ||
        one.host[0] - other.host[0] ||
        order(one.hostIp ?? "", other.hostIp ?? "")
    );
}

/** `[[ADDRESS:][HOST]:]CONTAINER[/PROTOCOL]`; an IPv6 address in brackets. */
function splitShort(text: string): PortObject {
    const [, rest = "", protocol] = /^(.*?)(?:\/([^/]*))?$/s.exec(text) ?? [];
    const bracketed = /^\[([^\]]*)\]:(?:([^:]*):)?([^:]*)$/.exec(rest);
    if (bracketed) return long(bracketed[3], bracketed[2], bracketed[1], protocol);
    const parts = rest.split(":");
    if (parts.length > 3 || rest.includes("[") || rest.includes("]")) {
        throw new Problem(
            `${JSON.stringify(text)} is no port: write it like "8080:80", "127.0.0.1:8080:80" or "[::]:53:53/udp"`,
        );
    }
    const container = parts.at(-1);
    if (parts.length === 3) return long(container, parts[1], parts[0], protocol);
    if (parts.length === 2 && isIP(parts[0] ?? "")) return long(container, undefined, parts[0], protocol);
    if (parts.length === 2 && parts[0] === "") throw new Problem(`${JSON.stringify(text)} names no host port`);
    return long(container, parts[0] === container && parts.length === 1 ? undefined : parts[0], undefined, protocol);
}

function long(container = "", host?: string, hostIp?: string, protocol?: string): PortObject {
    return {
        container,
        ...(host === undefined || host === "" ? {} : { host }),
        ...(hostIp === undefined ? {} : { hostIp }),
        ...(protocol === undefined ? {} : { protocol }),
    };
}

function read(item: PortObject): Wish {
    const protocol = PROTOCOLS.find((name) => name === (item.protocol ?? "tcp").toLowerCase());
    if (!protocol) throw new Problem(`unknown protocol ${JSON.stringify(item.protocol)}: tcp, udp or sctp`);
    const container = readNumbers(item.container, "container");
    const host = item.host === undefined ? undefined : readNumbers(item.host, "host");
    if (host && size(host) !== size(container)) {
        const [left, right] = [size(host), size(container)];
        throw new Problem(`${formatNumbers(host)} are ${left} ports and ${formatNumbers(container)} are ${right}`);
    }
    if (host && size(host) > 1 && host[0] !== container[0]) {
        throw new Problem(
            `the range ${formatNumbers(host)} can't lead to ${formatNumbers(container)}: a range has the same ports on ` +
                "the node and in the container; publish single ports where they differ",
        );
    }
    const hostIp = item.hostIp === undefined ? undefined : readAddress(item.hostIp);
    // A range without host ports is published as it is: chosen ports can't be shifted.
    const same = size(container) > 1 ? container : undefined;
    return { protocol, container, host: host ?? same, ...(hostIp === undefined ? {} : { hostIp }) };
}

function readAddress(text: string): string {
    if (!isIP(text) || text.includes("%")) {
        throw new Problem(`${JSON.stringify(text)} is no address of a node: an IPv4 or IPv6 address`);
    }
    const address = normalAddress(text);
    if (address === "::1") {
        throw new Problem(
            "a port can't be published on ::1: the kernel lets nothing sent to the IPv6 loopback reach a container; use 127.0.0.1",
        );
    }
    return address;
}

function readNumbers(given: PortNumbers, which: "host" | "container"): Numbers {
    const text = String(given).trim();
    const match = /^(\d+)(?:-(\d+))?$/.exec(text);
    if (!match) {
        const what = text === "" ? "is empty" : `${JSON.stringify(text)} is no number and no range like 10000-19999`;
        throw new Problem(`the ${which} port ${what}`);
    }
    const numbers: Numbers = [Number(match[1]), Number(match[2] ?? match[1])];
    for (const number of numbers) {
        if (number < 1 || number > 65535) throw new Problem(`the ${which} port ${number} is not within 1 to 65535`);
    }
    if (numbers[0] > numbers[1]) throw new Problem(`the range ${text} is reversed: the lower port comes first`);
    return numbers;
}

function size([first, last]: Numbers): number {
    return last - first + 1;
}
