/** The resource Network: a network of a node on which containers and pods have addresses of their own. */
import * as pulumi from "@pulumi/pulumi";
import type { Dict, Optional, PlacedArgs } from "./arguments";
import { placed, placement } from "./placement";
import { ContainerdResource } from "./resource";

/** Arguments of a {@link Network}. */
export interface NetworkArgs extends PlacedArgs {
    /** Default: the resource's name and a random suffix. */
    name?: Optional<string>;
    /**
     * `bridge` (default): a bridge of its own on the node. `macvlan`: containers stand in the LAN of the interface `parent`
     * with addresses of that LAN, and neither reach the node nor publish ports. `cni`: what `plugins` make.
     */
    driver?: Optional<"bridge" | "macvlan" | "cni">;
    /** IPv4 subnet, like `10.120.7.0/24`. Default: a free-looking `/24`, the same each time; of a macvlan it must be given. */
    subnet?: Optional<string>;
    /** Default: the subnet's first address, which is the bridge's own; of a macvlan none. */
    gateway?: Optional<string>;
    /** IPv6 subnet, like `fd00:7::/64`; `""` for none. Default: one that goes with the default IPv4 subnet; with a given `subnet` none. */
    subnet6?: Optional<string>;
    /** Default: the subnet's first address. */
    gateway6?: Optional<string>;
    /** Largest packet in bytes. Default: the kernel's (1500). */
    mtu?: Optional<number>;
    /** Containers reach each other and nothing else; no ports can be published. Default false. */
    internal?: Optional<boolean>;
    /** What leaves the node has the node's address. Default true. */
    masquerade?: Optional<boolean>;
    /** Of a macvlan: the interface of the node. */
    parent?: Optional<string>;
    /** Of a macvlan. Default `bridge`. */
    mode?: Optional<"bridge" | "private" | "vepa" | "passthru">;
    /** Of `cni`: the plugins of a CNI configuration list, in order. The node must have them, in `/usr/lib/cni` or `/opt/cni/bin`. */
    plugins?: Optional<pulumi.Input<Record<string, unknown>>[]>;
    /** Of `cni`. Default `1.0.0`. */
    cniVersion?: Optional<string>;
    labels?: Dict<string>;
}

/** A place on a Network, with what is to be fixed there. */
export interface NetworkAttachment {
    network: Network;
    /** Fixed IPv4 address. A replacement then deletes the old container first. */
    ip?: Optional<string>;
    /** Fixed IPv6 address. */
    ip6?: Optional<string>;
    /** Fixed MAC address. */
    mac?: Optional<string>;
    /** Further names by which others on the network know it. */
    aliases?: Optional<pulumi.Input<string>[]>;
}

/**
 * A network on a node. It is made with the first container that starts on it, and goes with the resource; containers on it know
 * each other by name.
 *
 * @example
 * const lan = new containerd.Network("lan", { subnet: "10.120.7.0/24" });
 * new containerd.Container("db", { image: "postgres:17", network: lan });
 * new containerd.Container("web", { image: "web:1", network: { network: lan, aliases: ["www"] } });
 *
 * Throws (as the resource's failure): `Invalid` with the argument's path, `Conflict` for a subnet that overlaps a route of the
 * node or another Network, or while containers are on it that is deleted.
 */
export class Network extends ContainerdResource {
    /** containerd-style name, unique in its namespace on the node. */
    declare readonly networkName: pulumi.Output<string>;
    declare readonly subnet: pulumi.Output<string>;
    declare readonly gateway: pulumi.Output<string>;
    declare readonly subnet6: pulumi.Output<string>;
    /** The node it is on. */
    declare readonly node: pulumi.Output<string>;
    /** @internal What containers on it are told. */
    declare readonly definition: pulumi.Output<object>;

    constructor(name: string, args: NetworkArgs = {}, opts?: pulumi.CustomResourceOptions) {
        const place = placed(args.node);
        const { name: called, ...rest } = args;
        super(
            "Network",
            name,
            {
                subnet: undefined,
                gateway: undefined,
                subnet6: undefined,
                ...rest,
                ...(called !== undefined && { name: called }),
                networkName: undefined,
                definition: undefined,
                ...place,
                namespace: args.namespace,
            },
            opts,
        );
        placement.set(this, place);
    }

    /** A network that another program manages, by its id; only read, never changed. Containers may stand on it. */
    static get(name: string, id: pulumi.Input<pulumi.ID>, opts?: pulumi.CustomResourceOptions): Network {
        return new Network(name, {}, { ...opts, id });
    }
}

/** What a container's or pod's `network` becomes as an input. */
export function networkInput(
    network: Optional<string> | Network | NetworkAttachment | pulumi.CustomResource,
): pulumi.Input<unknown> {
    if (network instanceof Network) return { definition: network.definition };
    if (isAttachment(network)) {
        const { network: on, ...rest } = network;
        return { definition: on.definition, ...rest };
    }
    if (pulumi.CustomResource.isInstance(network)) return { container: network.id };
    return network as pulumi.Input<unknown>;
}

function isAttachment(network: unknown): network is NetworkAttachment {
    return typeof network === "object" && network !== null && (network as NetworkAttachment).network instanceof Network;
}
