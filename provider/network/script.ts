/**
 * The script that a node runs to make, mend, look at and remove the network of one container or pod. It lies in the container's
 * folder, is run as root, and needs of the node what Debian's packages iproute2, nftables, conntrack, util-linux and coreutils bring.
 * Its parts are the `*.sh.ts` beside this; here is what they are told: all data, as quoted assignments at the script's head.
 */
import { ContainerdError } from "../errors";
import { shellQuote } from "../node/shell";
import { formatSubnet, macOf, subnetOf, vethName } from "./addresses";
import { CNI } from "./cni.sh";
import { cniLines } from "./cni";
import { COMMON } from "./common.sh";
import { FOREIGN } from "./foreign.sh";
import { limitLines, LIMITS } from "./limits";
import { LINK } from "./link.sh";
import { MAIN } from "./main.sh";
import { NAMES } from "./names.sh";
import { formatPort } from "./ports";
import { addressRules, baseRules, bridgeElements, tagOf, wantedLines, wantedPorts } from "./rules";
import { RULES } from "./rules.sh";
import type { Address, Attachment, NetworkSettings } from "./settings";
import { HOST_GATEWAY, validateSettings } from "./validate";

/**
 * The script for POSIX sh: `sh network.sh ensure|take|remove|look|check`. It ends with status 0, or with status 1 and the reason as
 * the last line on stdout. It can be run at any time, by several at once, and takes less than 15 s whatever hangs.
 *
 * - `ensure`: makes everything so, whatever was there; a running process goes on. Ports that the predecessor has are left to it.
 * - `take`: the same, and takes those from it, in one transaction.
 * - `remove`: nothing is left, also of a half-made one.
 * - `look`: says what is not as it should be (`parseLook`). Changes nothing.
 * - `check`: fails with what stands in the way of an `ensure`. Changes nothing; the folder needs not exist.
 *
 * Throws `Invalid` for settings that no node can give.
 */
