/** The resource Container: what `ctr containers create` makes. No process: that is a Task. */
import * as pulumi from "@pulumi/pulumi";
import type { Dict, Optional, PlacedArgs, Size } from "./arguments";
import { declared } from "./idle";
import type { Image } from "./image";
import { placed, placement } from "./placement";
import { endpointOf } from "./endpoint";
import { networkInput, type Network, type NetworkAttachment } from "./network";
import type { NetworkingArgs } from "./network-arguments";
import { processInputs } from "./process-inputs";
import { ContainerdResource } from "./resource";
import type { Volume } from "./volume";

/**
 * A mount; its key in `mounts` is the absolute path in the container. A Volume itself, or exactly one of `volume`, `bind`, `tmpfs`
 * and `scratch`.
 */
export type Mount = Volume | MountArgs;

/** A mount, with what there is to say about it. */
export type MountArgs = (
    | {
          /** A Volume on the same node. */
          volume: Volume;
          /**
           * A path below the volume; in a folder it is made where it is missing (root's, 0755). Whoever may write into the volume can put
           * a symbolic link there, which leads the next start elsewhere on the node: say it only where all of them are trusted.
           */
          subPath?: Optional<string>;
          bind?: never;
          tmpfs?: never;
          scratch?: never;
      }
    | {
          /** Absolute path on the node; it must exist. */
          bind: pulumi.Input<string>;
          volume?: never;
          tmpfs?: never;
          scratch?: never;
          subPath?: never;
      }
    | {
          /** In memory: `size` defaults to half of the node's memory, `mode` (octal) to `"1777"`. */
          tmpfs: { size?: Size; mode?: Optional<string> };
          volume?: never;
          bind?: never;
          scratch?: never;
          subPath?: never;
      }
    | {
          /**
           * Name of a folder on the node's disk of the container's own (of the pod's, which its members share by the name): empty at
           * first, it lives through restarts and reboots, as long as the container. All users may write into it.
           */
          scratch: pulumi.Input<string>;
          volume?: never;
          bind?: never;
          tmpfs?: never;
          subPath?: never;
      }
) & {
    readOnly?: Optional<boolean>;
    /** How mounts made later travel between node and container. Default `private`. */
    propagation?: Optional<"private" | "rslave" | "rshared">;
};

/** A file; its key in `files` is the absolute path in the container. */
export interface FileArgs {
    /** Text. Exactly one of `content` and `base64`. */
    content?: Optional<string>;
    /** Bytes in base64. */
    base64?: Optional<string>;
    /** Octal. Default `"0644"`. */
    mode?: Optional<string>;
    /** Owner, a number. Default 0. */
    uid?: Optional<number>;
    /** Group, a number. Default 0. */
    gid?: Optional<number>;
    /**
     * What a running process is told when the file has changed:
     * `restart` (default) starts it anew, and until then it has the old file. With all others the file changes under the process'
     * eyes, at the same path and in the same inode. `none` tells it nothing: one that reads while it is written may find, for a
     * moment, the new content with the end of a longer old one behind it. `{ signal: "SIGHUP" }` goes to the process itself, and
     * `{ exec: ["nginx", "-s", "reload"] }` runs beside it as its user, both once the file is whole. A command that fails (or takes
     * longer than a minute, or the option `customTimeouts`' `update`) fails the update, and the file is put back as it was.
     */
    onChange?: Optional<
        "restart" | "none" | { signal: pulumi.Input<string> } | { exec: pulumi.Input<pulumi.Input<string>[]> }
    >;
}

