/** The resource Pod: containers that share an address and run as one. */
import * as pulumi from "@pulumi/pulumi";
import type { Dict, Duration, Health, Optional, PlacedArgs, Restart } from "./arguments";
import type { ProcessArgs } from "./container";
import { endpointOf } from "./endpoint";
import { networkInput, type Network, type NetworkAttachment } from "./network";
import type { NetworkingArgs } from "./network-arguments";
import { placed, placement } from "./placement";
import { processInputs } from "./process-inputs";
import { ContainerdResource } from "./resource";

/** An init container: runs to its end, with exit status 0, before the members start. */
export interface InitContainerArgs extends ProcessArgs {
    /** Names of init containers that have to have ended before. Default: none; those run side by side. */
    after?: string[];
}

/** A member of a Pod. */
export interface MemberArgs extends ProcessArgs {
    /** Names of members that have to do their work before this one starts: run, and be healthy. It holds during `up`. */
    after?: string[];
    /** Default: the Pod's. */
    restart?: Optional<Restart>;
    /** How `up` finds out that it works; without it, a process that runs is enough. */
    health?: Health | false;
    /** How it is stopped. Default: the image's signal, else SIGTERM; `timeout` 10 s, then SIGKILL. */
    stop?: Optional<{ signal?: Optional<string>; timeout?: Duration }>;
}

/** Arguments of a {@link Pod}. */
export interface PodArgs<M extends string = string> extends PlacedArgs, NetworkingArgs {
    /** Default: the resource's name and a random suffix, so that a replacement can stand beside it. */
    name?: Optional<string>;
    /**
     * `bridge` (default): an address of the pod's own on the node's default network. `host` is the node's own network, `none` a
     * loopback alone. Or a Network, with fixed addresses and aliases if need be.
     */
    network?: Optional<"bridge" | "host" | "none"> | Network | NetworkAttachment;
    /** Run to their end before the members start, once in the pod's life: not after a restart or a reboot. */
    initContainers?: Record<string, InitContainerArgs>;
    /** The members, by name. They reach each other at `127.0.0.1` and by name, and share IPC and `/dev/shm`. */
    containers: Record<M, MemberArgs>;
    /**
     * Whether members see each other's processes, can signal them, and reach each other's root by `/proc/PID/root`. Then a process
     * beside them holds the namespace, and when it ends so do they. Default false: each member's own is its process 1.
     */
    shareProcessNamespace?: Optional<boolean>;
    /** When containerd starts a member again by itself, also at boot. Default `always`; with `once`, `no`. */
    restart?: Optional<Restart>;
    /** Memory in bytes, of all members together. `swap` is memory and swap together; -1 is unlimited. Default: unlimited. */
    memory?: ProcessArgs["memory"];
    /** Processors, of all members together. */
    cpu?: ProcessArgs["cpu"];
    /** Processes and threads, of all members together. */
    pidsLimit?: ProcessArgs["pidsLimit"];
    /** Labels on the pod's record in containerd. */
    labels?: Dict<string>;
    /** A job: all members run to their end, exit status 0 is their goal and stays so. Default false. */
    once?: boolean;
    /** A changed value replaces the pod. */
    triggers?: pulumi.Input<pulumi.Input<unknown>[] | undefined>;
    /** containerd's snapshotter. Default: the node's (`overlayfs`). */
    snapshotter?: Optional<string>;
    /** containerd's runtime. Default `io.containerd.runc.v2`. */
    runtime?: Optional<string>;
}

/** What a member became. */
export interface MemberStatus {
    /** containerd's id, as in `ctr containers ls`. */
    containerId: string;
    /** Like `sha256:…`. */
    imageDigest: string;
}

/**
 * Containers that share an address, host name, IPC and `/dev/shm`, with no process of ours beside them. `up` waits until all members
 * run and are healthy; containerd alone brings them back after a crash and at boot, with their address, ports and names.
 *
 * A member whose own arguments changed is made anew alone; ports, limits and files change in place; a replacement takes the ports
 * over once it does its work.
 *
 * @example
 * const sip = new containerd.Pod("sip", {
 *     ports: ["5060:5060/udp", "10000-19999:10000-19999/udp"],
 *     containers: {
 *         media: { image: "rtpengine:12", args: [`--interface=${containerd.self.address}!${containerd.self.nodeAddress}`] },
 *         proxy: { image: "kamailio:5.8", after: ["media"], health: { exec: ["kamcmd", "core.uptime"] } },
 *     },
 * });
 *
 * Throws (as the resource's failure): `Invalid` with the argument's path (`containers.proxy.image`), `Conflict` for a port that
 * somebody has, `Failed` and `Timeout` with a member's last log lines.
 */
export class Pod<M extends string = string> extends ContainerdResource {
    /** What it is called on the node. */
    declare readonly podName: pulumi.Output<string>;
    /** Its own address, which it keeps as long as it is there; with network `host` the node's, empty with `none`. */
    declare readonly address: pulumi.Output<string>;
    /** Where published ports answer: `5060/udp` to `edge-1.example.net:5060`. */
    declare readonly published: pulumi.Output<Record<string, string>>;
    /** Whether all members do their work. */
    declare readonly ready: pulumi.Output<boolean>;
    declare readonly members: pulumi.Output<Record<M, MemberStatus>>;
    /** The node it is on. */
    declare readonly node: pulumi.Output<string>;
    /** containerd's namespace it is in. */
    declare readonly namespace: pulumi.Output<string>;

    constructor(name: string, args: PodArgs<M>, opts?: pulumi.CustomResourceOptions) {
        const place = placed(args.node);
        const { containers, initContainers, network, ...rest } = args;
        super(
            "Pod",
            name,
            {
                ...rest,
                ...(containers !== undefined && { containers: each<MemberArgs>(containers) }),
                ...(initContainers && { initContainers: each<InitContainerArgs>(initContainers) }),
                ...(network !== undefined && { network: networkInput(network) }),
                podName: undefined,
                address: undefined,
                published: undefined,
                ready: undefined,
                members: undefined,
                ...place,
                namespace: args.namespace,
            },
            opts,
        );
        placement.set(this, place);
    }

    /**
     * `host:port` at which others reach a port of the pod: where it is published, on the node; else at its own address, which
     * only the node and its containers reach.
     */
    endpoint(port: number, protocol: "tcp" | "udp" | "sctp" = "tcp"): pulumi.Output<string> {
        return endpointOf(this, port, protocol);
    }

    /** A pod that another program manages, by its id; only read, never changed. `ready` says that its members run. */
    static get(name: string, id: pulumi.Input<pulumi.ID>, opts?: pulumi.CustomResourceOptions): Pod {
        return new Pod(name, {} as PodArgs, { ...opts, id });
    }
}

function each<T extends ProcessArgs>(members: Record<string, T>): Record<string, pulumi.Inputs> {
    return Object.fromEntries(Object.entries(members).map(([name, member]) => [name, processInputs(member)]));
}
