/**
 * What reaches the script on a node, looked at once more: all of it but the configurations of CNI plugins becomes part of texts for
 * nft, ip or awk, or lines of files, beside being quoted for the shell. `check` says the same earlier and in better words.
 */
import { isIP } from "node:net";
import { ContainerdError } from "../errors";
import { containerFolder } from "../node/folders";
import type { Address, Attachment, NetworkSettings, Port } from "./settings";

/** In `hosts`, in the place of an address: the network's gateway, which is the node, as with Docker. */
export const HOST_GATEWAY = "host-gateway";

const KEY = /^([^@]+)@([^@]+)$/;
const HOST_NAME = /^[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?$/;
/** As the kernel takes them, without what has a meaning to nft or a shell. */
const INTERFACE = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,14}$/;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
const DNS_OPTION = /^[a-z0-9-]+(:[0-9]+)?$/;
const PROCESSORS = /^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$/;
const PLUGIN = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** Throws `Invalid`, with the property, for settings that no script can be made of. */
export function validateSettings(settings: NetworkSettings): void {
    const { key, folder, attachment, predecessor, hostname, shm, names, hosts, dns } = settings;
    requireThat(folder === folderOf(key), "folder", folder, `is not ${folderOf(key)}`);
    if (predecessor !== undefined) folderOf(predecessor);
    if (hostname !== undefined) requireName(hostname, "hostname");
    if (settings.namespaces.includes("uts")) requireThat(hostname !== undefined, "hostname", hostname, "is needed");
    requireThat(shm === undefined || (Number.isSafeInteger(shm) && shm > 0), "shm", shm, "is no size");
    names.forEach((name) => requireName(name, "names"));
    for (const [name, address] of Object.entries(hosts)) {
        requireName(name, "hosts");
        if (address !== HOST_GATEWAY) requireAddress(address, `hosts[${JSON.stringify(name)}]`);
    }
    dns.servers.forEach((server) => requireAddress(server, "dns.servers"));
    dns.search.forEach((domain) => {
        if (domain !== ".") requireName(domain.replace(/\.$/, ""), "dns.search");
    });
    dns.options.forEach((option) => requireThat(DNS_OPTION.test(option), "dns.options", option, "is no option"));
    validateCgroup(settings);
    validateAttachment(attachment);
    validatePorts(settings);
}

/** A pod's control group: of its own name, and limits that are numbers. */
function validateCgroup({ key, cgroup }: NetworkSettings): void {
    if (!cgroup) return;
    const { path, limits } = cgroup;
    const [, name, namespace] = KEY.exec(key) ?? [];
    requireThat(path === `/${namespace}/${name}`, "cgroup", path, "is not the pod's");
    const { memory = {}, cpu = {}, pids } = limits;
    const { cpus, quota, period, shares } = cpu;
    requireThat(cpus === undefined || PROCESSORS.test(cpus), "cpu.cpuset", cpus, "is no list of processors");
    const numbers = {
        ...{ "memory.limit": memory.limit, "memory.reservation": memory.reservation, "memory.swap": memory.swap },
        ...{ "cpu.cpus": quota, "cpu.period": period, "cpu.shares": shares, pidsLimit: pids?.limit },
    };
    for (const [property, value] of Object.entries(numbers))
        requireThat(value === undefined || Number.isSafeInteger(value), property, value, "is no whole number");
}

