/**
 * A containerd on another machine, through SSH: grpc-js connects to a unix socket of ours, and each of its connections is one
 * stream over the one SSH connection.
 */
import { createServer, type Server, type Socket } from "node:net";
import { pipeline } from "node:stream";
import pLimit from "p-limit";
import type { ClientChannel } from "ssh2";
import { ContainerdError } from "../../errors";
import { shellQuote } from "../../node/shell";
import type { Said, ScriptOptions, Transport } from "../transport";
import type { SshConnection } from "./connection";
import { isConnectFailure } from "./failures";
import { tunnelSocketPath } from "./folder";

const SCRIPT_TIMEOUT = 30_000;

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

    async probe(): Promise<void> {
        (await this.#open()).destroy();
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
            pipeline(channel, socket, done);
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

    /** sshd says no more than "Connection failed": the node's shell knows more. */
    async #explained(error: ContainerdError): Promise<ContainerdError> {
        if (!isConnectFailure(error.cause)) return error;
        const script =
            'if [ -S "$1" ]; then [ -w "$1" ] && echo refused || echo denied; elif [ -e "$1" ]; then echo other; elif [ "$(id -u)" = 0 ] || ls -d "${1%/*}/." >/dev/null 2>&1; then echo absent; else echo hidden; fi';
        const said = await this.run(script, [this.socket], { timeout: 5_000 }).catch(() => undefined);
        const user = this.connection.target.user;
        const reasons: Record<string, [code: "Unreachable" | "Unauthorized", reason: string]> = {
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
