/**
 * Reads what lies below mounts on a node: the Diff service makes a tar of the difference to nothing, the content store gives
 * it. That tar is in the store only as long as it is read. Source: containerd.services.diff.v1.Diff.Diff.
 */
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { extract, type Header } from "tar-stream";
import { hasCode } from "../errors";
import { streamBlob } from "./blobs";
import type { Client } from "./client";
import type { Mount } from "./generated/containerd/types/Mount";
import { endLease, startLease } from "./leases";

const TAR = "application/vnd.oci.image.layer.v1.tar";
/** containerd packs a folder in this time. Milliseconds. */
const TIMEOUT = 120_000;

/** An entry of the tar. `content` is to be read, or left alone, before the next entry is asked for. */
export interface MountEntry {
    header: Header;
    content: AsyncIterable<unknown>;
}

/**
 * All entries below the mounts, which containerd mounts one over the other in a temporary folder, read-only. Names are
 * relative (`etc/`, `etc/passwd`). Where what is to be mounted does not exist, there are none.
 */
export async function* readMounts(client: Client, mounts: Mount[]): AsyncGenerator<MountEntry, void, undefined> {
    const { leased, id } = await startLease(client, { owner: "files" });
    try {
        const digest = await pack(leased, mounts);
        if (digest === undefined) return;
        const unpacking = extract();
        const reading = Readable.from(streamBlob(leased, digest));
        reading.on("error", (error) => unpacking.destroy(error));
        reading.pipe(unpacking);
        try {
            for await (const entry of unpacking) {
                yield { header: entry.header, content: entry };
                entry.resume();
            }
        } finally {
            reading.destroy();
        }
    } finally {
        await endLease(client, id);
    }
}

/** Digest of a tar of the mounts in the content store; undefined where there is nothing to mount. */
async function pack(client: Client, mounts: Mount[]): Promise<string | undefined> {
    const ref = `pulumi-containerd-read-${randomBytes(8).toString("hex")}`;
    try {
        const { diff } = await client.diff.diff(
            { left: [], right: mounts, media_type: TAR, ref },
            { timeout: TIMEOUT },
        );
        return diff?.digest;
    } catch (thrown) {
        if (hasCode(thrown, "NotFound", "Failed") && /no such file or directory|not a directory/.test(thrown.reason))
            return undefined;
        throw thrown;
    }
}

/** All bytes of a stream (tar-stream's types do not say that its streams give bytes). */
export async function collect(stream: AsyncIterable<unknown>): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    for await (const part of stream) parts.push(part as Uint8Array);
    return Buffer.concat(parts);
}
