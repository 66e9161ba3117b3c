/** The resource Container: what `ctr containers create` makes. No process: that is a Task. */
import * as pulumi from "@pulumi/pulumi";
import type { Dict, Optional, PlacedArgs, Size } from "./arguments";
import { declared } from "./idle";
import { Image } from "./image";
import { placed, placement } from "./placement";
import { ContainerdResource } from "./resource";

/** A mount; its key in `mounts` is the absolute path in the container. Exactly one of `bind` and `tmpfs`. */
export type Mount = (
    | {
          /** Absolute path on the node; it must exist. */
          bind: pulumi.Input<string>;
          tmpfs?: never;
      }
    | {
          /** In memory: `size` defaults to half of the node's memory, `mode` (octal) to `"1777"`. */
          tmpfs: { size?: Size; mode?: Optional<string> };
          bind?: never;
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
     * What a changed content does to the running process: `restart` (default), or `none`, with which it keeps the old one and
     * sees the new one at its next start.
     */
    onChange?: Optional<"restart" | "none">;
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
export interface ContainerArgs extends PlacedArgs, ProcessArgs {
    /** containerd's id. Default: the resource's name and a random suffix, so that a replacement can stand beside it. */
    name?: Optional<string>;
    /**
     * `host` is the node's own network, `none` a loopback alone. The default will be `bridge`, which this version does not
     * have yet: say `host` or `none`.
     */
    network?: Optional<"bridge" | "host" | "none">;
    /** Default: the name, or with network `host` the node's. */
    hostname?: Optional<string>;
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
    /** Where its ports answer: with network `host` the node's address; empty with `none`. */
    declare readonly address: pulumi.Output<string>;
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
                ...args,
                image: args.image instanceof Image ? args.image.pinned : args.image,
                ...(args.image instanceof Image && { imageFrom: placeOf(args.image) }),
                ...(args.secrets && { secrets: secretValues(args.secrets) }),
                generation: undefined,
                containerId: undefined,
                address: undefined,
                ...place,
                namespace: args.namespace,
            },
            opts,
        );
        placement.set(this, place);
        if (opts?.id === undefined) declared(this, name);
    }

    /** `host:port` of a port of the container, for other programs. */
    endpoint(port: number): pulumi.Output<string> {
        return pulumi.interpolate`${this.address}:${port}`;
    }

    /** A container that another program manages, by its id; only read, never changed. */
    static get(name: string, id: pulumi.Input<pulumi.ID>, opts?: pulumi.CustomResourceOptions): Container {
        return new Container(name, {} as ContainerArgs, { ...opts, id });
    }
}

/** `node/namespace` of Images: one Output each, because the SDK takes a stack trace for every promise below one. */
const places = new WeakMap<Image, pulumi.Output<string>>();

function placeOf(image: Image): pulumi.Output<string> {
    const place = places.get(image) ?? pulumi.interpolate`${image.node}/${image.namespace}`;
    places.set(image, place);
    return place;
}

/** Each value on its own, so that the names stay readable in a preview. */
function secretValues(values: Record<string, pulumi.Input<string>>): Record<string, pulumi.Output<string>> {
    return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, pulumi.secret(value)]));
}