function validateAttachment(attachment: Attachment): void {
    if (attachment.driver === "none") return;
    const { network } = attachment;
    if (network !== "bridge") folderOf(network, "network");
    if (attachment.driver === "cni") {
        requireThat(attachment.plugins.length > 0, "network.plugins", "", "are none");
        requireThat(
            /^[0-9]+(\.[0-9]+){2}$/.test(attachment.cniVersion),
            "network.cniVersion",
            attachment.cniVersion,
            "is no version",
        );
        for (const { type } of attachment.plugins) {
            requireThat(
                typeof type === "string" && PLUGIN.test(type),
                "network.plugins",
                type,
                "is no type of a plugin",
            );
        }
        return;
    }
    const { mtu, mac, ip4, ip6 } = attachment;
    requireThat(
        mtu === undefined || (Number.isInteger(mtu) && mtu >= 68 && mtu <= 65535),
        "network.mtu",
        mtu,
        "is no MTU",
    );
    requireThat(MAC.test(mac), "network.mac", mac, "is no MAC address");
    requireThat(ip4 !== undefined || ip6 !== undefined, "network.ip", "", "is needed, or ip6");
    validateAddress(ip4, 4);
    validateAddress(ip6, 6);
    if (attachment.driver === "macvlan") {
        requireThat(INTERFACE.test(attachment.parent), "network.parent", attachment.parent, "is no interface");
        const modes = ["bridge", "private", "vepa", "passthru"];
        requireThat(modes.includes(attachment.mode), "network.mode", attachment.mode, `is none of ${modes.join(", ")}`);
    } else {
        requireThat(
            INTERFACE.test(attachment.bridge),
            "network.bridge",
            attachment.bridge,
            "is no name for an interface",
        );
    }
}

function validateAddress(given: Address | undefined, family: 4 | 6): void {
    if (!given) return;
    const property = family === 4 ? "network.ip" : "network.ip6";
    const bits = family === 4 ? 32 : 128;
    for (const address of [given.address, given.gateway]) {
        if (address === undefined) continue;
        requireAddress(address, property);
        requireThat(isIP(address) === family, property, address, `is no IPv${family} address`);
    }
    const { prefix } = given;
    requireThat(
        Number.isInteger(prefix) && prefix >= 0 && prefix <= bits,
        property,
        prefix,
        "is no length of a prefix",
    );
}

function validatePorts({ attachment, ports }: NetworkSettings): void {
    const numbers = ({ host, container }: Port) => [...host, ...container];
    for (const port of ports) {
        const sound = numbers(port).every((one) => Number.isInteger(one) && one >= 1 && one <= 65535);
        requireThat(sound && port.host[0] <= port.host[1], "ports", numbers(port).join(" "), "are no ports");
        const same = port.host[0] === port.host[1] || port.host[0] === port.container[0];
        requireThat(
            same && port.host[1] - port.host[0] === port.container[1] - port.container[0],
            "ports",
            numbers(port).join(" "),
            "is a shifted range",
        );
        requireThat(["tcp", "udp", "sctp"].includes(port.protocol), "ports", port.protocol, "is no protocol");
        if (port.hostIp !== undefined) requireAddress(port.hostIp, "ports");
    }
    if (ports.length === 0 || attachment.driver === "cni") return;
    const refuse = (reason: string): never => {
        throw new ContainerdError("Invalid", reason, { property: "ports" });
    };
    if (attachment.driver === "none") refuse("ports can't be published without a network");
    else if (attachment.driver === "macvlan")
        refuse("ports can't be published on a macvlan network: its address is reached directly");
    else if (attachment.internal) refuse("ports can't be published on an internal network: it has no way in or out");
    else {
        const lost = ports.find(
            ({ hostIp }) => hostIp !== undefined && !attachment[isIP(hostIp) === 4 ? "ip4" : "ip6"],
        );
        if (lost)
            refuse(
                `a port on ${lost.hostIp ?? ""} can't be published: the network has no IPv${isIP(lost.hostIp ?? "")}`,
            );
    }
}

/** The folder of a key `NAME@NAMESPACE`. */
function folderOf(key: string, property = "key"): string {
    const [, name, namespace] = KEY.exec(key) ?? [];
    requireThat(name !== undefined && namespace !== undefined, property, key, "is no NAME@NAMESPACE");
    return containerFolder(namespace ?? "", name ?? "");
}

function requireName(name: string, property: string): void {
    requireThat(HOST_NAME.test(name), property, name, "is no host name: letters, digits, dots, dashes and underscores");
}

function requireAddress(address: string, property: string): void {
    requireThat(isIP(address) !== 0 && !address.includes("%"), property, address, "is no address");
}

function requireThat(holds: boolean, property: string, value: unknown, what: string): void {
    if (holds) return;
    const shown = typeof value === "string" ? JSON.stringify(value.slice(0, 80)) : String(value);
    throw new ContainerdError("Invalid", `${shown} ${what}`, { property });
}
