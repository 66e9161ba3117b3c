/**
 * Bringing an image onto a node: only what is missing, by the node's own transfer service or through us, unpacked, claimed,
 * and held by a lease until its record holds it.
 */
import type { Client } from "../containerd/client";
import { nodeFacts } from "../containerd/facts";
import { ContainerdError } from "../errors";
import type { ImageConfig } from "../registry/oci";
import type { ImageSource } from "../registry/source";
import { configLabels, indexLabels, manifestLabels, readDocuments, type Documents } from "./documents";
import { fetchLayer, nodeOrSource, writeDocument, type FetchTarget } from "./fetch";
import { completeness, documentsOnNode, onNode, platformFor, snapshotterFor } from "./inspect";
import { endPullLeases, startPullLease } from "./leases";
import { Meter } from "./meter";
import { incomingName, recordNames, type Claim } from "./names";
import type { PullProgress } from "./progress";
import { claimImage } from "./records";
import { canTransfer, transferImage, type RegistryAccess, withoutSecrets } from "./transfer";
import { inTurn } from "./turns";
import { unpackedLayers, unpackLayer, type UnpackTarget } from "./unpack";

/** Most that a pull may take, in milliseconds. */
const TRANSFER_TIMEOUT = 2 * 60 * 60_000;

/** What is wanted on the node. */
export interface EnsureRequest {
    /** Canonical: `docker.io/library/nginx:1.27`. */
    reference: string;
    /** Digest of the root: the index, or the manifest where there is no index. */
    digest: string;
    /** Like `linux/arm64`. Default: the node's own. */
    platform?: string;
    /** Default: `overlayfs`. */
    snapshotter?: string;
    /** Where it comes from; opened and closed by whoever calls. */
    source: ImageSource;
    /** How the node may reach the registry; absent for layouts and archives, and whatever only we can reach. */
    registry?: RegistryAccess;
    /** Who uses it. */
    claim: Claim;
    /** `never`: it has to be there. `always` is for whoever finds the digest; here it is as `missing`. */
    pull: "missing" | "always" | "never";
    /** The user's labels, on records that are made. */
    labels?: Record<string, string>;
    /**
     * By the node's transfer service, or through us. Default: the former where the node has it and can be expected to reach
     * the registry; should it fail, the latter.
     */
    via?: "transfer" | "content";
    onProgress?: (progress: PullProgress) => void;
    /** Is told why the node could not pull by itself, where it was to, before we do it. Holds no secret. */
    onFallback?: (reason: string) => void;
    signal?: AbortSignal;
}

/** What is on the node. */
export interface EnsuredImage {
    /** Name of the record that keeps it: `docker.io/library/nginx@sha256:…`. */
    name: string;
    /** Digest of the root. */
    digest: string;
    /** Digest of the platform's manifest. */
    manifestDigest: string;
    config: ImageConfig;
    /** Name of the snapshot with all layers; empty for an image without any. */
    chainId: string;
    /** Bytes of manifest, config and compressed layers. */
    size: number;
    /** Like `linux/arm64`. */
    platform: string;
    /** Whether anything had to be fetched or unpacked. */
    brought: boolean;
}

/**
 * Makes an image complete, unpacked and claimed on a node. Nothing is fetched that is there. A failed or killed call leaves
 * no claim; what it fetched goes with its lease, or serves the next call.
 *
 * Throws `NotFound` with `pull: "never"` where it isn't there (or not all of it), `Unsupported` with property `platform` or
 * `snapshotter`, `Failed` for broken images and full disks, and what the source throws (`Unreachable`, `Unauthorized`).
 */
export async function ensureImage(client: Client, request: EnsureRequest): Promise<EnsuredImage> {
    const [platform, snapshotter] = await Promise.all([
        platformFor(client, request.platform),
        snapshotterFor(client, request.snapshotter),
    ]);
    const wanted = { ...request, platform, snapshotter };
    const there = await claimWhole(client, wanted);
    if (there) return ensured(wanted, there, false);
    if (request.pull === "never")
        throw new ContainerdError(
            "NotFound",
            `${request.reference}@${request.digest} is not (or not all) on the node, and pull is "never"`,
            { property: "pull" },
        );
    // One at a time brings one image; who waited finds it there.
    return inTurn(client, `image ${request.digest} ${platform} ${snapshotter}`, async () => {
        const documents = await claimWhole(client, wanted);
        return documents ? ensured(wanted, documents, false) : ensured(wanted, await bring(client, wanted), true);
    });
}

type Wanted = EnsureRequest & { platform: string; snapshotter: string };

function ensured(wanted: Wanted, documents: Documents, brought: boolean): EnsuredImage {
    return {
        name: recordNames(wanted.reference, wanted.digest).digest,
        digest: wanted.digest,
        manifestDigest: documents.manifest.descriptor.digest,
        config: documents.config.value,
        chainId: documents.chainId,
        size: documents.size,
        platform: documents.platform,
        brought,
    };
}

