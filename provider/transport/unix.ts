/** A containerd on this machine: its unix socket, and the machine's own network and shell. */
import { execFile } from "node:child_process";
import { connect, type Socket, type NetConnectOpts } from "node:net";
import { resolve } from "node:path";
import { ContainerdError } from "../errors";
import type { Said, Transport } from "./transport";

const PROBE_TIMEOUT = 5_000;
const SCRIPT_TIMEOUT = 30_000;
const LONGEST_OUTPUT = 8 << 20;

/**
 * The transport to a containerd on this machine.
 *
 * @param node the node's name, for messages.
 * @param socketPath path of containerd's socket. Whether it is there shows at the first call.
 */
export function unixTransport(node: string, socketPath: string): Transport {
    const open = new Set<Socket>();
    const socket = resolve(socketPath);
    return {
        node,
        socket,
        failure: undefined,
        containerdAddress: async () => `unix://${socket}`,
        probe: async () => void (await connected({ path: socket }, PROBE_TIMEOUT)).destroy(),
        dial: async (host, port, timeout) => {
            const where = `${host.includes(":") ? `[${host}]` : host}:${port}`;
            const dialled = await connected({ host, port }, timeout).catch((cause: NodeJS.ErrnoException) => {
                const refused = "refuses the connection: nothing listens there";
                const reason = cause.code === "ECONNREFUSED" ? refused : `cannot be reached: ${cause.message}`;
                throw new ContainerdError("Unreachable", `${where} ${reason}`, { node, cause });
            });
            open.add(dialled);
            dialled.once("close", () => open.delete(dialled));
            return dialled;
        },
        run: (script, args = [], { timeout = SCRIPT_TIMEOUT, input } = {}) =>
            new Promise<Said>((done, fail) => {
                const child = execFile(
                    "/bin/sh",
                    ["-c", script, "sh", ...args],
                    { timeout, killSignal: "SIGKILL", maxBuffer: LONGEST_OUTPUT },
                    (error, stdout, stderr) => {
                        if (!error) return done({ code: 0, stdout, stderr });
                        if (typeof error.code === "number") return done({ code: error.code, stdout, stderr });
                        const late = error.killed && `a script did not end within ${timeout / 1000} s`;
                        const code = late ? "Timeout" : "Failed";
                        fail(new ContainerdError(code, late || error.message, { node, cause: error }));
                    },
                );
                // A script that ends without reading its input is no failure.
                child.stdin?.on("error", () => undefined);
                child.stdin?.end(input ?? "");
            }),
        close: async () => {
            for (const each of open) each.destroy();
        },
    };
}

/** A connected socket. Throws the socket's own error, with an errno in its message. */
function connected(where: NetConnectOpts, timeout: number): Promise<Socket> {
    return new Promise((done, fail) => {
        const socket = connect(where);
        const failed = (cause: Error) => {
            clearTimeout(timer);
            socket.destroy();
            fail(cause);
        };
        const timer = setTimeout(() => failed(new Error(`no answer within ${timeout / 1000} s`)), timeout);
        socket.once("error", failed);
        socket.once("connect", () => {
            clearTimeout(timer);
            socket.off("error", failed);
            done(socket);
        });
    });
}