/** What runs: an image and how its process is started. */
export interface ProcessArgs {
    /** An Image, or a reference, which is then pulled where the container goes. */
    image: pulumi.Input<string> | Image;
    /** Replaces the image's entrypoint, and drops its default arguments. */
    entrypoint?: Optional<pulumi.Input<string>[]>;
    /** Arguments after the entrypoint; replaces the image's default ones. */
    args?: Optional<pulumi.Input<string>[]>;
    /** Kubernetes' and Docker's `command` mean different things: say `entrypoint` or `args`. */
    command?: never;
    /** Environment, over the image's own. Note that containerd keeps it in its database: use `secrets` for passwords. */
    env?: Dict<string | number | boolean>;
    /** Files by absolute path. */
    files?: Record<string, pulumi.Input<string> | FileArgs>;
    /** Secret files by name: `{ pw }` becomes `/run/secrets/pw`, root's alone (0400), on the node's disk. */
    secrets?: Record<string, pulumi.Input<string>>;
    /** Mounts by absolute path in the container. */
    mounts?: Record<string, Mount>;
    /** Working directory. Default: the image's, else `/`. */
    workdir?: Optional<string>;
    /** `name`, `uid`, `name:group` or `uid:gid`. Default: the image's, else root. */
    user?: Optional<string>;
    /** A terminal for the process. Default false. */
    tty?: Optional<boolean>;
    /** The root filesystem can't be written. Default false. */
    readOnly?: Optional<boolean>;
    /** All capabilities, all devices, no seccomp. Default false. */
    privileged?: Optional<boolean>;
    /** Added to and dropped from Docker's 14; names with or without `CAP_`, or `ALL`. */
    capabilities?: Optional<{
        add?: Optional<pulumi.Input<string>[]>;
        drop?: Optional<pulumi.Input<string>[]>;
    }>;
    /** Memory in bytes. `swap` is memory and swap together, as Docker has it; -1 is unlimited. */
    memory?: Optional<{ limit?: Size; reservation?: Size; swap?: Size }>;
    /** `cpus` is a share of processors like 1.5; `shares` a weight (1024 is normal); `cpuset` a list like `0-1,3`. */
    cpu?: Optional<{ cpus?: Optional<number>; shares?: Optional<number>; cpuset?: Optional<string> }>;
    /** How many processes and threads; -1 is unlimited. Default: unlimited. */
    pidsLimit?: Optional<number>;
    /** Confinement beyond capabilities. */
    security?: Optional<{
        /** Whether set-user-ID programs gain nothing. */ noNewPrivileges?: Optional<boolean>;
        /** The filter of system calls. Default `default`. */ seccomp?: Optional<"default" | "unconfined">;
    }>;
    /** Labels on containerd's container. */
    labels?: Dict<string>;
    /** Where output goes: `file` (default) or `none`; rotated at `maxSize` (10 MiB), `maxFiles` (3) are kept in all. */
    log?: Optional<{ driver?: Optional<"file" | "none">; maxSize?: Size; maxFiles?: Optional<number> }>;
}

/** Arguments of a {@link Container}. */
export interface ContainerArgs extends PlacedArgs, ProcessArgs, NetworkingArgs {
    /** containerd's id. Default: the resource's name and a random suffix, so that a replacement can stand beside it. */
    name?: Optional<string>;
    /**
     * `bridge` (default): an address of its own on the node's default network, which ports can be published to. `host` is the
     * node's own network, `none` a loopback alone. Or a Network, with fixed addresses and aliases if need be, or another
     * Container, whose network this one then shares.
     */
    network?: Optional<"bridge" | "host" | "none"> | Network | NetworkAttachment | Container;
    /** containerd's snapshotter. Default: the node's (`overlayfs`). */
    snapshotter?: Optional<string>;
    /** containerd's runtime. Default `io.containerd.runc.v2`. */
    runtime?: Optional<string>;
}

/**
 * A container: an OCI spec, a writable snapshot, files and secrets. Nothing runs until a Task stands on it.
 *
 * @example
 * const web = new containerd.Container("web", { image: nginx, network: "host", memory: { limit: "256MiB" } });
 * new containerd.Task("web", { container: web, health: { http: { port: 80 } } });
 *
 * Throws (as the resource's failure): `Invalid` with the argument's path, `NotFound` for an image, `Unsupported` for what the
 * node lacks, `Conflict` for a name that somebody else has. Source: containerd's Containers service, OCI runtime spec.
 */
export class Container extends ContainerdResource {
    /** containerd's id, as in `ctr containers ls`. */
    declare readonly containerId: pulumi.Output<string>;
    /** Its own address, which it keeps as long as it is there; with network `host` the node's, empty with `none`. */
    declare readonly address: pulumi.Output<string>;
    /** Where published ports answer: `80/tcp` to `edge-1.example.net:8080`. */
    declare readonly published: pulumi.Output<Record<string, string>>;
    /** The node it is on. */
    declare readonly node: pulumi.Output<string>;
    /** containerd's namespace it is in. */
    declare readonly namespace: pulumi.Output<string>;
    /** The image, pinned to its digest. */
    declare readonly image: pulumi.Output<string>;
    /** @internal Changes with each restart that changed files ask for: its Task waits for health then. */
    declare readonly generation: pulumi.Output<string>;

    constructor(name: string, args: ContainerArgs, opts?: pulumi.CustomResourceOptions) {
        const place = placed(args.node);
        super(
            "Container",
            name,
            {
                ...processInputs(args),
                generation: undefined,
                containerId: undefined,
                address: undefined,
                published: undefined,
                ...(args.network !== undefined && { network: networkInput(args.network) }),
                ...place,
                namespace: args.namespace,
            },
            opts,
        );
        placement.set(this, place);
        if (opts?.id === undefined) declared(this, name);
    }

    /**
     * `host:port` at which others reach a port of the container: where it is published, on the node; else at its own address,
     * which only the node and its containers reach.
     */
    endpoint(port: number, protocol: "tcp" | "udp" | "sctp" = "tcp"): pulumi.Output<string> {
        return endpointOf(this, port, protocol);
    }

    /** A container that another program manages, by its id; only read, never changed. */
    static get(name: string, id: pulumi.Input<pulumi.ID>, opts?: pulumi.CustomResourceOptions): Container {
        return new Container(name, {} as ContainerArgs, { ...opts, id });
    }
}