/** The image's documents if all of it is on the node, claimed then; else nothing is claimed. */
async function whole(client: Client, wanted: Wanted): Promise<Documents | undefined> {
    const documents = await documentsOnNode(client, wanted.digest, wanted.platform, wanted.reference);
    if (!documents) return undefined;
    const { complete, unpacked } = await completeness(client, documents, wanted.snapshotter);
    return complete && unpacked ? documents : undefined;
}

async function claimWhole(client: Client, wanted: Wanted): Promise<Documents | undefined> {
    const documents = await whole(client, wanted);
    if (!documents) return undefined;
    const { created } = await claimImage(client, wanted.reference, documents.root, wanted.claim, wanted.labels);
    // Until our record was there, another record's end could have taken parts away.
    if (created && !(await whole(client, wanted))) return undefined;
    return documents;
}

/** Brings what is missing, under a lease that ends with it. */
async function bring(client: Client, wanted: Wanted): Promise<Documents> {
    const lease = await startPullLease(client, wanted.claim);
    const leased = client.withLease(lease);
    const meter = new Meter(wanted.onProgress);
    try {
        if (await byTransfer(client, wanted)) await transfer(leased, wanted, meter);
        const documents = await throughUs(leased, lease, wanted, meter);
        await claimImage(client, wanted.reference, documents.root, wanted.claim, wanted.labels);
        await endPullLeases(client, wanted.claim, false);
        meter.phase("done");
        return documents;
    } catch (error) {
        // What went wrong is worth more than what goes wrong with the cleaning; the lease expires by itself.
        await endPullLeases(client, wanted.claim, true).catch(() => undefined);
        throw error;
    }
}

async function byTransfer(client: Client, { via, registry, reference, snapshotter }: Wanted): Promise<boolean> {
    if (via !== undefined) return via === "transfer";
    return registry !== undefined && canTransfer((await nodeFacts(client)).plugins, reference, snapshotter, registry);
}

/** Has the node pull. Unless that way was asked for, a failure is left for the other way to repeat or mend. */
async function transfer(leased: Client, wanted: Wanted, meter: Meter): Promise<void> {
    try {
        await transferImage(leased, {
            pinned: recordNames(wanted.reference, wanted.digest).digest,
            storeAs: incomingName(wanted.claim.uid),
            platform: wanted.platform,
            snapshotter: wanted.snapshotter,
            registry: wanted.registry ?? {},
            meter,
            timeout: TRANSFER_TIMEOUT,
            signal: wanted.signal,
        });
    } catch (error) {
        wanted.signal?.throwIfAborted();
        if (wanted.via === "transfer") throw error;
        wanted.onFallback?.(withoutSecrets(ContainerdError.from(error).reason, wanted.registry?.password));
    }
}

/** Fetches and unpacks what is missing; after a transfer that is nothing, but for its labels. */
async function throughUs(leased: Client, lease: string, wanted: Wanted, meter: Meter): Promise<Documents> {
    const { source, snapshotter, claim } = wanted;
    // If one part fails, the others need not go on.
    const failing = new AbortController();
    const signal = wanted.signal ? AbortSignal.any([wanted.signal, failing.signal]) : failing.signal;
    const fetch: FetchTarget = { client: leased, source, meter, signal };
    const unpack: UnpackTarget = { client: leased, lease, snapshotter, claim, signal };
    const read = nodeOrSource(onNode(leased), source, wanted.digest);
    const documents = await readDocuments(wanted.digest, wanted.platform, wanted.reference, read);
    meter.begin(documents);

    const fetched = documents.layers.map(({ descriptor }) => fetchLayer(fetch, descriptor));
    const work = [
        ...fetched,
        writeDocuments(fetch, documents, snapshotter),
        unpackAll(unpack, documents, fetched, meter),
    ];
    try {
        await Promise.all(work);
    } catch (error) {
        failing.abort(error);
        await Promise.allSettled(work);
        throw error;
    }
    return documents;
}

async function writeDocuments(to: FetchTarget, documents: Documents, snapshotter: string): Promise<void> {
    const { index, manifest, config } = documents;
    await Promise.all([
        writeDocument(to, config, configLabels(documents, snapshotter)),
        writeDocument(to, manifest, manifestLabels(documents)),
        index && writeDocument(to, index, indexLabels(documents)),
    ]);
}

/** Unpacks the layers from the lowest up, each as soon as it is there. */
async function unpackAll(
    to: UnpackTarget,
    { layers }: Documents,
    fetched: readonly Promise<void>[],
    meter: Meter,
): Promise<void> {
    const ready = await unpackedLayers(to, layers);
    for (const [i, layer] of layers.entries()) {
        await fetched[i];
        if (i >= ready) await unpackLayer(to, layer, layers[i - 1]?.chainId ?? "");
        meter.layers(i + 1);
    }
}
