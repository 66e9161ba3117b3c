/** A containerd on this machine: its unix socket, and the machine's own network. */
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { resolve } from "node:path";
import { ContainerdError } from "../errors";
import type { Transport } from "./transport";

/**
 * The transport to a containerd on this machine.
 *
 * @param node the node's name, for messages.
 * @param socketPath path of containerd's socket. Whether it is there shows at the first call.
 */
export function unixTransport(node: string, socketPath: string): Transport {
    const open = new Set<Socket>();
    return {
        node,
        containerdAddress: async () => `unix://${resolve(socketPath)}`,
        dial: (host, port, timeout) =>
            new Promise<Duplex>((done, fail) => {
                const where = `${host.includes(":") ? `[${host}]` : host}:${port}`;
                const socket = connect({ host, port });
                const refuse = (reason: string, cause?: unknown) => {
                    socket.destroy();
                    fail(new ContainerdError("Unreachable", `${where} ${reason}`, { node, cause }));
                };
                const timer = setTimeout(
                    () => refuse(`does not accept a connection within ${timeout / 1000} s`),
                    timeout,
                );
                const failed = (cause: NodeJS.ErrnoException) => {
                    clearTimeout(timer);
                    refuse(
                        cause.code === "ECONNREFUSED"
                            ? "refuses the connection: nothing listens there"
                            : `cannot be reached: ${cause.message}`,
                        cause,
                    );
                };
                open.add(socket);
                socket.once("close", () => open.delete(socket));
                socket.once("error", failed);
                socket.once("connect", () => {
                    clearTimeout(timer);
                    socket.off("error", failed);
                    done(socket);
                });
            }),
        close: async () => {
            for (const socket of open) socket.destroy();
        },
    };
}
