/** A TCP proxy in front of a registry that can be cut in the middle of an answer, and then refuses, until it is mended. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** The proxy. Start it with `TcpCutter.listen`. */
export class TcpCutter {
    readonly #server: Server;
    readonly #sockets = new Set<Socket>();
    /** Bytes that may still come from behind; then everything is cut. */
    #left = Infinity;

    private constructor(port: number) {
        this.#server = createServer((client) => {
            if (this.#left <= 0) return void client.destroy();
            const behind = connect(port, "127.0.0.1");
            for (const socket of [client, behind]) {
                this.#sockets.add(socket);
                socket.on("error", () => undefined);
                socket.once("close", () => {
                    this.#sockets.delete(socket);
                    client.destroy();
                    behind.destroy();
                });
            }
            client.pipe(behind);
            behind.on("data", (chunk: Buffer) => {
                this.#left -= chunk.length;
                if (this.#left > 0) client.write(chunk);
                else for (const socket of this.#sockets) socket.destroy();
            });
        });
    }

    /** Listens on a free port of the loopback, in front of another port of it. */
    static async listen(port: number): Promise<TcpCutter> {
        const cutter = new TcpCutter(port);
        cutter.#server.listen(0, "127.0.0.1");
        await once(cutter.#server, "listening");
        return cutter;
    }

    get port(): number {
        return (this.#server.address() as AddressInfo).port;
    }

    /** Lets so many bytes pass, in all connections together; then there is no registry any more. */
    cutAfter(bytes: number): void {
        this.#left = bytes;
    }

    /** From now on it works. */
    mend(): void {
        this.#left = Infinity;
    }

    async close(): Promise<void> {
        const closed = once(this.#server, "close");
        this.#server.close();
        for (const socket of this.#sockets) socket.destroy();
        await closed;
    }
}
