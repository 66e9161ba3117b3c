/**
 * A containerd on another machine, through SSH: grpc-js connects to a unix socket of ours, and each of its connections is one
 * stream over the one SSH connection.
 */
import { createServer, type Server, type Socket } from "node:net";
import { pipeline } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import pLimit from "p-limit";
import type { ClientChannel } from "ssh2";
import { ContainerdError, type ErrorCode } from "../../errors";
import { shellQuote } from "../../node/shell";
import type { Said, ScriptOptions, Transport } from "../transport";
import type { SshConnection } from "./connection";
import { FORWARDING_FORBIDDEN, isConnectFailure } from "./failures";
import { tunnelSocketPath } from "./folder";

const SCRIPT_TIMEOUT = 30_000;
const PROBE_TIMEOUT = 10_000;

/** How containerd's socket is reached on the machine. */
export interface Reach {
    /** Path of containerd's socket there. */
    socket: string;
    /**
     * A command there whose stdin and stdout are a connection to that socket, for a user who may not open it, like
     * `sudo -n socat - UNIX-CONNECT:/run/containerd/containerd.sock`. Default: sshd opens the socket itself.
     */
    dial?: string;
}

/**
 * The transport to a node that is reached by SSH. `release` is called once, by `close`; `commands` is another connection for
 * scripts, where `dial` keeps this one busy.
 */
export class SshTransport implements Transport {
    readonly node: string;
    readonly socket: string;
    #server: Promise<{ server: Server; address: string }> | undefined;
    #failure: ContainerdError | undefined;
    #closed = false;
    #probing: Promise<void> | undefined;
    /** One session at a time: sshd's MaxSessions may be 1. */
    readonly #sessions = pLimit(1);

    constructor(
        private readonly connection: SshConnection,
        private readonly reach: Reach,
        private readonly release: () => Promise<void>,
        private readonly commands: SshConnection = connection,
    ) {
        this.node = connection.target.node;
        this.socket = reach.socket;
    }

    get failure(): ContainerdError | undefined {
        return this.connection.failure ?? this.#failure;
    }

    async containerdAddress(): Promise<string> {
        // Log in first: who cannot hears it here, with the reason, and not as a dead socket.
        await this.connection.client();
        const { address } = await (this.#server ??= this.#listen());
        return address;
    }

    /** One at a time, whoever asks: each is a stream, and a `dial` a session. */
    probe(): Promise<void> {
        this.#probing ??= this.#probe().finally(() => (this.#probing = undefined));
        return this.#probing;
    }

    async #probe(): Promise<void> {
        const channel = await this.#open();
        // That a command has begun says nothing about the socket: containerd speaks first, or the command ends.
        if (this.reach.dial !== undefined) await this.#firstWord(channel);
        channel.destroy();
    }

