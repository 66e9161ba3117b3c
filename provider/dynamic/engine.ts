/** The provider process' side of the engine that started it: notices its end, and writes lines on a resource's own row. */
import * as grpc from "@grpc/grpc-js";
import { EngineClient } from "@pulumi/pulumi/proto/engine_grpc_pb";
import { LogRequest, LogSeverity } from "@pulumi/pulumi/proto/engine_pb";
import type { Reporter } from "../lifecycle/run";

const LOOK_EVERY = 200;

/**
 * Ends this process when the engine is gone. A killed engine leaves its provider behind, which would go on changing nodes
 * while nobody records it; what it leaves half made is found by the next `up`.
 */
export function endWithEngine(): void {
    const engine = process.ppid;
    const look = (): void => {
        if (process.ppid !== engine) process.exit(1);
    };
    setInterval(look, LOOK_EVERY).unref();
}

/** Least time between two lines on one row. */
const PROGRESS_EVERY = 2_000;

/** Reports to the engine: its address is the process' last argument. Lines that cannot be delivered are lost, not fatal. */
export class EngineReporter implements Reporter {
    readonly #engine: EngineClient | undefined;
    readonly #shown = new Map<string, number>();

    constructor(address = process.argv.at(-1)) {
        if (address && /^(?:127\.0\.0\.1|localhost|\[::1\]):\d+$/.test(address)) {
            this.#engine = new EngineClient(address, grpc.credentials.createInsecure());
        }
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
