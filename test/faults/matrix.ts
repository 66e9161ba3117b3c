/** Disturbs the phases of a stack's life at calls of theirs, and asserts after each that the next run puts all in order. */
import assert from "node:assert/strict";
import type { ContainerdVersion } from "../../playground/environment";
import type { Census } from "../helpers/census";
import { Disturbance, MODES, type Mode } from "./modes";
import { assertDone, said } from "./runs";
import { PHASES, type Phase, Scene } from "./scene";

/** A disturbance to come: in which phase, how, at which call. */
export interface Case {
    phase: Phase;
    mode: Mode;
    call: number;
}

/** An undisturbed run: how many calls it makes, and what is there after it. */
interface Reference {
    calls: number;
    census: Census;
}

/** A scene with what an undisturbed life looks like in it. */
export class Matrix {
    private constructor(
        readonly scene: Scene,
        readonly empty: Census,
        readonly references: Record<Phase, Reference>,
    ) {}

    /** Starts a scene and lives once undisturbed. */
    static async start(version: ContainerdVersion): Promise<Matrix> {
        const scene = await Scene.start(version);
        try {
            const empty = await scene.census();
            const references: Partial<Record<Phase, Reference>> = {};
            for (const phase of PHASES) {
                assertDone(await scene.run(phase), `the undisturbed ${phase}`);
                references[phase] = { calls: scene.proxy.calls.length, census: await scene.census() };
            }
            await scene.expectCensus(empty, "after the undisturbed destroy");
            return new Matrix(scene, empty, references as Record<Phase, Reference>);
        } catch (error) {
            await scene.stop();
            throw error;
        }
    }

    /**
     * One life of the stack, each phase disturbed by its case (a phase without one is not), then run again as a user would.
     * Gives the call that each case hit. Throws with the case's words where the second run does not converge.
     */
    async live(cases: Partial<Record<Phase, Case>>): Promise<Map<Case, string>> {
        const hits = new Map<Case, string>();
        for (const phase of PHASES) {
            const one = cases[phase];
            if (one) hits.set(one, await this.#disturbed(one));
            else assertDone(await this.scene.run(phase), `${phase}, undisturbed`);
        }
        return hits;
    }

    async #disturbed(one: Case): Promise<string> {
        const { scene } = this;
        const { phase, mode, call } = one;
        const fault = new Disturbance(mode, call, scene.worker);
        const first = await scene.run(phase, fault, fault.onEngine);
        const method = fault.hit?.method ?? "none, it made fewer calls";
        const what = `${phase}, at call ${call} (${method}): ${MODES[mode]}`;
        try {
            await fault.assertOver();
            await scene.unlock();
            const again = await scene.run(phase);
            assertDone(again, `the ${phase} after it`);
            await scene.expectCensus(this.references[phase].census, `after the next ${phase}`);
            await scene.expectNoSecretInContent();
            if (phase !== "destroy") {
                const unchanged = await scene.run(phase);
                assertDone(unchanged, "one more up");
                assert.deepEqual(unchanged.changes, [], "one more up changes something");
            }
            return method;
        } catch (error) {
            const words = error instanceof Error ? error.message : String(error);
            throw new Error(`${what}\n${words}\nThe disturbed run said: ${said(first) || "nothing"}`, {
                cause: error,
            });
        }
    }
}
