/** Commands on a virtual machine: one SSH connection, made again when the machine was off meanwhile. */
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, type ClientChannel } from "ssh2";
import { ContainerdError } from "../../provider/errors";
import { shellQuote } from "../../provider/node/shell";
import type { Result } from "../process";

/** How long an emulated processor may take for a login, in milliseconds. */
const LOGIN = 180_000;
/** How long it may take from power-on to sshd's first words. */
const BOOT = 300_000;
const POLL = 250;

export interface ShellOptions {
    /** Text for the command's stdin. Default: none. */
    input?: string;
    /** Milliseconds. */
    timeout: number;
}

/** Root's shell on a machine, through a port of this machine's loopback. */
export class Shell {
    private client: Promise<Client> | undefined;

    constructor(
        private readonly port: number,
        private readonly identityFile: string,
        /** As it stands in known_hosts, without a name. */
        private readonly hostKey: string,
    ) {}

    /** Waits until sshd answers: the port takes connections also while nothing listens behind it. Throws `Timeout`. */
    async answers(): Promise<void> {
        const end = Date.now() + BOOT;
        while (!(await this.greets())) {
            if (Date.now() > end) throw new ContainerdError("Timeout", `no sshd after ${BOOT / 1000} s`);
            await sleep(POLL);
        }
    }

    /** Runs a command to its end, whatever its exit status. Throws `Unreachable`, and `Timeout`. */
    async exec(command: readonly string[], options: ShellOptions): Promise<Result> {
        const client = await this.connected();
        const line = command.map((word) => shellQuote(word)).join(" ");
        const channel = await new Promise<ClientChannel>((resolve, reject) => {
            // Also when the machine loses its power meanwhile.
            const lost = () => reject(new ContainerdError("Unreachable", "the connection was lost"));
            client.once("close", lost);
            client.exec(line, (error, stream) => {
                client.off("close", lost);
                if (error) reject(error);
                else resolve(stream);
            });
        });
        return collect(channel, options);
    }

    /** Forgets the connection. */
    close(): void {
        const { client } = this;
        this.client = undefined;
        client?.then(
            (one) => one.destroy(),
            () => undefined,
        );
    }

    private connected(): Promise<Client> {
        this.client ??= this.connect();
        return this.client;
    }

    private async connect(): Promise<Client> {
        const privateKey = await readFile(this.identityFile);
        const wanted = Buffer.from(this.hostKey.split(" ")[1] ?? "", "base64");
        return new Promise((resolve, reject) => {
            const client = new Client();
            const forget = () => (this.client = undefined);
            client.once("ready", () => resolve(client));
            client.on("error", (cause) => {
                forget();
                reject(new ContainerdError("Unreachable", `SSH to the virtual machine: ${cause.message}`, { cause }));
            });
            client.once("close", forget);
            client.connect({
                host: "127.0.0.1",
                port: this.port,
                username: "root",
                privateKey,
                readyTimeout: LOGIN,
                hostVerifier: (key: Buffer) => key.equals(wanted),
            });
        });
    }

    private greets(): Promise<boolean> {
        return new Promise((resolve) => {
            const stream = connect(this.port, "127.0.0.1");
            const settle = (answer: boolean) => {
                stream.destroy();
                resolve(answer);
            };
            stream.setTimeout(POLL * 20, () => settle(false));
            stream.once("error", () => settle(false));
            stream.once("close", () => settle(false));
            stream.once("data", (data) => settle(data.toString().startsWith("SSH-")));
        });
    }
}

function collect(channel: ClientChannel, { input = "", timeout }: ShellOptions): Promise<Result> {
    return new Promise((resolve, reject) => {
        const stdout: Buffer[] = [];
        const stderr: Buffer[] = [];
        let status: { code: number; signal: NodeJS.Signals | null } | undefined;
        const timer = setTimeout(() => {
            channel.destroy();
            reject(new ContainerdError("Timeout", `a command on the virtual machine took over ${timeout / 1000} s`));
        }, timeout);
        channel.on("data", (chunk: Buffer) => stdout.push(chunk));
        channel.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
        channel.once("exit", (code: number | null, signal?: string) => {
            status = { code: code ?? -1, signal: signal ? (`SIG${signal}` as NodeJS.Signals) : null };
        });
        channel.once("close", () => {
            clearTimeout(timer);
            const text = (chunks: Buffer[]) => Buffer.concat(chunks).toString("utf8");
            if (status) resolve({ ...status, stdout: text(stdout), stderr: text(stderr) });
            else reject(new ContainerdError("Unreachable", "the connection was lost while a command ran"));
        });
        channel.end(input);
    });
}
