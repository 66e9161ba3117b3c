/**
 * Addresses of networks and of what is on them: subnets, free addresses, MAC addresses and interface names. Pure: the same
 * seed and the same used addresses give the same answer, so that what `check` says is what `create` makes.
 */
import { createHash } from "node:crypto";
import { isIPv4, isIPv6 } from "node:net";
import { ContainerdError } from "../errors";
import { DEFAULT_NETWORK } from "./definition";

export type Family = 4 | 6;

/** A subnet: its first address as a number, and the length of its prefix in bits. */
export interface Subnet {
    family: Family;
    first: bigint;
    prefix: number;
}

/** Where a Network without a subnet gets its `/24` from. */
export const NETWORK_POOL = "10.120.0.0/14";
/** Where it gets its IPv6 subnet from: a `/64` each. The first one is the default network's. */
export const NETWORK_POOL6 = "fd7c:6f6e:7461::/48";

/** An IPv4 or IPv6 address as a number. Throws `Invalid` for anything else, also for one with a zone (`%eth0`). */
export function addressNumber(address: string): { family: Family; value: bigint } {
    if (isIPv4(address)) {
        const value = address.split(".").reduce((sum, part) => sum * 256n + BigInt(part), 0n);
        return { family: 4, value };
    }
    if (!isIPv6(address) || address.includes("%")) {
        throw new ContainerdError("Invalid", `${JSON.stringify(address)} is no IPv4 or IPv6 address`);
    }
    const [head = "", tail] = canonical6(address).split("::");
    const groups = (text: string) => text.split(":").filter((group) => group !== "");
    const front = groups(head);
    const back = tail === undefined ? [] : groups(tail);
    const zeros = Array<string>(8 - front.length - back.length).fill("0");
    const value = [...front, ...zeros, ...back].reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
    return { family: 6, value };
}

/** The address of a number, in its shortest form. */
export function formatAddress(value: bigint, family: Family): string {
    if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join(".");
    const groups = Array.from({ length: 8 }, (_, index) => (value >> BigInt(112 - 16 * index)) & 65535n);
    return canonical6(groups.map((group) => group.toString(16)).join(":"));
}

/** An address in its shortest form, in small letters: two texts of one address become equal. Throws `Invalid`. */
export function normalAddress(address: string): string {
    const { value, family } = addressNumber(address);
    return formatAddress(value, family);
}

/** Parses `10.0.0.0/8`. Throws `Invalid` also where bits beyond the prefix are set, as in `10.0.0.1/8`. */
export function parseSubnet(text: string): Subnet {
    const [address = "", length = "", ...rest] = text.split("/");
    if (rest.length > 0 || !/^\d{1,3}$/.test(length)) {
        throw new ContainerdError("Invalid", `${JSON.stringify(text)} is no subnet: write it like 10.120.5.0/24`);
    }
    const { family, value } = addressNumber(address);
    const prefix = Number(length);
    if (prefix > bits(family)) {
        throw new ContainerdError("Invalid", `${text}: an IPv${family} prefix has at most ${bits(family)} bits`);
    }
    const subnet = { family, first: (value >> hostBits(family, prefix)) << hostBits(family, prefix), prefix };
    if (subnet.first !== value) {
        throw new ContainerdError("Invalid", `${text} is an address within the subnet ${formatSubnet(subnet)}`);
    }
    return subnet;
}

/** The subnet as text, like `10.0.0.0/8`. */
export function formatSubnet({ family, first, prefix }: Subnet): string {
    return `${formatAddress(first, family)}/${prefix}`;
}

/** The subnet of an address with a prefix. Throws `Invalid` when the address is none. */
export function subnetOf(address: string, prefix: number): Subnet {
    const { family, value } = addressNumber(address);
    const shift = hostBits(family, prefix);
    return { family, first: (value >> shift) << shift, prefix };
}

/** Whether an address lies in a subnet. */
export function contains(subnet: Subnet, address: string): boolean {
    const { family, value } = addressNumber(address);
    if (family !== subnet.family) return false;
    const shift = hostBits(family, subnet.prefix);
    return value >> shift === subnet.first >> shift;
}

/** Whether two subnets have an address in common. */
export function overlap(one: Subnet, other: Subnet): boolean {
    if (one.family !== other.family) return false;
    const shift = hostBits(one.family, Math.min(one.prefix, other.prefix));
    return one.first >> shift === other.first >> shift;
}

/** Which address of its subnet it is, counted from the network's own, which is 0. */
export function offsetIn(subnet: Subnet, address: string): bigint {
    return addressNumber(address).value - subnet.first;
}

