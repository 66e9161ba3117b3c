/**
 * A proxy in front of containerd's socket that counts calls, and does something at the N-th: kills, cuts, refuses. It speaks
 * HTTP/2 itself, so that it knows each call by name, and can hold back the answer of one that containerd has done.
 */
import { unlink } from "node:fs/promises";
import * as http2 from "node:http2";
import { connect, type Socket } from "node:net";

/** A call that came by. */
export interface ProxiedCall {
    /** From 1 on, since `reset`. */
    number: number;
    /** Like `containers.v1.Containers/Create`. */
    method: string;
}

/**
 * What to do with a call, asked before containerd hears of it. `forward`: nothing; `swallow`: containerd never hears of it;
 * `refuse`: answered UNAVAILABLE; `cut`: containerd does it, and then, instead of the answer, the connection is closed.
 */
export type Verdict = "forward" | "swallow" | "refuse" | "cut";

/** What decides; `answered` is called when containerd has answered a `cut` call, before the connection is closed. */
export interface Fault {
    judge(call: ProxiedCall): Verdict | Promise<Verdict>;
    answered?(): void;
}

const UNAVAILABLE = "14";
const WITHOUT_FAULT: Fault = { judge: () => "forward" };

/** The proxy. Start it with `ContainerdProxy.listen`. */
export class ContainerdProxy {
    readonly #server: http2.Http2Server;
    readonly #sockets = new Set<Socket>();
    #fault = WITHOUT_FAULT;
    #calls: ProxiedCall[] = [];

    private constructor(
        /** Path of its own socket. */
        readonly address: string,
        private readonly upstream: string,
    ) {
        // Windows as wide as the client's own: the proxy must not be what slows a pull.
        this.#server = http2.createServer({ settings: { initialWindowSize: 8 << 20 } });
        this.#server.on("connection", (socket: Socket) => {
            this.#sockets.add(socket);
            socket.once("close", () => this.#sockets.delete(socket));
        });
        this.#server.on("session", (session) => this.#serve(session));
        this.#server.on("sessionError", () => undefined);
    }

    /** Listens on a unix socket in front of containerd's. */
    static async listen(address: string, upstream: string): Promise<ContainerdProxy> {
        const proxy = new ContainerdProxy(address, upstream);
        await unlink(address).catch(() => undefined);
        await new Promise<void>((resolve, reject) => {
            proxy.#server.once("error", reject);
            proxy.#server.listen(address, resolve);
        });
        return proxy;
    }

    /** The calls since `reset`, in order. */
    get calls(): readonly ProxiedCall[] {
        return this.#calls;
    }

    /** Counts from 1 again, and judges by this from now on. */
    reset(fault: Fault = WITHOUT_FAULT): void {
        this.#calls = [];
        this.#fault = fault;
    }

    /** Cuts all connections and stops listening. */
    async close(): Promise<void> {
        const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
        for (const socket of this.#sockets) socket.destroy();
        await closed;
    }

    #serve(session: http2.ServerHttp2Session): void {
        const socket = connect(this.upstream);
        const upstream = http2.connect("http://localhost", {
            createConnection: () => socket,
            settings: { initialWindowSize: 8 << 20 },
        });
        // A lost connection on one side is a lost one on the other, as if there were no proxy.
        const end = (): void => {
            upstream.destroy();
            session.destroy();
        };
        upstream.on("error", end);
        upstream.on("close", end);
        session.on("error", end);
        session.on("close", end);
        session.on("stream", (stream, headers) => {
            stream.on("error", () => undefined);
            void this.#forward({ stream, headers, upstream, end }).catch(end);
        });
    }

    async #forward({ stream, headers, upstream, end }: Exchange): Promise<void> {
        const method = String(headers[":path"]).replace("/containerd.services.", "");
        const call = { number: this.#calls.length + 1, method };
        this.#calls.push(call);
        const fault = this.#fault;
        const verdict = await fault.judge(call);
        if (stream.destroyed || upstream.destroyed || verdict === "swallow") return;
        if (verdict === "refuse") {
            const refusal = { ":status": 200, "content-type": "application/grpc", "grpc-status": UNAVAILABLE };
            stream.respond({ ...refusal, "grpc-message": "refused by the test" }, { endStream: true });
            return;
        }
        const request = upstream.request(forwardable(headers));
        request.on("error", () => stream.close(http2.constants.NGHTTP2_CANCEL));
        stream.on("close", () => request.close(http2.constants.NGHTTP2_CANCEL));
        stream.pipe(request);
        if (verdict === "cut") {
            // Of a stream the first message is the answer: who waits for it would say nothing more.
            let over = false;
            const answered = (): void => {
                if (over) return;
                over = true;
                fault.answered?.();
                end();
            };
            request.once("data", answered);
            request.once("close", answered);
            return;
        }
        relay(request, stream);
    }
}

interface Exchange {
    stream: http2.ServerHttp2Stream;
    headers: http2.IncomingHttpHeaders;
    upstream: http2.ClientHttp2Session;
    end: () => void;
}

/** Passes an answer on: head, messages, and gRPC's status in the trailers. */
function relay(from: http2.ClientHttp2Stream, to: http2.ServerHttp2Stream): void {
    let trailers: http2.IncomingHttpHeaders = {};
    from.on("trailers", (received: http2.IncomingHttpHeaders) => (trailers = received));
    from.on("response", (head, flags) => {
        if (to.destroyed) return;
        const endStream = (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0;
        to.respond(forwardable(head), { endStream, waitForTrailers: !endStream });
        if (!endStream) from.pipe(to);
    });
    to.on("wantTrailers", () => to.sendTrailers(forwardable(trailers)));
}

/** Headers as they may be sent on: Node marks received ones by symbols. */
function forwardable(headers: http2.IncomingHttpHeaders): http2.OutgoingHttpHeaders {
    return Object.fromEntries(Object.entries(headers));
}
