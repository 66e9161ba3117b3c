/** What the arguments about a network must be like: of a Container, a Pod, a Network. */
import { isIP, isIPv4, isIPv6 } from "node:net";
import { formatPort, parsePorts } from "../../network/ports";
import type { ContainerInputs } from "../../spec/inputs";
import type { Failure } from "../lifecycle";
import { holdsUnknown, isUnknown } from "../unknown";
import * as s from "./schema";
import { formatPath } from "./validate";

/** A name as DNS has it, with dots. Source: RFC 1123. */
export function hostname(name: string): string | undefined {
    return /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$/.test(name)
        ? undefined
        : "must be at most 63 letters, digits, '-' and '.'";
}

export function ip(address: string): string | undefined {
    return isIP(address) ? undefined : `is no IP address: ${JSON.stringify(address)}`;
}

/** An address of `/etc/hosts`, or Docker's word for the node as its containers reach it. */
function hostAddress(address: string): string | undefined {
    return address === "host-gateway" ? undefined : ip(address);
}

export function ipv4(address: string): string | undefined {
    return isIPv4(address) ? undefined : `is no IPv4 address: ${JSON.stringify(address)}`;
}

export function ipv6(address: string): string | undefined {
    return isIPv6(address) ? undefined : `is no IPv6 address: ${JSON.stringify(address)}`;
}

function mac(address: string): string | undefined {
    return /^[0-9a-f][02468ace](?::[0-9a-f]{2}){5}$/i.test(address)
        ? undefined
        : 'must be a MAC address of one machine, like "02:42:0a:00:00:05"';
}

function plainText(text: string): string | undefined {
    return /[\0\n\r]/.test(text) ? "must be one line without control characters" : undefined;
}

const definition = s.object({
    key: s.text(),
    driver: s.oneOf("bridge", "macvlan", "cni"),
    bridge: s.optional(s.text()),
    parent: s.optional(s.text()),
    mode: s.optional(s.text()),
    subnet: s.optional(s.text()),
    gateway: s.optional(s.text()),
    subnet6: s.optional(s.text()),
    gateway6: s.optional(s.text()),
    mtu: s.optional(s.number({ min: 68 })),
    internal: s.optional(s.flag()),
    masquerade: s.optional(s.flag()),
    plugins: s.optional(s.list(s.anything())),
    cniVersion: s.optional(s.text()),
});

const network = s.either(
    s.oneOf("bridge", "host", "none"),
    s.object(
        {
            definition: s.optional(definition),
            container: s.optional(s.text("a Container")),
            pod: s.optional(s.text("a Pod")),
            ip: s.optional(s.text("an IPv4 address", ipv4)),
            ip6: s.optional(s.text("an IPv6 address", ipv6)),
            mac: s.optional(s.text("a MAC address", mac)),
            aliases: s.optional(s.list(s.text("a name", hostname))),
        },
        (value) => {
            const kinds = ["definition", "container", "pod"].filter((kind) => value[kind] !== undefined);
            return kinds.length === 1 ? undefined : "must be a Network, a Container or a Pod";
        },
    ),
);

/** A port in Docker's short words or as an object; what is wrong with them is said by {@link networkContradictions}. */
const port = s.either(
    s.scalar(),
    s.object({
        container: s.scalar(),
        host: s.optional(s.scalar()),
        hostIp: s.optional(s.text()),
        protocol: s.optional(s.text()),
    }),
);

export const networkArguments = {
    network: s.optional(network),
    ports: s.optional(s.list(port)),
    publishAll: s.optional(s.flag()),
    hosts: s.optional(s.map(s.text("an IP address", hostAddress), hostname)),
    hostname: s.optional(s.text("a host name", hostname)),
    domainname: s.optional(s.text("a domain name", hostname)),
    dns: s.optional(
        s.object({
            servers: s.optional(s.list(s.text("an IP address", ip))),
            search: s.optional(s.list(s.text("a domain", hostname))),
            options: s.optional(s.list(s.text("an option", plainText))),
        }),
    ),
    sysctls: s.optional(s.map(s.scalar(plainText), sysctl)),
};

