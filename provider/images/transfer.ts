/**
 * Pulling by the node itself: containerd's transfer service (1.7 and later) fetches, unpacks and stores, and tells how far
 * it is over a stream of its streaming service; credentials are asked for and given over another one, so that they stand
 * in no message that is kept.
 */
import { randomBytes } from "node:crypto";
import type { Client } from "../containerd/client";
import type { Any__Output as Any } from "../containerd/generated/google/protobuf/Any";
import type { AuthRequest__Output as AuthRequest } from "../containerd/generated/containerd/types/transfer/AuthRequest";
import type { Progress__Output as Progress } from "../containerd/generated/containerd/types/transfer/Progress";
import type { DuplexCall } from "../containerd/services";
import { hasCode } from "../errors";
import { parsePlatform } from "../registry/platform";
import type { Meter } from "./meter";

/** How the node may reach the registry. */
export interface RegistryAccess {
    /** Plain HTTP. */
    insecure?: boolean;
    username?: string;
    password?: string;
    /** Mirrors to be asked first; the transfer service takes none from us. */
    mirrors?: string[];
    /**
     * Whether the node reaches the registry under the same name as we do. Default: unless its host is a loopback address,
     * which on the node is another machine.
     */
    fromNode?: boolean;
}

/** What to bring. */
export interface TransferRequest {
    /** `repository@sha256:…` */
    pinned: string;
    /** Name of the image record to be stored; whoever calls deletes it. */
    storeAs: string;
    /** Labels on that record. */
    labels: Record<string, string>;
    platform: string;
    snapshotter: string;
    registry: RegistryAccess;
    meter: Meter;
    /** Milliseconds in all. */
    timeout: number;
    signal?: AbortSignal;
}

/** Whether the node's containerd has the transfer service, and can be expected to reach the registry by itself. */
export function canTransfer(plugins: readonly string[], reference: string, registry: RegistryAccess): boolean {
    if (!plugins.includes("io.containerd.grpc.v1.transfer") || !plugins.includes("io.containerd.grpc.v1.streaming"))
        return false;
    if (registry.mirrors?.length) return false;
    return registry.fromNode ?? !isLoopback(reference);
}

function isLoopback(reference: string): boolean {
    const host = reference.split("/", 1)[0] ?? "";
    return /^(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?$/.test(host);
}

/** Has the node pull and unpack. Throws what containerd says; its `unknown` errors come as `Failed`. */
export async function transferImage(client: Client, request: TransferRequest): Promise<void> {
    const { registry, signal } = request;
    const ending = new AbortController();
    const ended = signal ? AbortSignal.any([signal, ending.signal]) : ending.signal;
    const progress = `pulumi-progress-${randomBytes(8).toString("hex")}`;
    const auth = registry.username === undefined ? "" : `pulumi-auth-${randomBytes(8).toString("hex")}`;
    const background = [await receiveProgress(client, progress, request.meter, ended)];
    if (auth) background.push(await answerAuth(client, auth, registry, ended));
    const [os, architecture, variant] = platformParts(request.platform);
    try {
        await client.transfer.transfer(
            {
                source: await pack(client, "containerd.types.transfer.OCIRegistry", {
                    reference: request.pinned,
                    resolver: { auth_stream: auth, default_scheme: registry.insecure ? "http" : "" },
                }),
                destination: await pack(client, "containerd.types.transfer.ImageStore", {
                    name: request.storeAs,
                    labels: request.labels,
                    platforms: [{ os, architecture, variant }],
                    unpacks: [{ platform: { os, architecture, variant }, snapshotter: request.snapshotter }],
                }),
                options: { progress_stream: progress },
            },
            { timeout: request.timeout, signal },
        );
    } finally {
        ending.abort();
        await Promise.all(background);
    }
}

/** Reads the node's progress into the meter until the stream ends. The promise inside never rejects. */
async function receiveProgress(
    client: Client,
    id: string,
    meter: Meter,
    signal: AbortSignal,
): Promise<Promise<void>> {
    const stream = await openStream(client, id, signal);
    return forEach(stream, async (message) => {
        const { event, desc, progress } = await unpack<Progress>("containerd.types.transfer.Progress", message);
        if (!desc || !/layer|rootfs\.diff/.test(desc.media_type)) return;
        if (event === "downloading") meter.blob(desc.digest, Number(progress));
        if (event === "complete" || event === "already exists") meter.blob(desc.digest, Number(desc.size));
    });
}

/** Gives the credentials whenever the node asks for them. The promise inside never rejects. */
async function answerAuth(
    client: Client,
    id: string,
    { username, password }: RegistryAccess,
    signal: AbortSignal,
): Promise<Promise<void>> {
    const stream = await openStream(client, id, signal);
    return forEach(stream, async (message) => {
        await unpack<AuthRequest>("containerd.types.transfer.AuthRequest", message);
        const answer = { authType: "CREDENTIALS", username, secret: password };
        await stream.send(await pack(client, "containerd.types.transfer.AuthResponse", answer));
    });
}

/** One of containerd's streams: how to send, and what comes. */
interface OpenStream {
    call: DuplexCall<Any, Any>;
    messages: AsyncIterator<Any>;
}

/** Opens one of containerd's streams under an id of ours, and waits until it is known there. */
async function openStream(client: Client, id: string, signal: AbortSignal): Promise<OpenStream> {
    const call = client.streaming.stream({ signal });
    await call.send(encodeAny("containerd.services.streaming.v1.StreamInit", { id }));
    const messages = call[Symbol.asyncIterator]();
    await messages.next();
    return { call, messages };
}

/** Each message in turn, until the stream ends somehow. Never rejects. */
async function forEach({ messages }: OpenStream, work: (message: Any) => Promise<void> | void): Promise<void> {
    try {
        for (let next = await messages.next(); !next.done; next = await messages.next()) await work(next.value);
    } catch {
        // The stream ends with the transfer, by whatever means; what went wrong is the transfer's to say.
    }
}
