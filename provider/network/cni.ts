/** Configurations of CNI plugins, as the script hands them on. Pure. */
import { ContainerdError } from "../errors";
import type { NetworkSettings, Port } from "./settings";

/** The plugin `portmap` makes a rule for each port, and so would others. */
const MOST_PORTS = 1000;

/**
 * A line for each plugin of the chain: its type, a blank, and its configuration as JSON without the closing brace, so that the result
 * of the plugin before it can be added. Published ports go to the plugins that say they can do it (`capabilities.portMappings`).
 *
 * Throws `Invalid` where none can, and for more ports than one rule each is good for.
 */
export function cniLines({ attachment, ports }: Pick<NetworkSettings, "attachment" | "ports">): string {
    if (attachment.driver !== "cni") return "";
    const { network, plugins, cniVersion } = attachment;
    if (ports.length > 0 && !plugins.some(mapsPorts)) {
        throw new ContainerdError(
            "Invalid",
            "no plugin of this CNI network publishes ports: add portmap to its chain, with capabilities: { portMappings: true }",
            { property: "ports" },
        );
    }
    const mappings = ports.flatMap(mappingsOf);
    if (mappings.length > MOST_PORTS) {
        const reason = `${mappings.length} ports: a CNI plugin makes a rule for each; at most ${MOST_PORTS}, or take driver bridge`;
        throw new ContainerdError("Invalid", reason, { property: "ports" });
    }
    return plugins
        .map((plugin) => {
            const runtimeConfig = mapsPorts(plugin) && { runtimeConfig: { portMappings: mappings } };
            const name = network.replaceAll("@", ".");
            const json = JSON.stringify({ ...plugin, cniVersion, name, ...runtimeConfig });
            return `${String(plugin.type)} ${json.slice(0, -1)}`;
        })
        .join("\n");
}

function mapsPorts({ capabilities }: Record<string, unknown>): boolean {
    return typeof capabilities === "object" && capabilities !== null && "portMappings" in capabilities;
}

function mappingsOf({ protocol, hostIp, host, container }: Port): object[] {
    return Array.from({ length: host[1] - host[0] + 1 }, (_, index) => ({
        hostPort: host[0] + index,
        containerPort: container[0] + index,
        protocol,
        ...(hostIp !== undefined && { hostIP: hostIp }),
    }));
}
