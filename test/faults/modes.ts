/** The ways in which a run is disturbed at one of its calls to containerd. */
import { ContainerdError } from "../../provider/errors";
import type { Worker } from "../../playground/worker";
import { endsWithin, providerOf } from "./processes";
import type { Fault, ProxiedCall, Verdict } from "./proxy";

/** How it is disturbed, in words that follow "at call 17:". */
export const MODES = {
    "kill-before": "the provider is killed, containerd never hears of the call",
    "kill-after": "containerd does the call, the provider is killed before it hears so",
    "kill-engine": "the engine is killed, and the provider must end by itself",
    cut: "containerd does the call, then the connection is closed instead of an answer",
    refuse: "the call is answered UNAVAILABLE",
    restart: "containerd is killed and started again, the call reaches the new one or none",
} as const;
export type Mode = keyof typeof MODES;

/** An orphaned provider is given this long. Milliseconds; the machine may be busy. */
const ORPHAN_ENDS = 3_000;

/** One disturbance of one run of the engine. */
export class Disturbance implements Fault {
    #engine = 0;
    #provider: number | undefined;
    /** The call at which it happened; undefined when the run made fewer calls. */
    hit: ProxiedCall | undefined;

    constructor(
        private readonly mode: Mode,
        private readonly at: number,
        private readonly worker: Worker,
    ) {}

    /** Hears the engine's process id. */
    onEngine = (pid: number): void => {
        this.#engine = pid;
    };

    async judge(call: ProxiedCall): Promise<Verdict> {
        if (call.number < this.at) return "forward";
        if (call.number > this.at) {
            // What a killed process had sent already, but nobody had read, reaches nobody.
            return this.mode.startsWith("kill") && this.mode !== "kill-engine" && this.hit ? "swallow" : "forward";
        }
        this.hit = call;
        switch (this.mode) {
            case "kill-before":
                this.#killProvider();
                return "swallow";
            case "kill-after":
            case "cut":
                return "cut";
            case "kill-engine":
                this.#provider = this.#findProvider();
                process.kill(this.#engine, "SIGKILL");
                return "forward";
            case "refuse":
                return "refuse";
            case "restart":
                await this.worker.restartContainerd();
                return "forward";
        }
    }

    answered(): void {
        if (this.mode === "kill-after") this.#killProvider();
    }

    /** Throws when an orphaned provider lives on. */
    async assertOver(): Promise<void> {
        if (this.#provider === undefined || (await endsWithin(this.#provider, ORPHAN_ENDS))) return;
        process.kill(this.#provider, "SIGKILL");
        throw new ContainerdError(
            "Failed",
            "the provider lives on without its engine, and could go on changing the node",
        );
    }

    #killProvider(): void {
        process.kill(this.#findProvider(), "SIGKILL");
    }

    #findProvider(): number {
        const pid = providerOf(this.#engine);
        if (pid === undefined) throw new ContainerdError("Failed", "the test finds no provider below the engine");
        return pid;
    }
}
