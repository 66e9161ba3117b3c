/** Speaks to a running emulator by its machine protocol (QMP), one command a connection. */
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { ContainerdError } from "../../provider/errors";

/** How long the emulator may take to answer, in milliseconds: it does so beside emulating. */
const PATIENCE = 60_000;

interface Message {
    QMP?: object;
    return?: unknown;
    error?: { desc: string };
}

/** Has a command of the emulator's executed and gives what it returns. Throws `Failed` with its words, and `Timeout`. */
export function qmp(socket: string, execute: string, args: Record<string, unknown> = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
        const stream = connect(socket);
        const fail = (code: "Failed" | "Timeout", message: string) => {
            stream.destroy();
            reject(new ContainerdError(code, `the emulator's ${execute}: ${message}`));
        };
        stream.setTimeout(PATIENCE, () => fail("Timeout", `no answer in ${PATIENCE / 1000} s`));
        stream.once("error", (error) => fail("Failed", error.message));
        stream.once("close", () => fail("Failed", "the emulator has ended"));
        const send = (command: object) => stream.write(`${JSON.stringify(command)}\n`);
        let agreed = false;
        const lines = createInterface({ input: stream });
        // It repeats the stream's.
        lines.on("error", () => undefined);
        lines.on("line", (line) => {
            const message = JSON.parse(line) as Message;
            if (message.error) return fail("Failed", message.error.desc);
            if (message.QMP) return send({ execute: "qmp_capabilities" });
            // All else is an event.
            if (!("return" in message)) return;
            if (!agreed) {
                agreed = true;
                return send({ execute, arguments: args });
            }
            stream.removeAllListeners("close");
            stream.destroy();
            resolve(message.return);
        });
    });
}

/** Has a command of the emulator's monitor for people executed. Throws `Failed` with its words: it says nothing when all is well. */
export async function monitor(socket: string, command: string): Promise<void> {
    const said = await qmp(socket, "human-monitor-command", { "command-line": command });
    if (typeof said === "string" && said.trim() !== "") {
        throw new ContainerdError("Failed", `the emulator's ${command}: ${said.trim()}`);
    }
}
