/** What a Network's arguments must be like. */
import { contains, parseSubnet } from "../../network/addresses";
import { ContainerdError } from "../../errors";
import type { Failure } from "../lifecycle";
import { identifierProblem } from "../names";
import { isUnknown } from "../unknown";
import type { NetworkResourceInputs } from "../network";
import { bookkeeping, labelProblem, labelValueProblem } from "./common";
import { ipv4, ipv6 } from "./network";
import * as s from "./schema";

function subnet(family: 4 | 6): (text: string) => string | undefined {
    return (text) => {
        if (family === 6 && text === "") return undefined;
        try {
            const parsed = parseSubnet(text);
            if (parsed.family !== family) return `must be an IPv${family} subnet`;
            const [least, most] = family === 4 ? [8, 30] : [48, 120];
            if (parsed.prefix < least || parsed.prefix > most) return `must have a prefix from /${least} to /${most}`;
            return undefined;
        } catch (error) {
            return ContainerdError.from(error).reason;
        }
    };
}

/** An interface's name. Source: the kernel's `dev_valid_name`, IFNAMSIZ. */
function interfaceName(name: string): string | undefined {
    return /^[^\s/:]{1,15}$/.test(name) && name !== "." && name !== ".."
        ? undefined
        : "is no name of an interface: at most 15 characters, no space, '/' and ':'";
}

export const networkSchema = s.object({
    ...bookkeeping,
    name: s.optional(s.text("a name", identifierProblem)),
    driver: s.optional(s.oneOf("bridge", "macvlan", "cni")),
    subnet: s.optional(s.text("a subnet", subnet(4))),
    gateway: s.optional(s.text("an IPv4 address", ipv4)),
    subnet6: s.optional(s.text("a subnet", subnet(6))),
    gateway6: s.optional(s.text("an IPv6 address", ipv6)),
    mtu: s.optional(s.number({ min: 68, max: 65535 })),
    internal: s.optional(s.flag()),
    masquerade: s.optional(s.flag()),
    parent: s.optional(s.text("an interface", interfaceName)),
    mode: s.optional(s.oneOf("bridge", "private", "vepa", "passthru")),
    plugins: s.optional(s.list(s.anything())),
    cniVersion: s.optional(s.text()),
    labels: s.optional(s.map(s.scalar(labelValueProblem), labelProblem)),
    definition: s.optional(s.anything()),
    networkName: s.optional(s.anything()),
});

/** Which arguments go with which driver. */
const ONLY: Record<string, readonly (keyof NetworkResourceInputs)[]> = {
    bridge: ["internal", "masquerade"],
    macvlan: ["parent", "mode"],
    cni: ["plugins", "cniVersion"],
};

/** What is wrong with a Network's arguments together. */
export function definitionProblems(given: Partial<NetworkResourceInputs>): Failure[] {
    const failures: Failure[] = [];
    const { driver = "bridge" } = given;
    for (const [of, names] of Object.entries(ONLY)) {
        for (const name of names) {
            if (of === driver || given[name] === undefined || isUnknown(driver)) continue;
            failures.push({ property: name, reason: `belongs to driver "${of}", and this is "${driver}"` });
        }
    }
    if (driver === "macvlan" && given.parent === undefined)
        failures.push({ property: "parent", reason: "is missing: name the interface of the node in that LAN" });
    if (driver === "macvlan" && given.subnet === undefined && given.subnet6 === undefined)
        failures.push({ property: "subnet", reason: "is missing: name the LAN's subnet" });
    if (driver === "cni") {
        const plugins = isUnknown(given.plugins) ? undefined : given.plugins;
        if (given.plugins === undefined || plugins?.length === 0)
            failures.push({ property: "plugins", reason: "is missing: list the chain of plugins" });
        plugins?.forEach((plugin, index) => {
            if (isUnknown(plugin) || (typeof plugin === "object" && typeof plugin["type"] === "string")) return;
            failures.push({ property: `plugins[${index}].type`, reason: "is missing: name the plugin" });
        });
    }
    for (const [gateway, subnetName] of [
        ["gateway", "subnet"],
        ["gateway6", "subnet6"],
    ] as const) {
        const [address, within] = [given[gateway], given[subnetName]];
        if (address === undefined || isUnknown(address) || isUnknown(within)) continue;
        if (within === undefined || !contains(parseSubnet(within), address))
            failures.push({ property: gateway, reason: `must lie in \`${subnetName}\`${within ? `, ${within}` : ""}` });
    }
    return failures;
}
