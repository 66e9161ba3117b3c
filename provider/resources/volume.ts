/** The resource Volume: what containers keep beyond their own life. */
import * as pulumi from "@pulumi/pulumi";
import type { Dict, Optional, PlacedArgs } from "./arguments";
import type { Mount } from "./container";
import { placed, placement } from "./placement";
import { ContainerdResource } from "./resource";

/** Arguments of a {@link Volume}. */
export interface VolumeArgs extends PlacedArgs {
    /** What it is called on the node. Default: the resource's name and a random suffix. */
    name?: Optional<string>;
    /**
     * `local` (default) is a folder on the node, `/var/lib/pulumi-containerd/volumes/NAME@NAMESPACE/data`, that outlives every
     * container. The others are no folder: each container mounts them itself when it starts, from its own network. `nfs` and
     * `cifs` are a server's (all containers see the same); a `tmpfs` is in memory, and each container has one of its own, which is
     * gone when its process ends.
     */
    driver?: Optional<"local" | "nfs" | "cifs" | "tmpfs">;
    /**
     * As Docker's driver `local` has them: `type` of the file system, `device`, and the options `o` behind mount's `-o`, like
     * `{ device: "10.0.0.5:/export", o: "rw,nfsvers=4" }` with the driver `nfs`. With `local`, `{ type: "none", device: "/srv/data",
     * o: "bind" }` is a folder of the node's own, which is never made and never deleted; any other `type` is mounted in each
     * container. The kernel looks up no names: a server is given by its address. A password in `o` reaches the container's
     * spec, which containerd keeps in its database.
     */
    options?: Optional<{ type?: Optional<string>; device?: Optional<string>; o?: Optional<string> }>;
    /**
     * Owner (numbers; default 0) and octal mode (default `"0755"`) of the folder that a `local` volume is, set when it is made and
     * when these change. What lies in it is the containers' affair.
     */
    directory?: Optional<{ uid?: Optional<number>; gid?: Optional<number>; mode?: Optional<string> }>;
    /** Labels, kept beside the volume on the node. */
    labels?: Dict<string>;
}

/**
 * A volume: persistent data lies in these alone. It begins empty: what the image has at the place where it is mounted is hidden and
 * not copied into it, unlike with Docker.
 *
 * `pulumi destroy`, and taking it out of the program, deletes it with all that it holds, as `docker volume rm` does: give what must
 * not go so the option `protect`, or `retainOnDelete`. A *replacement* (another name, node, driver or options) is refused while the old
 * one holds anything, because the new one would begin empty. One that a container of this package mounts is not deleted.
 *
 * @example
 * const data = new containerd.Volume("pgdata", {}, { protect: true });
 * new containerd.Container("db", { image: postgres, mounts: { "/var/lib/postgresql/data": data }, … });
 *
 * Throws (as the resource's failure): `Invalid` with the argument's path, `Conflict` for a name that is taken, for one in use, and for a
 * replacement that would lose data, `Unsupported` for a file system that the node's kernel lacks. Source: containerd's Diff service,
 * OCI runtime spec (`mounts`), Docker's volume driver `local`.
 */
export class Volume extends ContainerdResource {
    /** What it is called on the node. */
    declare readonly name: pulumi.Output<string>;
    /** The folder on the node; empty for what is mounted in each container. */
    declare readonly path: pulumi.Output<string>;
    /** The node it is on. */
    declare readonly node: pulumi.Output<string>;
    /** containerd's namespace that it counts as in. */
    declare readonly namespace: pulumi.Output<string>;
    /** @internal */
    declare readonly uid: pulumi.Output<string>;
    /** @internal */
    declare readonly driver: pulumi.Output<string>;
    /** @internal */
    declare readonly options: pulumi.Output<object | undefined>;

    constructor(name: string, args: VolumeArgs = {}, opts?: pulumi.CustomResourceOptions) {
        const place = placed(args.node);
        super(
            "Volume",
            name,
            {
                ...args,
                name: args.name,
                driver: args.driver,
                options: args.options,
                uid: undefined,
                path: undefined,
                ...place,
                namespace: args.namespace,
            },
            opts,
        );
        placement.set(this, place);
    }

    /** A volume that another program manages, by its id; only read, never changed. */
    static get(name: string, id: pulumi.Input<pulumi.ID>, opts?: pulumi.CustomResourceOptions): Volume {
        return new Volume(name, {}, { ...opts, id });
    }
}

/** The inputs for an argument `mounts`: a volume as what is known of it, each part an Output of its own. */
export function mountInputs(mounts: Record<string, Mount>): Record<string, pulumi.Inputs> {
    return Object.fromEntries(Object.entries(mounts).map(([target, mount]) => [target, mountInput(mount)]));
}

function mountInput(mount: Mount): pulumi.Inputs {
    if (mount instanceof Volume) return { volume: volumeInputs(mount) };
    return mount?.volume instanceof Volume ? { ...mount, volume: volumeInputs(mount.volume) } : mount;
}

function volumeInputs({ name, namespace, uid, node, path, driver, options }: Volume): pulumi.Inputs {
    return { name, namespace, uid, node, path, driver, options };
}
