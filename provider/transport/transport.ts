/**
 * How a node is reached. A transport gives streams and runs small scripts, and nothing else in this package knows what lies
 * beneath: a unix socket here, ssh2 streams for machines elsewhere.
 */
import type { Duplex } from "node:stream";
import type { ContainerdError } from "../errors";

/** What a script on a node left. */
export interface Said {
    /** Exit status. */
    code: number;
    stdout: string;
    stderr: string;
}

/** What a script on a node may be told. */
export interface ScriptOptions {
    /** Milliseconds until it is given up with `Timeout`. Default: 30,000. */
    timeout?: number;
    /** Text for its stdin. Default: none. */
    input?: string;
}

/** A way to one node. Made once a run and node, shared by all resources on it. */
export interface Transport {
    /** The node's name, for messages. */
    readonly node: string;
    /** Path of containerd's socket on the node, for messages. */
    readonly socket: string;
    /** What grpc-js connects to, like `unix:///run/containerd/containerd.sock`. Throws `Unreachable`, `Unauthorized`. */
    containerdAddress(): Promise<string>;
    /** Connects to containerd's socket and hangs up. Throws the reason when nobody answers there. */
    probe(): Promise<void>;
    /** Why the way to the node failed last; undefined while it stands. What containerd itself did is not known here. */
    readonly failure: ContainerdError | undefined;
    /**
     * Opens a TCP connection from the node's point of view (`127.0.0.1` is the node's own loopback). Used by health probes.
     * Throws `Unreachable` when refused or when `timeout` (milliseconds) is over.
     */
    dial(host: string, port: number, timeout: number): Promise<Duplex>;
    /**
     * Runs a POSIX shell script on the node, as the user who is logged in there; `args` are its `$1`, `$2`, … Whatever its
     * exit status, it resolves. Throws `Unreachable`, `Unsupported` where the node forbids commands, `Timeout`.
     */
    run(script: string, args?: readonly string[], options?: ScriptOptions): Promise<Said>;
    /** Gives up what was opened. Safe to call twice. */
    close(): Promise<void>;
}
