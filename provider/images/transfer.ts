/**
 * Pulling by the node itself: containerd's transfer service (1.7 and later) fetches, unpacks and stores, and tells how far
 * it is over a stream of its streaming service; credentials are asked for and given over another one, so that they stand
 * in no message that is kept.
 */
import { randomBytes } from "node:crypto";
import { packAny, unpackAny, type Any } from "../containerd/anys";
import type { Client } from "../containerd/client";
import { isLayer } from "../registry/oci";
import { normalizePlatform, parsePlatform } from "../registry/platform";
import { DEFAULT_SNAPSHOTTER } from "./inspect";
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
    platform: string;
    snapshotter: string;
    registry: RegistryAccess;
    meter: Meter;
    /** Milliseconds in all. */
    timeout: number;
    signal?: AbortSignal;
}

/**
 * Whether the node's containerd has the transfer service, unpacks with it for this snapshotter (by its default config, for
 * the default one alone), and can be expected to reach the registry by itself.
 */
export function canTransfer(
    plugins: readonly string[],
    reference: string,
    snapshotter: string,
    registry: RegistryAccess,
): boolean {
    if (snapshotter !== DEFAULT_SNAPSHOTTER) return false;
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
    const platform = normalizePlatform(parsePlatform(request.platform));
    const streams: NodeStream[] = [];
    try {
        const progress = await openStream(client, ended, (message) => readProgress(message, request.meter));
        streams.push(progress);
        const auth =
            registry.username === undefined ? undefined : await openStream(client, ended, answerAuth(registry));
        if (auth) streams.push(auth);
        await client.transfer.transfer(
            {
                source: await packAny("containerd.types.transfer.OCIRegistry", {
                    reference: request.pinned,
                    resolver: { auth_stream: auth?.id ?? "", default_scheme: registry.insecure ? "http" : "" },
                }),
                destination: await packAny("containerd.types.transfer.ImageStore", {
                    name: request.storeAs,
                    platforms: [platform],
                    unpacks: [{ platform, snapshotter: request.snapshotter }],
                }),
                options: { progress_stream: progress.id },
            },
            { timeout: request.timeout, signal },
        );
    } finally {
        ending.abort();
        await Promise.all(streams.map(({ done }) => done));
    }
}

/** What the node says of a failure, without what could be a secret in it: the password, logins and signatures in addresses. */
export function withoutSecrets(text: string, password?: string): string {
    const plain = text.replace(/(https?:\/\/)(?:[^\s"'/@]*@)?([^\s"'?]*)(?:\?[^\s"']*)?/g, "$1$2");
    return password ? plain.replaceAll(password, "…") : plain;
}

/** What the node says of its progress, into the meter. */
async function readProgress(message: Any, meter: Meter): Promise<void> {
    const said = await unpackAny("containerd.types.transfer.Progress", message);
    if (!said?.desc || !isLayer(said.desc.media_type)) return;
    const { digest, size } = said.desc;
    if (said.event === "downloading") meter.blob(digest, Number(said.progress));
    if (said.event === "complete" || said.event === "already exists") meter.blob(digest, Number(size));
}

/** Answers each question for credentials with those we have. */
function answerAuth({ username, password }: RegistryAccess): (message: Any) => Promise<Any | undefined> {
    return async (message) => {
        if (!(await unpackAny("containerd.types.transfer.AuthRequest", message))) return undefined;
        const answer = { authType: "CREDENTIALS" as const, username, secret: password };
        return packAny("containerd.types.transfer.AuthResponse", answer);
    };
}

/** One of containerd's streams. */
interface NodeStream {
    /** The name by which a transfer is told of it. */
    id: string;
    /** Its end, by whatever means; never rejects. */
    done: Promise<void>;
}

/** Opens a stream, waits until containerd knows it, and then sends what `answer` makes of each message, if anything. */
async function openStream(
    client: Client,
    signal: AbortSignal,
    answer: (message: Any) => Promise<Any | undefined | void>,
): Promise<NodeStream> {
    const id = `pulumi-containerd-${randomBytes(8).toString("hex")}`;
    const call = client.streaming.stream({ signal });
    await call.send(await packAny("containerd.services.streaming.v1.StreamInit", { id }));
    const messages = call[Symbol.asyncIterator]();
    await messages.next();
    const loop = async (): Promise<void> => {
        for (let next = await messages.next(); !next.done; next = await messages.next()) {
            const reply = await answer(next.value);
            if (reply) await call.send(reply);
        }
    };
    // It ends with the transfer; what went wrong is the transfer's to say.
    return { id, done: loop().catch(() => undefined) };
}