    #firstWord(channel: ClientChannel): Promise<void> {
        return new Promise((resolve, reject) => {
            const silent = new ContainerdError("Unreachable", "nothing was heard through the command of `dial`", {
                node: this.node,
            });
            const timer = setTimeout(() => reject(silent), PROBE_TIMEOUT);
            channel.once("data", () => (clearTimeout(timer), resolve()));
            channel.once("close", () => (clearTimeout(timer), reject(this.#failure ?? silent)));
        });
    }

    dial(host: string, port: number, timeout: number): Promise<ClientChannel> {
        return this.connection.openTcp(host, port, timeout);
    }

    run(script: string, args: readonly string[] = [], options: ScriptOptions = {}): Promise<Said> {
        const { timeout = SCRIPT_TIMEOUT } = options;
        // The node ends it too, should this process or the connection be gone by then.
        const limit = String(Math.ceil(timeout / 1000) + 1);
        const words = ["timeout", "-k", "1", limit, "/bin/sh", "-c", script, "sh", ...args].map(shellQuote);
        const command = `exec ${words.join(" ")}`;
        return this.#sessions(() => this.#command(command, { ...options, timeout }));
    }

    async close(): Promise<void> {
        const listening = await this.#server?.catch(() => undefined);
        this.#server = undefined;
        listening?.server.close();
        if (!this.#closed) await this.release();
        this.#closed = true;
    }

    async #listen(): Promise<{ server: Server; address: string }> {
        const file = tunnelSocketPath();
        const server = createServer((socket) => void this.#join(socket));
        await new Promise<void>((resolve, reject) => {
            server.once("error", reject);
            server.listen(file, resolve);
        });
        // What holds this process up is the work that it does, not the tunnel.
        server.unref();
        return { server, address: `unix://${file}` };
    }

    async #join(socket: Socket): Promise<void> {
        // Until a stream is there, the client waits; a failure closes its connection, and it asks for the reason by `failure`.
        socket.pause();
        socket.on("error", () => undefined);
        try {
            const channel = await this.#open();
            this.#failure = undefined;
            const done = () => undefined;
            pipeline(socket, channel, done);
            // The end of a command's output comes before its exit status, which says why: whoever is waiting shall hear that.
            if (this.reach.dial === undefined) pipeline(channel, socket, done);
            else pipeline(channel, untilClosed(channel), socket, done);
        } catch (thrown) {
            this.#failure = ContainerdError.from(thrown, { node: this.node });
            socket.destroy();
        }
    }

    async #open(): Promise<ClientChannel> {
        const { dial, socket } = this.reach;
        if (dial === undefined) {
            try {
                return await this.connection.openSocket(socket);
            } catch (thrown) {
                throw await this.#explained(ContainerdError.from(thrown));
            }
        }
        const channel = await this.connection.openCommand(dial);
        // Two pipelines and this listen to it, which is more than Node takes for a leak.
        channel.setMaxListeners(0);
        let said = "";
        channel.stderr.on("data", (chunk: Buffer) => {
            said = (said + chunk.toString()).slice(-1_000);
        });
        // Not "exit": ssh2 may emit that in the tick in which the channel opens, before anybody listens.
        channel.once("close", (code?: number | null, signal?: string) => {
            if (code === undefined) return;
            const how = code === null ? `was ended by ${signal ?? "a signal"}` : `ended with status ${code}`;
            const reason = `the command of \`dial\` (${dial}) ${how}${said.trim() && `: ${said.trim()}`}`;
            if (code !== 0) this.#failure = new ContainerdError("Unreachable", reason, { node: this.node });
        });
        return channel;
    }

    /**
     * sshd says no more than "Connection failed", also where its settings forbid it: the node's shell knows more. Flags of
     * `00010000` in /proc/net/unix: somebody listens.
     */
    async #explained(error: ContainerdError): Promise<ContainerdError> {
        if (!isConnectFailure(error.cause)) return error;
        const script =
            'if [ -S "$1" ]; then [ -w "$1" ] || { echo denied; exit; }; grep -q " 00010000 .* $(readlink -f "$1")$" /proc/net/unix 2>/dev/null && echo forbidden || echo refused; elif [ -e "$1" ]; then echo other; elif [ "$(id -u)" = 0 ] || ls -d "${1%/*}/." >/dev/null 2>&1; then echo absent; else echo hidden; fi';
        const said = await this.run(script, [this.socket], { timeout: 5_000 }).catch(() => undefined);
        const user = this.connection.target.user;
        const reasons: Record<string, [code: ErrorCode, reason: string]> = {
            forbidden: ["Unsupported", `containerd's socket ${this.socket}: ${FORWARDING_FORBIDDEN}`],
            refused: ["Unreachable", `nobody listens on containerd's socket ${this.socket}: is containerd running?`],
            denied: [
                "Unauthorized",
                `the user ${user} may not open containerd's socket ${this.socket}: log in as root, or set \`dial\` for this node, like "sudo -n socat - UNIX-CONNECT:${this.socket}"`,
            ],
            other: ["Unreachable", `${this.socket} is not a socket: is \`socket\` right?`],
            absent: [
                "Unreachable",
                `containerd's socket ${this.socket} does not exist there: is containerd installed and running?`,
            ],
            hidden: [
                "Unauthorized",
                `containerd's socket ${this.socket} is not there, or ${user} may not see it: log in as root, or set \`dial\` for this node`,
            ],
        };
        const [code, reason] = reasons[said?.stdout.trim() ?? ""] ?? ["Unreachable", error.reason];
        return new ContainerdError(code, reason, { node: this.node, cause: error });
    }

    async #command(command: string, { timeout = SCRIPT_TIMEOUT, input }: ScriptOptions): Promise<Said> {
        const channel = await this.commands.openCommand(command);
        return new Promise((resolve, reject) => {
            const stdout: Buffer[] = [];
            const stderr: Buffer[] = [];
            const timer = setTimeout(() => {
                channel.destroy();
                reject(
                    new ContainerdError("Timeout", `a script did not end within ${timeout / 1000} s`, {
                        node: this.node,
                    }),
                );
            }, timeout);
            channel.on("data", (chunk: Buffer) => stdout.push(chunk));
            channel.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
            channel.once("close", (code?: number | null) => {
                clearTimeout(timer);
                if (code === undefined) {
                    const lost = new ContainerdError("Unreachable", "the SSH connection was lost during a script", {
                        node: this.node,
                    });
                    return reject(this.commands.failure ?? lost);
                }
                resolve({
                    code: code ?? 255,
                    stdout: Buffer.concat(stdout).toString(),
                    stderr: Buffer.concat(stderr).toString(),
                });
            });
            channel.end(input ?? "");
        });
    }
}

/** A command may end its output and go on: it is not waited for longer than this (milliseconds). */
const STATUS_TIMEOUT = 1_000;

/** Gives on what a command writes, and ends when the command has: then its exit status is known. */
function untilClosed(channel: ClientChannel): (source: AsyncIterable<Buffer>) => AsyncIterable<Buffer> {
    const closed = new Promise((resolve) => channel.once("close", resolve));
    return async function* (source) {
        yield* source;
        await Promise.race([closed, sleep(STATUS_TIMEOUT, undefined, { ref: false })]);
    };
}
