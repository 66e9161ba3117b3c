/**
 * How a node is reached. A transport gives two kinds of streams, and nothing else in this package knows what lies beneath:
 * a unix socket here, ssh2 streams for machines elsewhere.
 */
import type { Duplex } from "node:stream";

/** A way to one node. Made once a run and node, shared by all resources on it. */
export interface Transport {
    /** The node's name, for messages. */
    readonly node: string;
    /** What grpc-js connects to, like `unix:///run/containerd/containerd.sock`. Throws `Unreachable`. */
    containerdAddress(): Promise<string>;
    /**
     * Opens a TCP connection from the node's point of view (`127.0.0.1` is the node's own loopback). Used by health probes.
     * Throws `Unreachable` when refused or when `timeout` (milliseconds) is over.
     */
    dial(host: string, port: number, timeout: number): Promise<Duplex>;
    /** Gives up what was opened. Safe to call twice. */
    close(): Promise<void>;
}
