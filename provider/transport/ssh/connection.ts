/**
 * One SSH connection to one machine: made when first wanted, made again when it was lost, shared by all that goes there.
 * Source: RFC 4254 and OpenSSH's PROTOCOL file (`direct-streamlocal@openssh.com`).
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Client, ClientChannel, ConnectConfig } from "ssh2";
import { ContainerdError, type ErrorCode } from "../../errors";
import { connectFailure, isRefusedLogin, openFailure, type SshFailure } from "./failures";
import { hostKeyError } from "./host-key";
import { keepKeys } from "./packet-keys";
import type { SshTarget } from "./target";

/** Milliseconds between attempts to connect, for what passes by itself: a busy sshd, a short cut. */
const BACKOFF = [250, 1_000, 3_000];
/** How long a failure counts for those who come after: a node that is down must not take each resource's time. */
const FAILURE_LASTS = 5_000;
const OPEN_TIMEOUT = 20_000;

/** An SSH connection that mends itself. */
export class SshConnection {
    #client: Promise<Client> | undefined;
    #failed: { error: ContainerdError; until: number } | undefined;
    #closed = false;
    /** Why the connection ended last, unless it stands again. */
    failure: ContainerdError | undefined;

    constructor(
        readonly target: SshTarget,
        /** The connection through which this one goes. */
        private readonly via?: SshConnection,
    ) {}

    /** Stands for the machine in messages, like `deploy@192.0.2.7:22`. */
    get label(): string {
        const { user, host, port } = this.target;
        return `${user}@${host.includes(":") ? `[${host}]` : host}:${port}`;
    }

