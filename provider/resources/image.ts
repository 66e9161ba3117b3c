/** The resource Image: an image reference on a node, its content and its unpacked snapshots. */
import * as pulumi from "@pulumi/pulumi";
import type { Dict, Optional, PlacedArgs } from "./arguments";
import { placed } from "./placement";
import { ContainerdResource } from "./resource";

/** Arguments of an {@link Image}. */
export interface ImageArgs extends PlacedArgs {
    /**
     * The reference, as in `docker pull`: `nginx:1.27`, `registry.example:5000/app@sha256:…`. A tag is looked up at the
     * registry during `preview`, and what was found is what `up` deploys.
     */
    ref: pulumi.Input<string>;
    /** A file of `docker save` or an OCI archive, on the machine that runs Pulumi, instead of a registry. */
    archive?: Optional<string>;
    /** A folder in the OCI image layout, on the machine that runs Pulumi, instead of a registry. */
    layout?: Optional<string>;
    /** Like `linux/arm64`. Default: the node's own. */
    platform?: Optional<string>;
    /** containerd's snapshotter. Default: the node's (`overlayfs`). */
    snapshotter?: Optional<string>;
    /**
     * `missing` (default) keeps the digest that was deployed while `ref` is the same text; `always` follows the tag;
     * `never` takes what the node has and fails if it has none.
     */
    pull?: Optional<"missing" | "always" | "never">;
    /** Credentials for the registry; kept as a secret. Default: `~/.docker/config.json` of the machine that runs Pulumi. */
    auth?: pulumi.Input<{ username: pulumi.Input<string>; password: pulumi.Input<string> } | undefined>;
    /** Labels on containerd's image record. */
    labels?: Dict<string>;
}

/**
 * An image on a node: pulled, unpacked, and kept from containerd's garbage collector while it is wanted.
 *
 * @example
 * const nginx = new containerd.Image("nginx", { ref: "nginx:1.27" });
 * export const digest = nginx.digest;
 *
 * Throws (as the resource's failure): `Invalid` for a malformed reference, `NotFound` for an unknown tag, `Unauthorized`,
 * `Unreachable` for a registry or node that does not answer. Source: containerd's Images, Content, Snapshots, Diff and
 * Transfer services; OCI distribution and image specifications.
 */
export class Image extends ContainerdResource {
    /** The reference in full, like `docker.io/library/nginx:1.27`. */
    declare readonly ref: pulumi.Output<string>;
    /** Digest of what the reference pointed at: of the index where there is one, else of the manifest. */
    declare readonly digest: pulumi.Output<string>;
    /** The reference with its digest, like `docker.io/library/nginx:1.27@sha256:…`: what a Container takes. */
    declare readonly pinned: pulumi.Output<string>;
    /** The node it is on. */
    declare readonly node: pulumi.Output<string>;
    /** containerd's namespace it is in. */
    declare readonly namespace: pulumi.Output<string>;
    /** Bytes of the compressed layers, the config and the manifest. */
    declare readonly size: pulumi.Output<number>;

    constructor(name: string, args: ImageArgs, opts?: pulumi.CustomResourceOptions) {
        const auth = args.auth === undefined ? undefined : pulumi.secret(args.auth);
        super(
            "Image",
            name,
            {
                ...args,
                ref: args.ref,
                auth,
                digest: undefined,
                pinned: undefined,
                ...placed(args.node),
                namespace: args.namespace,
                size: undefined,
            },
            opts,
        );
    }

    /** An image that another program manages, by its id; only read, never changed. */
    static get(name: string, id: pulumi.Input<pulumi.ID>, opts?: pulumi.CustomResourceOptions): Image {
        return new Image(name, {} as ImageArgs, { ...opts, id });
    }
}
