/** Arguments about networks that Container and Pod share. */
import type * as pulumi from "@pulumi/pulumi";
import type { Dict, Optional } from "./arguments";

/** A published port, or a range of them. Docker's short words say the same: `"127.0.0.1:8080:80/tcp"`. */
export interface PortArgs {
    /** Port in the container, or a range `"10000-19999"`. */
    container: pulumi.Input<number | string>;
    /**
     * Port or range on the node; a range has the same ports as in the container. Default: one that is chosen on the node (32768 to
     * 60999), and stays; of a range the same ports.
     */
    host?: Optional<number | string>;
    /** An address of the node, also one that is not there yet (a floating one). Default: all, IPv4 and IPv6. */
    hostIp?: Optional<string>;
    /** Default `tcp`. */
    protocol?: Optional<"tcp" | "udp" | "sctp">;
}

/** How names are looked up. */
export interface DnsArgs {
    /** Addresses of name servers. Default: the node's, without those on its loopback. */
    servers?: Optional<pulumi.Input<string>[]>;
    /** Domains that are tried for names without a dot. Default: the node's. */
    search?: Optional<pulumi.Input<string>[]>;
    /** Options of `resolv.conf`, like `ndots:2`. */
    options?: Optional<pulumi.Input<string>[]>;
}

/** What containers that share a network have in common. */
export interface NetworkingArgs {
    /**
     * Published ports: `"8080:80"`, `"127.0.0.1:8080:80/tcp"`, `"10000-19999:10000-19999/udp"`, or objects. A range is one rule,
     * however long. They move to a replacement without a gap, and are changed in place.
     */
    ports?: Optional<pulumi.Input<string | PortArgs>[]>;
    /**
     * Whether each port that the image exposes (a Pod: its members' images) is published on a host port that is chosen on the node,
     * from 32768 to 60999, and stays: see the output `published`. Ports that `ports` names are left to it. Default false.
     */
    publishAll?: Optional<boolean>;
    /** Further names in `/etc/hosts`: name to address, or to `host-gateway`, which is the node as its containers reach it. */
    hosts?: Dict<string>;
    /** Default: the name; with network `host` the node's. */
    hostname?: Optional<string>;
    /**
     * Domain of the host name: `name.domain` stands before the name in `/etc/hosts`, and it is the NIS domain (`domainname`).
     * Default: none.
     */
    domainname?: Optional<string>;
    dns?: Optional<DnsArgs>;
    /** Sysctls of the container's namespaces, like `net.core.somaxconn`. */
    sysctls?: Dict<string | number>;
}