function sysctl(name: string): string | undefined {
    return /^[a-z0-9_]+(?:[./][A-Za-z0-9_:@-]+)+$/.test(name) ? undefined : 'must be like "net.core.somaxconn"';
}

/** The sysctls that belong to namespaces, and so to one container. Source: runc, "validateSysctls". */
const NAMESPACED =
    /^(?:net\.|fs\.mqueue\.|kernel\.(?:msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced|domainname)$)/;

type Given = Pick<
    Partial<ContainerInputs>,
    "network" | "ports" | "publishAll" | "hosts" | "dns" | "domainname" | "sysctls"
>;

/** Ports in their one form, where they can be read; wrong ones stay as they are. */
export function normalizedPorts({ ports, publishAll }: Given): Pick<Given, "ports" | "publishAll"> {
    const all = publishAll === false ? { publishAll: undefined } : {};
    if (!Array.isArray(ports) || holdsUnknown(ports)) return all;
    if (ports.length === 0) return { ports: undefined, ...all };
    const { ports: parsed, wishes, problems } = parsePorts(ports);
    return problems.length ? all : { ports: [...parsed, ...wishes].map(formatPort), ...all };
}

/** The node is told all of them in one argument of a command, which the kernel limits to 128 KiB. */
const MOST_PORTS = 400;

/** What is wrong with arguments about a network together. */
export function networkContradictions(given: Given): Failure[] {
    const failures: Failure[] = [];
    const refuse = (path: unknown[], reason: string) => failures.push({ property: formatPath(path), reason });
    const { network, ports } = given;
    if (Array.isArray(ports) && !holdsUnknown(ports)) {
        for (const { index, reason } of parsePorts(ports).problems) refuse(["ports", index], reason);
        if (ports.length > MOST_PORTS)
            refuse(["ports"], `are ${ports.length}, and at most ${MOST_PORTS} go: a range counts as one`);
    }
    const shared = typeof network === "object" && !("definition" in network) && !("pod" in network);
    const publishing = [
        ...(ports !== undefined && !isUnknown(ports) && ports.length > 0 ? ["ports"] : []),
        ...(given.publishAll === true ? ["publishAll"] : []),
    ];
    for (const argument of publishing) {
        if (network === "host")
            refuse([argument], 'say nothing with network "host": the process listens on the node\'s own');
        if (network === "none") refuse([argument], 'can\'t be published without a network: leave out network "none"');
        if (shared) refuse([argument], "belong to the Container whose network it is");
        if (typeof network === "object" && "definition" in network && !isUnknown(network.definition)) {
            const { driver, internal } = network.definition;
            if (driver === "macvlan")
                refuse([argument], "are not needed on a macvlan: the container has an address in the LAN");
            if (driver === "bridge" && internal === true)
                refuse([argument], "can't be published on an internal Network");
        }
    }
    for (const key of ["hosts", "dns", "domainname"] as const) {
        if (given[key] === undefined) continue;
        if (network === "host") refuse([key], 'is the node\'s own with network "host"');
        if (shared) refuse([key], "belongs to the Container whose network it is");
    }
    for (const name of isUnknown(given.sysctls) ? [] : Object.keys(given.sysctls ?? {})) {
        const plain = name.replaceAll("/", ".");
        if (!NAMESPACED.test(plain))
            refuse(["sysctls", name], "is the whole node's, not a container's: set it on the node");
        else if (plain === "kernel.domainname" && given.domainname !== undefined)
            refuse(["sysctls", name], "is what `domainname` says: leave out one of the two");
        else if (network === "host" && plain.startsWith("net."))
            refuse(["sysctls", name], 'is the node\'s with network "host"');
    }
    return failures;
}