export function networkScript(settings: NetworkSettings): string {
    validateSettings(settings);
    const head = Object.entries(variables(settings)).map(([name, value]) => `${name}=${shellQuote(value)}`);
    const parts = [COMMON, RULES, FOREIGN, LINK, CNI, NAMES, LIMITS, MAIN].join("\n");
    // It is handed over as one argument at times, and those are limited to 128 KiB: without the comments.
    return [...head, parts.replaceAll(/^ *#.*\n/gm, "")].join("\n");
}

function variables(settings: NetworkSettings): Record<string, string> {
    const { key, folder, attachment, predecessor, namespaces } = settings;
    const wanted = wantedPorts(settings);
    const base = baseRules();
    return {
        key,
        folder,
        tag: tagOf(key),
        old: predecessor === undefined ? "" : tagOf(predecessor),
        namespaces: namespaces.join(" "),
        cgroup: settings.cgroup?.path ?? "",
        limits: settings.cgroup ? limitLines(settings.cgroup.limits) : "",
        hostname: settings.hostname ?? "",
        shm: String(settings.shm ?? 0),
        gone: "",
        moved: "",
        masquerade: attachment.driver === "bridge" && attachment.masquerade && !attachment.internal ? "yes" : "",
        wanted: wantedLines(wanted),
        sets: bridgeElements(attachment)
            .split("\n")
            .map((line) => line && `set ${line}`)
            .join("\n"),
        rules_base: base.text,
        rules_mark: base.mark,
        rules_count: String(base.count),
        rules_address: addressRules(wanted),
        veth: vethName(key),
        ...link(attachment),
        cni_plugins: cniLines(settings),
        needs_ip6: needsIp6(settings),
        ...names(settings),
    };
}

/**
 * A bridge's link-local address, given rather than made by the kernel, which would look for a second or two whether another has it.
 * Without one the bridge asks for no neighbours of IPv6.
 */
const BRIDGE_LINK_LOCAL = "fe80::1/64";

/** Of a bridge, in a subnet. */
function ownAddress({ gateway, prefix }: Address): string[] {
    return gateway === undefined ? [] : [`${gateway}/${prefix}`];
}

/** What connects the namespace; all of these are set, empty where there is none. */
function link(attachment: Attachment): Record<string, string> {
    const none = {
        driver: attachment.driver,
        network: "",
        bridge: "",
        bridge_addresses: "",
        bridge_mac: "",
        subnet4: "",
    };
    const empty = { ...none, parent: "", mode: "", mtu: "", mac: "", ip4: "", ip6: "", addresses: "", gateways: "" };
    if (attachment.driver === "none" || attachment.driver === "cni") return empty;
    const { network, mtu, mac, ip4, ip6 } = attachment;
    const both = [ip4, ip6].filter((ip) => ip !== undefined);
    const internal = attachment.driver === "bridge" && attachment.internal;
    const gateways = both.flatMap(({ gateway }) => gateway ?? []);
    const common = {
        ...empty,
        network,
        mtu: mtu === undefined ? "" : String(mtu),
        mac,
        ip4: ip4?.address ?? "",
        ip6: ip6?.address ?? "",
        addresses: both.map(({ address, prefix }) => `${address}/${prefix}`).join(" "),
        gateways: internal ? "" : gateways.join(" "),
    };
    if (attachment.driver === "macvlan") return { ...common, parent: attachment.parent, mode: attachment.mode };
    return {
        ...common,
        bridge: attachment.bridge,
        bridge_mac: macOf(gateways[0] ?? network),
        bridge_addresses: [...both.flatMap(ownAddress), ...(ip6 ? [BRIDGE_LINK_LOCAL] : [])].join(" "),
        subnet4: ip4 ? formatSubnet(subnetOf(ip4.address, ip4.prefix)) : "",
    };
}

/** What asks for IPv6, in words; empty where nobody does. */
function needsIp6({ attachment, ports }: NetworkSettings): string {
    if (attachment.driver === "macvlan") return attachment.ip6 && !attachment.ip4 ? "the network" : "";
    if (attachment.driver !== "bridge") return "";
    if (attachment.needsIp6) return `the address ${attachment.ip6?.address ?? ""}`;
    const port = ports.find(({ hostIp }) => hostIp?.includes(":"));
    return port ? `the port ${formatPort(port)}` : "";
}

/** What goes into `hosts` and `resolv.conf`. */
function names({ attachment, names, hosts, dns, predecessor }: NetworkSettings): Record<string, string> {
    const gateway = "ip4" in attachment ? (attachment.ip4?.gateway ?? attachment.ip6?.gateway) : undefined;
    const addresses = "ip4" in attachment ? [attachment.ip4?.address, attachment.ip6?.address] : [];
    const given = Object.entries(hosts).map(([name, address]) => {
        return `${address === HOST_GATEWAY ? (gateway ?? "127.0.0.1") : address}\t${name}`;
    });
    return {
        old_key: predecessor ?? "",
        names: names.join(" "),
        // Without a network it still knows itself.
        named_addresses: attachment.driver === "none" ? "127.0.1.1" : addresses.filter((one) => one).join(" "),
        hosts_head: ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", ...given].join("\n"),
        dns_servers: dns.servers.join(" "),
        dns_search: dns.search.join(" "),
        dns_options: dns.options.join(" "),
    };
}

/**
 * What is not as it should be, from what `look` printed: sentences, none when all is well. Throws `Failed` with the last line of a
 * script that could not look.
 */
export function parseLook(text: string): string[] {
    const lines = text.trimEnd().split("\n");
    if (lines.at(-1) !== "looked") {
        throw new ContainerdError("Failed", `the network could not be looked at: ${lines.at(-1) || "no answer"}`);
    }
    const wrong = lines.filter((line) => line.startsWith("wrong ")).map((line) => line.slice("wrong ".length));
    return [...new Set(wrong)];
}
