/**
 * What a node is told about the network of one container or pod: the namespaces it has, its addresses, names and ports. Made by
 * the lifecycles, written into the script of the node (`script.ts`). Plain data.
 */

import type { LinuxResources } from "../spec/types";

/** A published port or range of ports. */
export interface Port {
    protocol: "tcp" | "udp" | "sctp";
    /**
     * Address of the node: an IPv4 or IPv6 address (also one that is not there yet), `0.0.0.0` for all IPv4, `::` for all IPv6
     * addresses. Absent: all of both.
     */
    hostIp?: string;
    /** First and last port on the node. */
    host: [number, number];
    /** First and last port in the container; a range has the same ports on both sides. */
    container: [number, number];
}

/** An address in a subnet. */
export interface Address {
    /** Like `10.127.0.5` or `fd00::5`. */
    address: string;
    /** Length of the subnet's prefix in bits. */
    prefix: number;
    /** The way out of the subnet; absent where there is none. With a bridge, the bridge's own address. */
    gateway?: string;
}

/** How the namespace is connected. `network` is the network's key on the node: `bridge` for the default one, else `NAME@NAMESPACE`. */
export type Attachment =
    | { driver: "none" }
    | {
          driver: "bridge";
          network: string;
          /** Interface name of the bridge. */
          bridge: string;
          /** Bytes; the kernel's default where absent. */
          mtu?: number;
          /** No way out of the bridge, and no ports can be published. */
          internal: boolean;
          /** What leaves the node does so under the node's address. */
          masquerade: boolean;
          ip4?: Address;
          ip6?: Address;
          /**
           * On a node without IPv6: refused by name, since the user asked for IPv6. Default: false, `ip6` and ports on it are left
           * out there in silence.
           */
          needsIp6?: boolean;
          /** Like `02:42:0a:7f:00:05`. */
          mac: string;
      }
    | {
          driver: "macvlan";
          network: string;
          /** Interface of the node in that LAN. */
          parent: string;
          mode: "bridge" | "private" | "vepa" | "passthru";
          mtu?: number;
          ip4?: Address;
          ip6?: Address;
          mac: string;
      }
    | {
          driver: "cni";
          network: string;
          /** The chain of plugins, as in a CNI configuration list, in the order of ADD. */
          plugins: Record<string, unknown>[];
          cniVersion: string;
      };

/** A namespace that lies on the node by name. */
export type SharedNamespace = "net" | "ipc" | "uts" | "pid";

/** All that the script on the node has to know. */
export interface NetworkSettings {
    /** `NAME@NAMESPACE` of the container or pod whose network this is: no two on a node have the same. */
    key: string;
    /** Its folder on the node (`containerFolder`): the script, `hosts` and `resolv.conf` lie in it. */
    folder: string;
    /**
     * The namespaces that outlive processes and are joined by path: of a container `net` alone, of a pod `net`, `ipc` and `uts`.
     * `pid` is one that a process of its own holds, since the kernel ends one with its first process.
     */
    namespaces: readonly SharedNamespace[];
    /** Host name written into the UTS namespace, where that is one of `namespaces`. */
    hostname?: string;
    /** Bytes of a `/dev/shm` that members share; none where absent. */
    shm?: number;
    /** Of a pod: the control group above its members' (`/NAMESPACE/NAME`), and what it limits. */
    cgroup?: { path: string; limits: LinuxResources };
    attachment: Attachment;
    ports: readonly Port[];
    /**
     * Key of the one that this one replaces: ports that it still has are left to it at a start (`ensure`), and taken from it in
     * one transaction by `take`.
     */
    predecessor?: string;
    /** Names and aliases by which others on the same network know this one, the host name first. */
    names: readonly string[];
    /** Further lines of `/etc/hosts`: name to address. */
    hosts: Readonly<Record<string, string>>;
    dns: { servers: readonly string[]; search: readonly string[]; options: readonly string[] };
}

/** Everything of networks that does not outlive a boot: `FOLDER/KEY/net` and so on are the namespaces of one container or pod. */
export const RUN_FOLDER = "/run/pulumi-containerd";

/** Path of a namespace (or of `shm`) of a container or pod, to be joined or mounted by its members. */
export function namespacePath(key: string, kind: SharedNamespace | "shm"): string {
    return `${RUN_FOLDER}/${key}/${kind}`;
}

/** The script of a container's or pod's network, in its folder; `sh FILE ensure|take|remove|look`. */
export function networkScriptPath(folder: string): string {
    return `${folder}/network.sh`;
}

/** `/etc/hosts` of all that share the network, kept current in place by the script. */
export function hostsPath(folder: string): string {
    return `${folder}/hosts`;
}

/** `/etc/resolv.conf` of all that share the network. */
export function resolvConfPath(folder: string): string {
    return `${folder}/resolv.conf`;
}
