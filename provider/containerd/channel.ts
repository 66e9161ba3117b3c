/**
 * The gRPC channel to one containerd, shared by all clients of a transport. It mends itself after a restart of containerd,
 * and tells at once, by the transport's own error, when nobody is there: grpc-js by itself would go on failing calls until its
 * next attempt to connect.
 */
import { Client as GrpcClient, connectivityState, credentials, Metadata, type ChannelOptions } from "@grpc/grpc-js";
import { ContainerdError } from "../errors";
import type { Transport } from "../transport/transport";

const OPTIONS: ChannelOptions = {
    // containerd's own limit for a message is 16 MiB; a little more leaves room for the envelope.
    "grpc.max_receive_message_length": 32 << 20,
    "grpc.max_send_message_length": 32 << 20,
    // Only while calls run: a dead tunnel is noticed, an idle one costs nothing. Servers refuse pings that come faster.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.keepalive_permit_without_calls": 0,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1_000,
    "grpc.enable_http_proxy": 0,
    // Without it: a tenth of the throughput over an SSH tunnel.
    "grpc-node.flow_control_window": 8 << 20,
    // A method of containerd answers once: what to do after a lost connection is decided by who called.
    "grpc.enable_retries": 0,
};

/** A channel and the transport that it goes through. */
export class Channel {
    readonly #client: GrpcClient;
    #users = 0;

    private constructor(
        readonly transport: Transport,
        address: string,
    ) {
        this.#client = new GrpcClient(address, credentials.createInsecure(), OPTIONS);
    }

    static readonly #channels = new WeakMap<Transport, Promise<Channel>>();

    /** The transport's channel; the first user makes it. Throws what `containerdAddress` throws. */
    static async of(transport: Transport): Promise<Channel> {
        let made = Channel.#channels.get(transport);
        if (!made) {
            made = transport.containerdAddress().then((address) => {
                const channel = new Channel(transport, address);
                channel.#onUnused = () => Channel.#channels.delete(transport);
                return channel;
            });
            Channel.#channels.set(transport, made);
            made.catch(() => Channel.#channels.delete(transport));
        }
        const channel = await made;
        channel.#users++;
        return channel;
    }

    #onUnused: () => void = () => {};

    /** One user less; the last one closes the connection. */
    release(): void {
        if (--this.#users !== 0) return;
        this.#onUnused();
        this.#client.close();
    }

    /**
     * grpc-js's client, ready for a call. Throws the transport's own error (of a local socket, one with an errno in its
     * message) when connecting failed last time and fails now too.
     *
     * @param metadata of the call: it is told to wait for the connection where the socket is there again.
     */
    async ready(metadata: Metadata): Promise<GrpcClient> {
        // Asking a closed channel for its state would open it again.
        if (this.#users <= 0)
            throw new ContainerdError("Failed", "the connection to containerd was closed before this call");
        if (this.#client.getChannel().getConnectivityState(true) === connectivityState.TRANSIENT_FAILURE) {
            await this.transport.probe();
            metadata.setOptions({ waitForReady: true });
        }
        return this.#client;
    }
}
