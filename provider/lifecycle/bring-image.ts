/** Brings an image to a node on behalf of a resource, and tells on its row how that goes. */
import type { Client } from "../containerd/client";
import { type EnsuredImage, ensureImage } from "../images/ensure";
import { formatProgress } from "../images/progress";
import { keyOf } from "../images/names";
import { cachedSource } from "../registry/cached-source";
import { parseReference } from "../registry/reference";
import { claimant } from "./ownership";
import { openSource, type Origin, registryAccess } from "./pin";
import type { Run } from "./run";

/** What is to be brought, and for whom. */
export interface BringRequest {
    /** Of the resource: whose claim it is, and on whose row progress is told. */
    owner: string;
    uid: string;
    /** UUID of its Node, where that is a resource. */
    claim?: string;
    retainOnDelete?: boolean;
    /** The reference with its digest. */
    pinned: string;
    /** Where it comes from, if not from the reference's registry. */
    origin?: Origin;
    platform?: string;
    snapshotter?: string;
    labels?: Record<string, string>;
    /** Default: `missing`. */
    pull?: "missing" | "never";
}

/** Makes the image complete on the node and claims it; what is there is not fetched. Throws what `ensureImage` throws. */
export async function bringImage(run: Run, client: Client, request: BringRequest): Promise<EnsuredImage> {
    const { owner, uid, pinned, origin = {}, platform, snapshotter, labels, pull = "missing" } = request;
    const reference = parseReference(pinned);
    const local = origin.archive ?? origin.layout;
    const opened = await openSource(run, reference, origin);
    const cache = local === undefined ? run.blobCache(owner) : undefined;
    const source = cache ? cachedSource(opened, cache) : opened;
    try {
        return await ensureImage(client, {
            ...keyOf(pinned),
            platform,
            snapshotter,
            source,
            labels,
            registry: local === undefined ? await registryAccess(run, reference.registry, origin.auth) : undefined,
            claim: { uid, owner: claimant(request) },
            pull,
            onProgress: (progress) => run.report.progress(owner, formatProgress(progress)),
            onFallback: (reason) => void warnOfDetour(run, client, owner, reference.registry, reason),
        });
    } finally {
        run.report.progress(owner, "");
        await source.close();
    }
}

/** Once a run, node and registry: what holds for one image holds for all. */
function warnOfDetour(run: Run, { node }: Client, owner: string, registry: string, reason: string): Promise<void> {
    return run.once(`detour ${node} ${registry}`, () => {
        run.report.warn(
            owner,
            `node ${node} could not pull from ${registry} by itself, so images come through the machine that runs Pulumi: ${reason}`,
        );
        return Promise.resolve();
    });
}
