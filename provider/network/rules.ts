/**
 * The node's firewall rules, as text for nft: what all share, and what one container or pod wants of it. Pure.
 *
 * One table for all. Published ports are elements of maps with intervals, one element a range whatever its length: a set of maps
 * for ports on all addresses (`udp4`, `tcp6`, …), and one for each address of the node that a port is published on alone
 * (`udp4_c0a80001`). The kernel refuses an element that overlaps another of the same map. An element's comment is its owner's tag.
 * Where the port in the container differs, a second map has it (`udp4_to`).
 */
import { createHash } from "node:crypto";
import { isIP } from "node:net";
import { addressNumber, formatSubnet, normalAddress, subnetOf } from "./addresses";
import type { Attachment, NetworkSettings, Port } from "./settings";

export const TABLE = "pulumi_containerd";
const PROTOCOLS = ["tcp", "udp", "sctp"] as const;
const FAMILIES = [4, 6] as const;
/** nft takes no longer comments than 128 bytes. */
const LONGEST_TAG = 120;

/** A published port as an element of a map. */
export interface WantedPort {
    map: string;
    protocol: Port["protocol"];
    family: 4 | 6;
    /** Address of the node; `*` for all. */
    host: string;
    first: number;
    last: number;
    /** Of the container. */
    address: string;
    /** Port in the container where it differs. */
    target?: number;
}

/** The owner of elements, as their comment: the key itself, or what it is for long ones. */
export function tagOf(key: string): string {
    if (key.length <= LONGEST_TAG) return key;
    return `${key.slice(0, LONGEST_TAG - 17)}~${digest(key).slice(0, 16)}`;
}

/** The elements that published ports amount to: one for each port or range and address family. */
export function wantedPorts({ attachment, ports }: Pick<NetworkSettings, "attachment" | "ports">): WantedPort[] {
    if (attachment.driver !== "bridge") return [];
    return ports.flatMap((port) =>
        FAMILIES.flatMap((family) => {
            const address = (family === 4 ? attachment.ip4 : attachment.ip6)?.address;
            const { hostIp, protocol, host, container } = port;
            if (address === undefined || (hostIp !== undefined && isIP(hostIp) !== family)) return [];
            const specific = hostIp !== undefined && hostIp !== "0.0.0.0" && hostIp !== "::";
            const wanted: WantedPort = {
                map: `${protocol}${family}${specific ? `_${hex(hostIp)}` : ""}`,
                protocol,
                family,
                host: specific ? normalAddress(hostIp) : "*",
                first: host[0],
                last: host[1],
                address: normalAddress(address),
                ...(container[0] !== host[0] && { target: container[0] }),
            };
            return [wanted];
        }),
    );
}

/** For the script: `MAP PROTOCOL FAMILY HOST FIRST LAST ADDRESS TARGET` a line, `-` for no target. */
export function wantedLines(wanted: readonly WantedPort[]): string {
    return wanted
        .map(({ map, protocol, family, host, first, last, address, target = "-" }) =>
            [map, protocol, family, host, first, last, address, target].join(" "),
        )
        .join("\n");
}

/** Elements of sets that a bridge needs, `SET ELEMENT` a line. */
export function bridgeElements(attachment: Attachment): string {
    if (attachment.driver !== "bridge") return "";
    const { bridge, internal, masquerade, ip4, ip6 } = attachment;
    const name = `"${bridge}"`;
    const lines = [`bridges ${name}`, `same ${name} . ${name}`];
    if (internal) lines.push(`internal ${name}`);
    for (const [family, ip] of [[4, ip4] as const, [6, ip6] as const]) {
        if (!ip) continue;
        const subnet = formatSubnet(subnetOf(ip.address, ip.prefix));
        lines.push(`net${family} ${subnet}`);
        if (masquerade && !internal) lines.push(`out${family} ${subnet}`);
    }
    return lines.join("\n");
}

/** Chain and maps of each address of the node that a port is published on alone. Can be loaded again. */
export function addressRules(wanted: readonly WantedPort[]): string {
    const hosts = new Map(wanted.filter(({ host }) => host !== "*").map(({ host, family }) => [host, family]));
    return [...hosts].map(([host, family]) => addressTable(host, family)).join("\n");
}

function addressTable(host: string, family: 4 | 6): string {
    const suffix = `_${hex(host)}`;
    const rules = dnatRules(family, suffix);
    const mark = rulesMark(rules.join());
    return [
        `table inet ${TABLE} {`,
        ...portMaps(family, suffix),
        ` chain at${suffix} { }`,
        "}",
        `flush chain inet ${TABLE} at${suffix}`,
        ...rules.map((rule) => `add rule inet ${TABLE} at${suffix} ${rule} comment "${mark}"`),
        `add element inet ${TABLE} addresses${family} { ${host} : jump at${suffix} }`,
    ].join("\n");
}

