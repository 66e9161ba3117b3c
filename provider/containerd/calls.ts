/**
 * Calls over a channel: a promise for a unary one, an async iterable for streams, `ContainerdError` for whatever goes wrong.
 * What a call says and to whom is in `client.ts`.
 */
import {
    Metadata,
    type ClientDuplexStream,
    type ClientReadableStream,
    type MethodDefinition,
    type ServiceError,
} from "@grpc/grpc-js";
import { ContainerdError } from "../errors";
import type { Channel } from "./channel";
import { fromGrpc, type CallContext } from "./grpc-errors";
import type { CallOptions, DuplexCall } from "./services";

/** gRPC's status for a server that is not there. */
const UNAVAILABLE = 14;

/** All that one call needs besides its request. */
export interface Call {
    channel: Channel;
    method: MethodDefinition<object, object>;
    context: CallContext;
    headers: Readonly<Record<string, string>>;
    options: CallOptions;
}

/** A request and its answer. */
export async function unary(call: Call, request: object): Promise<object> {
    const { method, options } = call;
    const { client, metadata, deadline } = await prepare(call);
    return new Promise((resolve, reject) => {
        const running = client.makeUnaryRequest(
            method.path,
            method.requestSerialize,
            method.responseDeserialize,
            request,
            metadata,
            { deadline },
            (failure, answer) => {
                unlisten();
                if (failure) reject(asError(call, failure));
                else resolve(answer ?? {});
            },
        );
        const unlisten = onAbort(options.signal, () => running.cancel());
    });
}

/** A request and many answers. */
export function serverStream(call: Call, request: object): DuplexCall<object, object> {
    const { method } = call;
    return new GrpcStream(call, async () => {
        const { client, metadata, deadline } = await prepare(call);
        return client.makeServerStreamRequest(
            method.path,
            method.requestSerialize,
            method.responseDeserialize,
            request,
            metadata,
            {
                deadline,
            },
        );
    });
}

/** Many requests and many answers. */
export function duplex(call: Call): DuplexCall<object, object> {
    const { method } = call;
    return new GrpcStream(call, async () => {
        const { client, metadata, deadline } = await prepare(call);
        return client.makeBidiStreamRequest(
            method.path,
            method.requestSerialize,
            method.responseDeserialize,
            metadata,
            { deadline },
        );
    });
}

/** Fails before anything is sent where nobody would hear it. */
async function prepare(call: Call) {
    const { timeout = Infinity, signal } = call.options;
    if (signal?.aborted) throw cancelled(call);
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(call.headers)) metadata.set(key, value);
    try {
        const client = await call.channel.ready(metadata);
        return { client, metadata, deadline: timeout === Infinity ? Infinity : Date.now() + timeout };
    } catch (thrown) {
        if (thrown instanceof ContainerdError) throw thrown.with(call.context);
        const details = thrown instanceof Error ? thrown.message : String(thrown);
        throw fromGrpc({ code: UNAVAILABLE, details }, call.context, thrown);
    }
}

/** Where a call has failed: why. A transport that broke knows that better than grpc-js. */
function asError(call: Call, failure: ServiceError): ContainerdError {
    if (call.options.signal?.aborted) return cancelled(call);
    const broken = call.channel.transport.failure;
    if (failure.code !== UNAVAILABLE || !broken) return fromGrpc(failure, call.context);
    const { node, property, method, subject } = call.context;
    const what = [method, subject].filter(Boolean).join(" ");
    return new ContainerdError(broken.code, `${what}: ${broken.reason}`, { node, property, cause: broken });
}

function cancelled({ context, options }: Call): ContainerdError {
    const { node, property, method, subject } = context;
    const what = [method, subject].filter(Boolean).join(" ");
    return new ContainerdError("Failed", `${what}: cancelled`, { node, property, cause: options.signal?.reason });
}

/** Listens once; returns what stops that, so that a long-lived signal does not collect listeners. */
function onAbort(signal: AbortSignal | undefined, abort: () => void): () => void {
    if (!signal) return () => {};
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    return () => signal.removeEventListener("abort", abort);
}

type GrpcReadable = ClientReadableStream<object> & Partial<Pick<ClientDuplexStream<object, object>, "write" | "end">>;

/** grpc-js's streams as {@link DuplexCall}: no error event is ever unheard, no send waits for a dead call. */
class GrpcStream implements DuplexCall<object, object> {
    readonly #call: Call;
    readonly #stream: Promise<GrpcReadable>;
    readonly #waiting = new Set<(error: ContainerdError) => void>();
    #cancelled = false;
    #over: ContainerdError | undefined;

    constructor(call: Call, start: () => Promise<GrpcReadable>) {
        this.#call = call;
        this.#stream = start().then((stream) => this.#watch(stream));
        // Whoever loops or sends gets the error; a call that nobody looks at must not end the process.
        this.#stream.catch(() => {});
    }

    #watch(stream: GrpcReadable): GrpcReadable {
        const unlisten = onAbort(this.#call.options.signal, () => stream.cancel());
        const over = (error: ContainerdError) => {
            unlisten();
            this.#over ??= error;
            for (const reject of this.#waiting) reject(this.#over);
            this.#waiting.clear();
        };
        stream.on("error", (failure: Error) => {
            over(isServiceError(failure) ? asError(this.#call, failure) : ContainerdError.from(failure));
            // grpc-js only emits: a loop that begins later would wait for ever.
            stream.destroy(failure);
        });
        stream.on("status", () => over(fromGrpc({ code: 1, details: "the call has ended" }, this.#call.context)));
        if (this.#cancelled) stream.cancel();
        return stream;
    }

    async *[Symbol.asyncIterator](): AsyncGenerator<object, void, undefined> {
        const stream = await this.#stream;
        try {
            for await (const message of stream) yield message as object;
        } catch (thrown) {
            if (this.#cancelled) return;
            throw isServiceError(thrown) ? asError(this.#call, thrown) : thrown;
        } finally {
            this.cancel();
        }
    }

    async send(request: object): Promise<void> {
        const stream = await this.#stream;
        await new Promise<void>((resolve, reject) => {
            if (this.#over) return reject(this.#over);
            this.#waiting.add(reject);
            stream.write?.(request, () => {
                this.#waiting.delete(reject);
                resolve();
            });
        });
    }

    end(): void {
        void this.#stream.then(
            (stream) => stream.end?.(),
            () => {},
        );
    }

    cancel(): void {
        this.#cancelled = true;
        void this.#stream.then(
            (stream) => stream.cancel(),
            () => {},
        );
    }
}

function isServiceError(thrown: unknown): thrown is ServiceError {
    return thrown instanceof Error && "code" in thrown && typeof thrown.code === "number" && "details" in thrown;
}
