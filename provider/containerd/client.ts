/**
 * The typed client of one node's containerd: `client.containers.get({ id })`. Every call carries the namespace and a
 * deadline, and fails with a `ContainerdError` that reads well alone.
 */
import type { Transport } from "../transport/transport";
import type { Call } from "./calls";
import type { Channel } from "./channel";
import { subjectOf } from "./grpc-errors";
import { SERVICE_NAMES, type CallOptions, type Services } from "./services";

export type { CallOptions, DuplexCall, ServerStream, Service, Services } from "./services";

/** Milliseconds that a call may take unless it says otherwise. */
export const DEFAULT_TIMEOUT = 30_000;

/** Streams that have no natural end, or one that depends on how much there is: no deadline by default. */
const UNBOUNDED = new Set(["content.read", "content.write", "events.subscribe", "streaming.stream"]);

/** What all clients of a connection share: grpc-js and protobufjs are loaded only when there is one. */
interface Wire {
    readonly channel: Channel;
    readonly calls: typeof import("./calls");
    readonly definitions: typeof import("./definitions");
    readonly marks: Marks;
}

/** Labels that say who works here, for what is made only for a moment: should its maker be killed, others know it by them. */
export type Marks = Readonly<Record<string, string>>;

/**
 * A containerd, seen from one of its namespaces.
 *
 * @example
 * const client = await Client.connect(unixTransport("local", "/run/containerd/containerd.sock"), "default");
 * const { container } = await client.containers.get({ id: "web-1" }); // throws NotFound
 * for await (const { info } of client.snapshots.list({ snapshotter: "overlayfs" })) console.log(info);
 * client.close();
 */
export class Client {
    readonly #lease: string | undefined;
    readonly #wire: Wire;
    readonly #services: Partial<Services> = {};

    /**
     * A client over the transport's channel, which is shared by all clients of that transport. Does not ask containerd
     * anything: the first call does. Throws `Unreachable` where the transport has no address to give.
     *
     * @param marks see {@link Marks}. Default: none.
     */
    static async connect(transport: Transport, namespace: string, marks: Marks = {}): Promise<Client> {
        const [calls, channels, definitions] = await Promise.all([
            import("./calls.js"),
            import("./channel.js"),
            import("./definitions.js"),
        ]);
        const channel = await channels.Channel.of(transport);
        return new Client(transport.node, namespace, undefined, { channel, calls, definitions, marks });
    }

    private constructor(
        /** The node's name, for messages. */
        readonly node: string,
        /** The containerd namespace that every call goes to. */
        readonly namespace: string,
        lease: string | undefined,
        wire: Wire,
    ) {
        this.#lease = lease;
        this.#wire = wire;
    }

    get containers(): Services["containers"] {
        return this.#service("containers");
    }
    get tasks(): Services["tasks"] {
        return this.#service("tasks");
    }
    get images(): Services["images"] {
        return this.#service("images");
    }
    get content(): Services["content"] {
        return this.#service("content");
    }
    get snapshots(): Services["snapshots"] {
        return this.#service("snapshots");
    }
    get diff(): Services["diff"] {
        return this.#service("diff");
    }
    get leases(): Services["leases"] {
        return this.#service("leases");
    }
    get namespaces(): Services["namespaces"] {
        return this.#service("namespaces");
    }
    get version(): Services["version"] {
        return this.#service("version");
    }
    get introspection(): Services["introspection"] {
        return this.#service("introspection");
    }
    /** Events of *all* namespaces: look at the envelope. */
    get events(): Services["events"] {
        return this.#service("events");
    }
    get streaming(): Services["streaming"] {
        return this.#service("streaming");
    }
    /** containerd 1.7 and later; before, its calls throw `Unsupported`. */
    get transfer(): Services["transfer"] {
        return this.#service("transfer");
    }

    /** The same connection, seen from another namespace; without a lease, because leases belong to a namespace. */
    inNamespace(namespace: string): Client {
        return namespace === this.namespace ? this : new Client(this.node, namespace, undefined, this.#wire);
    }

    /** The same, with every call under a lease. The lease must exist: an unknown one makes each call fail with `NotFound`. */
    withLease(lease: string): Client {
        return new Client(this.node, this.namespace, lease, this.#wire);
    }

    /** The labels for what is made only for a moment. */
    get marks(): Marks {
        return this.#wire.marks;
    }

    /** Gives up the connection, once for each {@link connect}; the last one closes it for derived clients too. */
    close(): void {
        this.#wire.channel.release();
    }

    /** What belongs to the connection, for what is asked once a connection (see `facts.ts`). */
    get connection(): object {
        return this.#wire.channel;
    }

    #service<K extends keyof Services>(name: K): Services[K] {
        return (this.#services[name] ??= this.#make(name));
    }

    /** One function a method, as `Services[K]` says: the definition's methods are the type's, from the same proto file. */
    #make<K extends keyof Services>(name: K): Services[K] {
        const { channel, calls, definitions } = this.#wire;
        const methods: Record<string, unknown> = {};
        for (const [pascal, method] of Object.entries(definitions.serviceDefinition(SERVICE_NAMES[name]))) {
            const camel = pascal.charAt(0).toLowerCase() + pascal.slice(1);
            const full = `${name}.${camel}`;
            const call = (options: CallOptions = {}, request?: object): Call => {
                const {
                    timeout = UNBOUNDED.has(full) ? Infinity : DEFAULT_TIMEOUT,
                    lease = this.#lease,
                    property,
                } = options;
                const subject = request && subjectOf(request);
                return {
                    channel,
                    method,
                    context: {
                        node: this.node,
                        method: full,
                        subject,
                        property,
                        socket: channel.transport.socket,
                        timeout,
                    },
                    headers: { "containerd-namespace": this.namespace, ...(lease && { "containerd-lease": lease }) },
                    options: { ...options, timeout },
                };
            };
            methods[camel] = method.requestStream
                ? (options?: CallOptions) => calls.duplex(call(options))
                : method.responseStream
                  ? (request: object, options?: CallOptions) => calls.serverStream(call(options, request), request)
                  : (request: object, options?: CallOptions) => calls.unary(call(options, request), request);
        }
        return methods as unknown as Services[K];
    }
}
