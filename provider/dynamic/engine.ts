/** The provider process' side of the engine that started it: notices its end, and writes lines on a resource's own row. */
import { connect } from "node:net";
import * as grpc from "@grpc/grpc-js";
import { EngineClient } from "@pulumi/pulumi/proto/engine_grpc_pb";
import { LogRequest, LogSeverity } from "@pulumi/pulumi/proto/engine_pb";
import type { Reporter } from "../lifecycle/run";

/**
 * Ends this process when the engine is gone. A killed engine leaves its provider behind, which would go on changing nodes
 * while nobody records it; what it leaves half made is found by the next `up`.
 *
 * The engine is not our parent: between the two is the shell that Pulumi's launcher is written in, which outlives it. So a
 * connection to the engine tells: it ends with the engine, whatever ends that, and then nobody takes another one.
 */
export function endWithEngine(address = engineAddress()): void {
    if (!address) return;
    const { hostname, port } = new URL(`tcp://${address}`);
    const watch = (): void => {
        const socket = connect({ host: hostname.replace(/^\[|\]$/g, ""), port: Number(port) }).unref();
        let refused = false;
        socket.on("error", ({ code }: NodeJS.ErrnoException) => (refused = code === "ECONNREFUSED"));
        // The engine hangs up on who says nothing for long; then it takes the next connection.
        socket.once("close", () => (refused ? process.exit(1) : setTimeout(watch, LOOK_AGAIN).unref()));
        socket.resume();
    };
    watch();
}

/** Milliseconds. */
const LOOK_AGAIN = 50;

/** The engine's address is the process' last argument. */
function engineAddress(): string | undefined {
    const last = process.argv.at(-1) ?? "";
    return /^(?:127\.0\.0\.1|localhost|\[::1\]):\d+$/.test(last) ? last : undefined;
}

/** Least time between two lines on one row. */
const PROGRESS_EVERY = 2_000;

/** Reports to the engine. Lines that cannot be delivered are lost, not fatal. */
export class EngineReporter implements Reporter {
    readonly #engine: EngineClient | undefined;
    readonly #shown = new Map<string, number>();

    constructor(address = engineAddress()) {
        if (address) this.#engine = new EngineClient(address, grpc.credentials.createInsecure());
    }

    progress(owner: string, text: string): void {
        const now = Date.now();
        if (text && now - (this.#shown.get(owner) ?? 0) < PROGRESS_EVERY) return;
        if (!text && !this.#shown.has(owner)) return;
        if (text) this.#shown.set(owner, now);
        else this.#shown.delete(owner);
        this.#log(LogSeverity.INFO, owner, text, true);
    }

    warn(owner: string, text: string): void {
        this.#log(LogSeverity.WARNING, owner, text, false);
    }

    #log(severity: LogSeverity, urn: string, message: string, ephemeral: boolean): void {
        if (!this.#engine) {
            if (message) console.error(message);
            return;
        }
        const request = new LogRequest();
        request.setSeverity(severity);
        request.setMessage(message);
        request.setUrn(urn);
        request.setEphemeral(ephemeral);
        this.#engine.log(request, () => {});
    }
}