    /** The connection. Throws `Unreachable`, `Unauthorized`. */
    async client(): Promise<Client> {
        if (this.#closed) throw this.error("Failed", "the SSH connection was closed before this call");
        if (this.#failed && Date.now() < this.#failed.until) throw this.#failed.error;
        const made = (this.#client ??= this.#connect());
        try {
            return await made;
        } catch (thrown) {
            const error = ContainerdError.from(thrown, { node: this.target.node });
            if (this.#client === made) {
                this.#client = undefined;
                this.#failed = { error, until: Date.now() + FAILURE_LASTS };
                this.failure = error;
            }
            throw error;
        }
    }

    /** A stream to a unix socket on the machine. Throws `Unreachable`, `Unsupported` where sshd forbids it. */
    openSocket(path: string): Promise<ClientChannel> {
        return this.#open(`containerd's socket ${path}`, (client, done) =>
            client.openssh_forwardOutStreamLocal(path, done),
        );
    }

    /** A TCP stream from the machine. Throws `Unreachable`. */
    openTcp(host: string, port: number, timeout = OPEN_TIMEOUT): Promise<ClientChannel> {
        const where = `${host.includes(":") ? `[${host}]` : host}:${port}`;
        return this.#open(where, (client, done) => client.forwardOut("127.0.0.1", 0, host, port, done), timeout);
    }

    /** A command on the machine, as its user's login shell reads it. Throws `Unreachable`, `Unsupported`. */
    openCommand(command: string): Promise<ClientChannel> {
        return this.#open("a command", (client, done) => client.exec(command, done));
    }

    /** Ends the connection and all that goes through it. Can be called twice. */
    async close(): Promise<void> {
        this.#closed = true;
        const made = this.#client;
        this.#client = undefined;
        (await made?.catch(() => undefined))?.end();
    }

    error(code: ErrorCode, reason: string, cause?: unknown): ContainerdError {
        return new ContainerdError(code, reason, { node: this.target.node, cause });
    }

    async #open(
        what: string,
        open: (client: Client, done: (error: Error | undefined, channel: ClientChannel) => void) => void,
        timeout = OPEN_TIMEOUT,
    ): Promise<ClientChannel> {
        const client = await this.client();
        return new Promise((resolve, reject) => {
            const late = () =>
                settle(this.error("Unreachable", `${what}: sshd did not answer within ${timeout / 1000} s`));
            const lost = () =>
                settle(this.failure ?? this.error("Unreachable", `${what}: the SSH connection was closed`));
            const timer = setTimeout(late, timeout);
            client.once("close", lost);
            let settled = false;
            const settle = (result: ClientChannel | ContainerdError) => {
                // Nobody waits for a stream that opens later.
                if (settled && !(result instanceof ContainerdError)) result.destroy();
                settled = true;
                clearTimeout(timer);
                client.off("close", lost);
                if (result instanceof ContainerdError) reject(result);
                else resolve(result);
            };
            try {
                open(client, (cause, channel) => settle(cause ? openFailure(what, cause, this.target) : channel));
            } catch (cause) {
                // ssh2 throws where the connection has just gone.
                settle(this.failure ?? this.error("Unreachable", `${what}: the SSH connection was closed`, cause));
            }
        });
    }

    async #connect(): Promise<Client> {
        for (let attempt = 0; ; attempt++) {
            try {
                const client = await this.#attempt();
                this.failure = undefined;
                this.#failed = undefined;
                return client;
            } catch (thrown) {
                const pause = BACKOFF[attempt];
                const passing = thrown instanceof ContainerdError && thrown.code === "Unreachable" && isPassing(thrown);
                if (!passing || pause === undefined || this.#closed) throw thrown;
                await sleep(pause * (0.5 + Math.random()));
            }
        }
    }

    async #attempt(): Promise<Client> {
        const { target } = this;
        // Loaded when there is something to reach by SSH, not by each program.
        const [ssh2, { authAttempt }] = await Promise.all([import("ssh2"), import("./auth.js")]);
        const attempt = authAttempt(await target.authentication());
        const tunnel = this.via && (await this.#through(this.via));
        const client = new ssh2.Client();
        client.on("handshake", () => keepKeys(client));
        // ssh2 may tell more than one error of one end; the first is the one that counts.
        client.on("error", () => undefined);
        let refused: ContainerdError | undefined;
        const config: ConnectConfig = {
            ...(tunnel ? { sock: tunnel } : { host: target.host, port: target.port, ...familyOf(target) }),
            username: target.user,
            readyTimeout: target.connectTimeout,
            keepaliveInterval: target.keepaliveInterval,
            keepaliveCountMax: target.keepaliveCountMax,
            authHandler: attempt.handler,
            algorithms: { serverHostKey: target.hostKey.algorithms },
            hostVerifier: (key: Buffer) => {
                refused = hostKeyError(target.hostKey.verify(key), target.node, target.origin);
                return refused === undefined;
            },
        };
        try {
            await ready(client, config);
            client.setNoDelay(true);
        } catch (thrown) {
            client.destroy();
            tunnel?.destroy();
            if (refused) throw refused;
            const cause = thrown as SshFailure;
            if (isRefusedLogin(cause)) throw attempt.failure(target.node);
            throw connectFailure(cause, target, this.label, this.via?.target.node);
        }
        this.#watch(client);
        return client;
    }

    /** A stream to the machine from the one before it. Who fails there is said together with whose way it is. */
    async #through(via: SshConnection): Promise<ClientChannel> {
        const { host, port, connectTimeout } = this.target;
        try {
            return await via.openTcp(host, port, connectTimeout);
        } catch (thrown) {
            const { code, reason } = ContainerdError.from(thrown);
            throw this.error(code, `on the way to it, node ${via.target.node}: ${reason}`, thrown);
        }
    }

    /** When the connection ends, the next one who wants it makes another. */
    #watch(client: Client): void {
        const made = this.#client;
        const lost = (cause?: Error) => {
            const why = cause ? `: ${cause.message}` : "";
            this.failure = this.error("Unreachable", `the SSH connection to ${this.label} was lost${why}`, cause);
            if (this.#client === made) this.#client = undefined;
        };
        client.on("error", lost);
        client.once("close", () => {
            if (!this.#closed && !this.failure) lost();
            if (this.#client === made) this.#client = undefined;
        });
    }
}

/** Logs in. Throws what ssh2 and the socket throw. */
function ready(client: Client, config: ConnectConfig): Promise<void> {
    return new Promise((resolve, reject) => {
        const ended = () => reject(new Error("the other side closed the connection"));
        client.once("error", reject);
        client.once("close", ended);
        client.once("ready", () => {
            client.off("error", reject);
            client.off("close", ended);
            resolve();
        });
        client.connect(config);
    });
}

function familyOf({ family }: SshTarget): Pick<ConnectConfig, "forceIPv4" | "forceIPv6"> {
    return { ...(family === 4 && { forceIPv4: true }), ...(family === 6 && { forceIPv6: true }) };
}
/** Whether trying again soon may help. */
function isPassing({ cause }: ContainerdError): boolean {
    const { code, message = "" } = (cause ?? {}) as NodeJS.ErrnoException;
    return (
        code === "ECONNRESET" ||
        code === "EPIPE" ||
        /before handshake|closed the connection|ended by other/i.test(message)
    );
}
