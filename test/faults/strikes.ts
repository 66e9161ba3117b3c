/** What happens to one of several machines, or to who works on it, in the middle of a run. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "../../playground/worker";
import { endsWithin, providerOf } from "./processes";

/** Milliseconds that a cable is out, at most: shorter than what makes a call give up, and longer than what TCP repeats. */
const OUT = 4_000;
/** An orphaned provider is given this long. Milliseconds; the machine may be busy. */
const ORPHAN_ENDS = 5_000;

/** Whom it may strike. */
export interface Victims {
    worker: Worker;
    /** Process id of the engine; a killed one has run before. */
    engine: number;
    /** A random number from 0 to 1. */
    chance: number;
}

export interface Strike {
    /** In words that follow "during up:". */
    words: string;
    /** Whether it hits a machine, so that errors are about that one; else it hits who works on all of them. */
    machine: boolean;
    /** Resolves when it is over, and the machine is as before. */
    (victims: Victims): Promise<void>;
}

const strike = (words: string, machine: boolean, deed: (victims: Victims) => Promise<void>): Strike =>
    Object.assign(deed, { words, machine });

/** By name. */
export const STRIKES = {
    reset: strike("its connections are reset", true, ({ worker }) => worker.resetConnections()),
    cut: strike("its cable is out for a while", true, async ({ worker, chance }) => {
        await worker.cut();
        try {
            await sleep(chance * OUT);
        } finally {
            await worker.heal();
        }
    }),
    power: strike("it loses its power and boots again", true, async ({ worker }) => {
        await worker.kill();
        await worker.boot();
    }),
    containerd: strike("its containerd is killed and started again", true, ({ worker }) => worker.restartContainerd()),
    provider: strike("the provider is killed", false, ({ engine }) => {
        const provider = providerOf(engine);
        if (provider !== undefined) process.kill(provider, "SIGKILL");
        return Promise.resolve();
    }),
    engine: strike("the engine is killed, and the provider must end by itself", false, async ({ engine }) => {
        const provider = providerOf(engine);
        if (provider === undefined) return;
        process.kill(engine, "SIGKILL");
        if (await endsWithin(provider, ORPHAN_ENDS)) return;
        process.kill(provider, "SIGKILL");
        throw new Error("the provider lives on without its engine, and could go on changing the nodes");
    }),
} satisfies Record<string, Strike>;
export type StrikeName = keyof typeof STRIKES;
