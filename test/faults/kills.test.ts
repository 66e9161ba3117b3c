/**
 * A kill or a failure at any call to containerd leaves nothing behind, and the next run converges. `npm test` tries a few
 * calls, by a seed that it prints; `npm run test:long` tries every call of every phase in every way, for as long as
 * `TEST_MINUTES` says (default: to the end), in an order by the same seed.
 */
import assert from "node:assert/strict";
import { environment, type ContainerdVersion } from "../../playground/environment";
import { skip } from "../helpers/skip";
import { type Case, Matrix } from "./matrix";
import { MODES, type Mode } from "./modes";
import { random, shuffled } from "./random";
import { PHASES, type Phase } from "./scene";

const LONG = process.env.TEST_LONG === "1";
const MINUTES = Number(process.env.TEST_MINUTES ?? Infinity);
const SEED = Number(process.env.TEST_SEED ?? 1);
/** Lives of the stack in the sample; each has three disturbances. */
const SAMPLE = 2;
const BOTH: ContainerdVersion[] = ["1.6", "2"];
/** `npm test` takes one of the two, which its seed decides; `nodes.test.ts` the other one. */
const VERSIONS = LONG ? BOTH : BOTH.filter((_, index) => SEED % 2 === index);

for (const version of VERSIONS) {
    describe(`faults: kills at calls to containerd ${version}`, function () {
        this.timeout(LONG ? 0 : 300_000);
        let matrix: Matrix;
        before(async function () {
            if (!environment().containerd[version]) skip(this, `containerd ${version} is not installed`);
            matrix = await Matrix.start(version);
        });
        after(() => matrix?.scene.stop());

        it(`converges after each (TEST_SEED=${SEED}${LONG ? ", all" : ""})`, async () => {
            const end = Date.now() + MINUTES * 60_000;
            const queues = Object.fromEntries(PHASES.map((phase) => [phase, casesOf(matrix, phase)]));
            const lives = LONG ? Math.max(...Object.values(queues).map(({ length }) => length)) : SAMPLE;
            const failures: string[] = [];
            let done = 0;
            for (let life = 0; life < lives && Date.now() < end; life++) {
                const cases = Object.fromEntries(PHASES.map((phase) => [phase, queues[phase]?.[life]]));
                try {
                    for (const [{ phase, mode, call }, method] of await matrix.live(cases)) {
                        done++;
                        if (LONG) console.log(`      ${version} ${phase} ${mode} ${call} ${method}`);
                    }
                } catch (error) {
                    failures.push(error instanceof Error ? error.message : String(error));
                    console.log(`      ${failures.at(-1)}`);
                    if (!LONG) break;
                    await matrix.scene.stop();
                    matrix = await Matrix.start(version);
                }
            }
            console.log(`      ${done} disturbances, ${failures.length} failures`);
            assert.deepEqual(failures, []);
        });
    });
}

/** Every call of a phase in every way, in an order that the seed decides. */
function casesOf({ references }: Matrix, phase: Phase): Case[] {
    const modes = Object.keys(MODES) as Mode[];
    const calls = Array.from({ length: references[phase].calls }, (_, index) => index + 1);
    const all = calls.flatMap((call) => modes.map((mode) => ({ phase, mode, call })));
    return shuffled(all, random(SEED + PHASES.indexOf(phase)));
}
