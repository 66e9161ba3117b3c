/**
 * How images are called and labelled on a node. One image has up to two records in containerd:
 *
 * - `repository@sha256:…`, which never changes what it means. It keeps the content, and all claims stand on it.
 * - `repository:tag`, which people expect in `ctr image ls`. Ours only if we made it; somebody else's is left alone.
 *
 * A *claim* is a label that says which resource uses the image. A record that we brought goes with its last claim.
 */
import { createHash } from "node:crypto";
import { LONGEST_LABEL, OWNER } from "../containerd/labels";
import { ContainerdError } from "../errors";

/** On an image record: we created it. */
export const BROUGHT = "pulumi-containerd/brought";
/** Prefix of the label of a claim; what follows is the claimant's uid, the value its owner (URN). */
export const CLAIM = "pulumi-containerd/claim.";
/** On leases: what they are for. */
export const PURPOSE = "pulumi-containerd/purpose";
/** The purpose of our leases. */
export const PULL = "image-pull";

/** Who uses an image. */
export interface Claim {
    /** Unique to one life of one resource: a replacement has another one. */
    uid: string;
    /** The resource's URN. */
    owner: string;
}

/** The label of a claim. */
export function claimLabel(uid: string): string {
    return CLAIM + uid;
}

/** An owner as the value of the label `key`: itself, or where it is too long its end and a hash, which stays unique. */
export function ownerLabel(owner: string, key = OWNER): string {
    const room = LONGEST_LABEL - Buffer.byteLength(key);
    if (Buffer.byteLength(owner) <= room) return owner;
    const hash = createHash("sha256").update(owner).digest("hex").slice(0, 16);
    return `${hash}…${Buffer.from(owner)
        .subarray(-(room - 64))
        .toString("utf8")
        .replace(/^\uFFFD+/, "")}`;
}

/** The claims among a record's labels, uid to owner. */
export function claimsOf(labels: Record<string, string> | undefined): Map<string, string> {
    const claims = new Map<string, string>();
    for (const [key, value] of Object.entries(labels ?? {}))
        if (key.startsWith(CLAIM)) claims.set(key.slice(CLAIM.length), value);
    return claims;
}

/** Whether we created the record with these labels. */
export function isBrought(labels: Record<string, string> | undefined): boolean {
    return labels?.[BROUGHT] === "true";
}

/** Which image on a node: the canonical reference and the digest of its root. */
export interface ImageKey {
    /** Like `docker.io/library/nginx:1.27`. */
    reference: string;
    /** Digest of the index, or of the manifest where there is no index. */
    digest: string;
}

/** A pinned reference (`docker.io/library/nginx:1.27@sha256:…`) taken apart. Throws `Invalid` where it has no digest. */
export function keyOf(pinned: string): ImageKey {
    const at = pinned.indexOf("@");
    if (at >= 0) return { reference: pinned.slice(0, at), digest: pinned.slice(at + 1) };
    throw new ContainerdError("Invalid", `"${pinned}" has no digest: name:tag@sha256:… is expected`, {
        property: "image",
    });
}

/** The names of the two records of an image. */
export interface RecordNames {
    /** `docker.io/library/nginx@sha256:…` */
    digest: string;
    /** `docker.io/library/nginx:1.27`; absent where the reference has no tag. */
    tag: string | undefined;
}

/**
 * The names of the records for a canonical reference (`docker.io/library/nginx:1.27`, with or without `@sha256:…` behind it)
 * whose root has this digest.
 */
export function recordNames(reference: string, digest: string): RecordNames {
    const name = reference.split("@", 1)[0] ?? reference;
    const colon = name.lastIndexOf(":");
    const tagged = colon > name.lastIndexOf("/");
    const repository = tagged ? name.slice(0, colon) : name;
    return { digest: `${repository}@${digest}`, tag: tagged ? name : undefined };
}

/** The record under which the transfer service stores what it brings, until the real ones are written. */
export function incomingName(uid: string): string {
    return `pulumi-containerd.invalid/incoming:${uid}`;
}