/** The address of a subnet at an offset: what an IPv6 address has in common with the IPv4 address beside it. */
export function addressAt(subnet: Subnet, offset: bigint): string {
    return formatAddress(subnet.first + offset, subnet.family);
}

/** The gateway of a subnet whose user names none: its first address. */
export function defaultGateway(subnet: Subnet): string {
    return addressAt(subnet, 1n);
}

/** Length in bits of a subnet's prefix. Throws `Invalid` for what is no subnet. */
export function prefixOf(subnet: string): number {
    return parseSubnet(subnet).prefix;
}

/**
 * The address of a subnet that has the same place in it as an address of another one has there: the IPv6 address that goes with
 * an IPv4 address. `prefix` is that of the IPv4 subnet; by default the address's last 16 bits count.
 */
export function interfaceId(subnet: string, address: string, prefix = 16): string {
    return addressAt(parseSubnet(subnet), offsetIn(subnetOf(address, prefix), address));
}

/**
 * A free address of a subnet: the one that the seed says, or the next free one behind it. Never the network's own or the
 * broadcast address. Undefined when all are used. Throws `Invalid` for what is no subnet.
 *
 * @param used addresses that others and the gateway have, in any form; those of other subnets don't matter
 */
export function freeAddress(subnet: string, seed: string, used: Iterable<string>): string | undefined {
    const within = parseSubnet(subnet);
    const taken = new Set<bigint>();
    for (const address of used) if (contains(within, address)) taken.add(offsetIn(within, address));
    const usable = (1n << hostBits(within.family, within.prefix)) - 2n;
    const start = usable > 0n ? hashNumber(seed) % usable : 0n;
    // Not more steps than there are used ones.
    for (let step = 0n; step < usable && step <= BigInt(taken.size); step++) {
        const offset = 1n + ((start + step) % usable);
        if (!taken.has(offset)) return addressAt(within, offset);
    }
    return undefined;
}

/**
 * Subnets for a Network whose user gave none: a `/24` of `pool`, and the IPv6 `/64` that goes with it. The seed says which;
 * those that overlap a used one are skipped. Throws `Conflict` when all are used.
 */
export function chooseSubnets(
    seed: string,
    used: readonly Subnet[],
    pool: string = NETWORK_POOL,
): { subnet: Subnet; subnet6: Subnet } {
    const from = parseSubnet(pool);
    const from6 = parseSubnet(NETWORK_POOL6);
    const count = 1n << BigInt(24 - from.prefix);
    const start = hashNumber(seed) % count;
    for (let step = 0n; step < count; step++) {
        const index = (start + step) % count;
        const subnet: Subnet = { family: 4, first: from.first + index * 256n, prefix: 24 };
        const subnet6: Subnet = { family: 6, first: from6.first + ((index + 1n) << 64n), prefix: 64 };
        if (!used.some((other) => overlap(other, subnet) || overlap(other, subnet6))) return { subnet, subnet6 };
    }
    throw new ContainerdError("Conflict", `the pool ${pool} has no free /24: name a subnet`);
}

/**
 * The MAC address that goes with an IPv4 address, as Docker makes it: no two on a network are the same. Of any other text (an IPv6
 * address, a name), one by its hash.
 */
export function macOf(text: string): string {
    if (!isIPv4(text)) return ["06", ...(digest(text).slice(0, 10).match(/../g) ?? [])].join(":");
    const bytes = [0x02, 0x42, ...text.split(".").map(Number)];
    return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/** Interface name of a network's bridge. `network` is the network's key. */
export function bridgeName(network: string): string {
    if (network === DEFAULT_NETWORK.key && DEFAULT_NETWORK.bridge !== undefined) return DEFAULT_NETWORK.bridge;
    return `pn${digest(network).slice(0, 12)}`;
}

/** Interface name of the node's end of a container's or pod's cable. */
export function vethName(key: string): string {
    return `pc${digest(key).slice(0, 12)}`;
}

/** A number that a text gives, the same each time: for choices that look like chance and are none. */
export function hashNumber(text: string): bigint {
    return BigInt(`0x${digest(text).slice(0, 16)}`);
}

function digest(text: string): string {
    return createHash("sha256").update(text).digest("hex");
}

function bits(family: Family): number {
    return family === 4 ? 32 : 128;
}

function hostBits(family: Family, prefix: number): bigint {
    return BigInt(bits(family) - prefix);
}

/** The URL standard's serializer writes an IPv6 address in its shortest form. */
function canonical6(address: string): string {
    return new URL(`http://[${address}]`).hostname.slice(1, -1);
}
