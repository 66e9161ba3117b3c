/** Lives of a stack on several machines, each phase struck at a random moment, after which the next run puts all in order. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { UpdateResult } from "../../playground/stack";
import { Fleet, PHASES, type Phase } from "./fleet";
import { random } from "./random";
import { assertDone, said, unlock } from "./runs";
import { type Strike, type StrikeName, STRIKES } from "./strikes";

const LONG = process.env.TEST_LONG === "1";
const SEED = Number(process.env.TEST_SEED ?? 1);
/** Of each kind; two make a life. */
const STRUCK = LONG ? 200 : 10;

/** What a strike met. */
interface Outcome {
    /** The run was not over yet. */
    during: boolean;
    /** The run failed by it. */
    failed: boolean;
}

/** Tests by a kind of strike each, on machines in common. */
export function testLives(title: string, names: readonly StrikeName[]): void {
    describe(title, function () {
        this.timeout(LONG ? 0 : 480_000);
        let fleet: Fleet;
        before(async () => {
            fleet = await Fleet.start();
        });
        after(() => fleet?.stop());

        for (const name of names) {
            const strike: Strike = STRIKES[name];
            it(`converges after each of ${STRUCK} times that ${strike.words} (TEST_SEED=${SEED})`, async () => {
                // Each kind has numbers of its own, so that one alone repeats what all together did.
                const next = random(SEED + Object.keys(STRIKES).indexOf(name));
                const outcomes: Outcome[] = [];
                for (let life = 0; life < STRUCK / PHASES.length; life++) {
                    for (const phase of PHASES) outcomes.push(await struck(fleet, phase, strike, next));
                    if (LONG) console.log(`      ${name}: ${outcomes.length} of ${STRUCK}`);
                }
                const count = (what: keyof Outcome) => outcomes.filter((outcome) => outcome[what]).length;
                console.log(
                    `      ${outcomes.length} strikes, ${count("during")} during the run, ${count("failed")} made it fail`,
                );
                assert.ok(count("during") > 0, "no strike hit a run: its moments are wrong");
            });
        }
    });
}

/** One phase, struck; then again, as a user would. Throws with the case's words where that does not converge. */
async function struck(fleet: Fleet, phase: Phase, strike: Strike, next: () => number): Promise<Outcome> {
    const [where, when, chance] = [next(), next(), next()];
    const worker = fleet.workers[Math.floor(where * fleet.workers.length)];
    assert.ok(worker);
    const moment = when * fleet.spanOf(phase);
    const what = `during ${phase}, ${Math.round(moment)} ms after the login at ${worker.hostname}: ${strike.words}`;
    let engine = 0;
    let over = false;
    const running = fleet.run(phase, (pid) => (engine = pid)).finally(() => (over = true));
    let during = false;
    const striking = (async () => {
        if (await fleet.login(worker, () => over)) await sleep(moment);
        during = !over;
        await strike({ worker, engine, chance });
    })();
    await Promise.allSettled([running, striking]);
    const result = await running;
    try {
        await striking;
        if (strike.machine) assertAbout(result, worker.hostname);
        await unlock(fleet.stack);
        assertDone(await fleet.run(phase), `the next ${phase}`);
        await fleet.expectAfter(phase, `after the next ${phase}`);
        return { during, failed: result.code !== 0 };
    } catch (error) {
        const words = error instanceof Error ? error.message : String(error);
        throw new Error(`${what}\n${words}\nThe run said: ${said(result) || "nothing"}`, { cause: error });
    }
}

/** What failed is of one machine, and says so. */
function assertAbout({ diagnostics }: UpdateResult, node: string): void {
    for (const { severity, message, urn = "" } of diagnostics) {
        if (severity !== "error" || !urn.includes("dynamic/containerd:")) continue;
        const [name = ""] = urn.split("::").slice(3);
        assert.ok(name.startsWith(node), `${name} fails, though it was ${node} that was struck: ${message}`);
        assert.match(message, new RegExp(`node ${node}[:,]`), `the error does not name the node: ${message}`);
    }
}
