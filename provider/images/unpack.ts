/**
 * Unpacking: each layer is applied onto a snapshot of the layers below it (containerd's Snapshots and Diff services), and
 * committed under its chain id, so that all images with the same layers share it.
 */
import { randomBytes } from "node:crypto";
import { labelBlob } from "../containerd/blobs";
import type { Client } from "../containerd/client";
import { OWNER, UID } from "../containerd/labels";
import { hasSnapshot, prepareSnapshot, removeSnapshot } from "../containerd/snapshots";
import { ContainerdError, hasCode } from "../errors";
import { UNCOMPRESSED, type Layer } from "./documents";
import { ownerLabel, type Claim } from "./names";
import { inTurn } from "./turns";

/** What containerd may take for one layer. */
const APPLY_TIMEOUT = 60 * 60_000;
/** How often an unpack by somebody else, which ended otherwise than it should, is waited for. */
const TRIES = 5;

/** Where layers are unpacked to, and on whose behalf. */
export interface UnpackTarget {
    /** The client with the lease. */
    client: Client;
    lease: string;
    snapshotter: string;
    claim: Claim;
    signal?: AbortSignal;
}

/** How many of the lowest layers are unpacked already; the highest of them is put under the lease. */
export async function unpackedLayers(to: UnpackTarget, layers: readonly Layer[]): Promise<number> {
    for (let count = layers.length; count > 0; count--) {
        const chainId = layers[count - 1]?.chainId ?? "";
        if (!(await hasSnapshot(to.client, to.snapshotter, chainId))) continue;
        await hold(to, chainId);
        return count;
    }
    return 0;
}

/**
 * Unpacks one layer, whose blob and whose parent are there. Does nothing if somebody else did it meanwhile.
 *
 * Throws `Failed` where the content is not what the config announced, or containerd cannot apply it (a broken archive, no
 * space), `Unsupported` for a compression that this containerd does not have.
 */
export function unpackLayer(to: UnpackTarget, layer: Layer, parent: string): Promise<void> {
    return inTurn(to.client, `snapshot ${to.snapshotter} ${layer.chainId}`, async () => {
        for (let attempt = 1; ; attempt++) {
            to.signal?.throwIfAborted();
            if (await hasSnapshot(to.client, to.snapshotter, layer.chainId)) return hold(to, layer.chainId);
            try {
                return await apply(to, layer, parent);
            } catch (error) {
                // Another process was quicker: its snapshot is there, or will be in a moment.
                if (!hasCode(error, "AlreadyExists") || attempt === TRIES) throw error;
            }
        }
    });
}

async function apply(to: UnpackTarget, layer: Layer, parent: string): Promise<void> {
    const { client, snapshotter } = to;
    const key = `extract-${randomBytes(8).toString("hex")} ${layer.chainId}`;
    const mounts = await prepareSnapshot(client, {
        snapshotter,
        key,
        parent,
        labels: {
            "containerd.io/snapshot.ref": layer.chainId,
            [OWNER]: ownerLabel(to.claim.owner),
            [UID]: to.claim.uid,
        },
    });
    try {
        const { descriptor } = layer;
        const { applied } = await client.diff.apply(
            {
                diff: { media_type: descriptor.mediaType, digest: descriptor.digest, size: descriptor.size },
                mounts,
            },
            { timeout: APPLY_TIMEOUT, signal: to.signal },
        );
        if (applied?.digest !== layer.diffId)
            throw new ContainerdError(
                "Failed",
                `layer ${descriptor.digest} unpacks to ${applied?.digest ?? "nothing"}, but the image's config says ` +
                    `${layer.diffId}: the image is broken`,
            );
        await client.snapshots.commit({
            snapshotter,
            name: layer.chainId,
            key,
            labels: { "containerd.io/snapshot.ref": layer.chainId },
        });
    } catch (error) {
        // Without this the lease's end would remove it, later.
        await removeSnapshot(client, snapshotter, key).catch(() => undefined);
        throw explained(error, layer);
    }
    await labelBlob(client, layer.descriptor.digest, { [UNCOMPRESSED]: layer.diffId });
}

/** Keeps a snapshot, and those below it, until the lease ends. */
async function hold(to: UnpackTarget, chainId: string): Promise<void> {
    await to.client.leases.addResource({
        id: to.lease,
        resource: { id: chainId, type: `snapshots/${to.snapshotter}` },
    });
}

/** containerd's words about a layer, made into what to do. */
function explained(error: unknown, { descriptor }: Layer): unknown {
    if (!(error instanceof ContainerdError) || error.code === "AlreadyExists") return error;
    const layer = `layer ${descriptor.digest}`;
    if (/no space left on device|disk quota exceeded/i.test(error.reason))
        return new ContainerdError("Failed", `no space left on the node for ${layer}: make room and try again`, {
            cause: error,
        });
    if (
        /zstd/.test(descriptor.mediaType) &&
        /unsupported|not supported|not implemented|no processor/i.test(error.reason)
    )
        return new ContainerdError(
            "Unsupported",
            `${layer} is compressed with zstd, which this containerd cannot unpack: use a newer one, or an image with gzip`,
            { cause: error },
        );
    if (error.code === "Failed" || error.code === "Invalid")
        return new ContainerdError("Failed", `cannot unpack ${layer}: ${error.reason}`, { cause: error });
    return error;
}
