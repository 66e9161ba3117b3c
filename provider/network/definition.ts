/** What a network is, apart from who is on it: the default one, and what a `Network` of a program says. Plain data. */

/** A network on a node. */
export interface NetworkDefinition {
    /** `bridge` for the default network, else `NAME@NAMESPACE` of the Network. */
    key: string;
    driver: "bridge" | "macvlan" | "cni";
    /** Interface name of a bridge. */
    bridge?: string;
    /** Interface of the node that a macvlan stands on. */
    parent?: string;
    /** Of a macvlan. Default: `bridge`. */
    mode?: "bridge" | "private" | "vepa" | "passthru";
    /** IPv4 subnet like `10.127.0.0/16`; absent where the network has no IPv4. */
    subnet?: string;
    /** The way out of the subnet; of a bridge, its own address. */
    gateway?: string;
    /** The same of IPv6. */
    subnet6?: string;
    gateway6?: string;
    /** Bytes; the kernel's default where absent. */
    mtu?: number;
    /** No way out, and nothing published. */
    internal?: boolean;
    /** What leaves the node does so under its address. Default: true. */
    masquerade?: boolean;
    /** A chain of CNI plugins, as in a CNI configuration list. */
    plugins?: Record<string, unknown>[];
    cniVersion?: string;
}

/** The network of every container and pod that names none. Its addresses are nobody's elsewhere, as far as private ones can be. */
export const DEFAULT_NETWORK: NetworkDefinition = {
    key: "bridge",
    driver: "bridge",
    bridge: "pulumi0",
    subnet: "10.127.0.0/16",
    gateway: "10.127.0.1",
    subnet6: "fd7c:6f6e:7461::/64",
    gateway6: "fd7c:6f6e:7461::1",
};