/** What all share. Can be loaded again at any time; in one transaction, so that no packet meets half of it. */
export function baseRules(): { text: string; mark: string; count: number } {
    const chains: Record<string, { head: string; rules: string[] }> = {
        // 127/8 is routed on the bridges for ports on localhost: nothing that comes from there may call on it.
        guard: {
            head: "type filter hook prerouting priority raw;",
            rules: ["iifname @bridges ip daddr 127.0.0.0/8 drop"],
        },
        ports: {
            head: "",
            rules: [
                "ip daddr vmap @addresses4",
                "ip6 daddr vmap @addresses6",
                ...FAMILIES.flatMap((family) => dnatRules(family, "")),
            ],
        },
        // Before those of Docker and CNI.
        arriving: {
            head: "type nat hook prerouting priority dstnat - 1;",
            rules: ["fib daddr type local jump ports"],
        },
        own: {
            head: "type nat hook output priority -101;",
            // What leads away from the IPv6 loopback finds no way back: better refused at once, and tried by IPv4, than unanswered.
            rules: ["ip6 daddr ::1 return", "fib daddr type local jump ports"],
        },
        passing: {
            head: "type filter hook forward priority filter;",
            rules: [
                "iifname . oifname @same accept",
                "iifname @internal drop",
                "oifname @internal drop",
                "ct status dnat accept",
                // Networks are apart, but for what is published.
                "iifname @bridges oifname @bridges drop",
            ],
        },
        leaving: {
            head: "type nat hook postrouting priority srcnat - 1;",
            rules: [
                // A container that calls a published port of its own network (hairpin): by its source, since with br_netfilter
                // the interface is the port, not the bridge.
                "ip saddr @net4 oifname @bridges ct status dnat masquerade",
                "ip6 saddr @net6 oifname @bridges ct status dnat masquerade",
                "ip saddr 127.0.0.0/8 oifname @bridges masquerade",
                "ip saddr @out4 oifname != @bridges masquerade",
                "ip6 saddr @out6 oifname != @bridges masquerade",
            ],
        },
    };
    const rules = Object.entries(chains).flatMap(([chain, { rules }]) => rules.map((rule) => ({ chain, rule })));
    const mark = rulesMark(JSON.stringify(chains));
    const text = [
        `table inet ${TABLE} {`,
        ...FAMILIES.flatMap((family) => portMaps(family, "")),
        ...FAMILIES.flatMap((family) => [
            ` map addresses${family} { type ipv${family}_addr : verdict; }`,
            ` set net${family} { type ipv${family}_addr; flags interval; }`,
            ` set out${family} { type ipv${family}_addr; flags interval; }`,
        ]),
        " set bridges { type ifname; }",
        " set internal { type ifname; }",
        " set same { type ifname . ifname; }",
        ...Object.entries(chains).map(([name, { head }]) => ` chain ${name} { ${head} }`),
        "}",
        ...Object.keys(chains).map((chain) => `flush chain inet ${TABLE} ${chain}`),
        ...rules.map(({ chain, rule }) => `add rule inet ${TABLE} ${chain} ${rule} comment "${mark}"`),
    ].join("\n");
    return { text, mark, count: rules.length };
}

function portMaps(family: 4 | 6, suffix: string): string[] {
    return PROTOCOLS.flatMap((protocol) => [
        ` map ${protocol}${family}${suffix} { type inet_service : ipv${family}_addr; flags interval; }`,
        ` map ${protocol}${family}${suffix}_to { type inet_service : inet_service; flags interval; }`,
    ]);
}

function dnatRules(family: 4 | 6, suffix: string): string[] {
    const ip = family === 4 ? "ip" : "ip6";
    return PROTOCOLS.flatMap((protocol) => {
        const map = `${protocol}${family}${suffix}`;
        const rule = `meta nfproto ipv${family} dnat ${ip} to ${protocol} dport map @${map}`;
        return [`${rule} : ${protocol} dport map @${map}_to`, rule];
    });
}

/** Tells rules of one release from another's. */
function rulesMark(text: string): string {
    return `r${digest(text).slice(0, 10)}`;
}

function hex(address: string): string {
    const { value, family } = addressNumber(address);
    return value.toString(16).padStart(family === 4 ? 8 : 32, "0");
}

function digest(text: string): string {
    return createHash("sha256").update(text).digest("hex");
}
