/**
 * The example sip: registrations and calls with sound through kamailio and rtpengine in a pod on a worker, from phones on another.
 * What happens to calls that are under way is told, in the test's output, where it is not ours to promise.
 */
import assert from "node:assert/strict";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { kamailioImage, rtpengineImage } from "../../playground/debian-images";
import { repository } from "../../playground/environment";
import { type CallOptions, type CallResult, runCalls } from "../../playground/sip/phones";
import { Watch } from "../../playground/sip/watch";
import type { Stack } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import type { Census } from "../helpers/census";
import { ClusterScene } from "./cluster-scene";
import { succeeded, unchanged } from "./scene";

/** Packets of sound a second: one each 20 ms. */
const PACKETS = 50;
/** The least share of packets that reaches the other phone: what is lost is a busy machine's, not the path's. */
const HEARD = 0.95;
/** Calls that are under way while something happens, and when all of them are, in milliseconds. */
const UNDER_WAY = { calls: 20, rate: 20, hold: 15_000, register: 0 };
const ALL_UNDER_WAY = 4000;
const FEW = { calls: 20, register: 0 };

describe("the example sip", function () {
    this.timeout(600_000);
    let scene: ClusterScene;
    let sip: Worker;
    let phones: Worker;
    let stack: Stack;
    let clean: Census;

    before(async () => {
        scene = await ClusterScene.open([
            { name: "sip-1", version: "2" },
            { name: "phones", version: "1.6" },
        ]);
        [sip, phones] = scene.workers as [Worker, Worker];
        // The folder of all volumes stays, like the one above it.
        await sip.run("mkdir -p /var/lib/pulumi-containerd/volumes/records");
        clean = await scene.censusOf(sip);
        const [kamailio, rtpengine] = [
            await scene.registry.push(await kamailioImage(), "kamailio:5.6"),
            await scene.registry.push(await rtpengineImage(), "rtpengine:10.5"),
        ];
        const config = {
            "sip:node": "sip-1",
            "sip:kamailio": kamailio,
            "sip:rtpengine": rtpengine,
            "sip:advertise6": sip.ip6,
        };
        stack = await scene.stack({ folder: path.join(repository, "examples/sip") }, { config });
    });
    after(() => scene.close());

    /** Calls of which none fails, with sound in both directions, all of it marked as voice. */
    async function answered(options: Partial<CallOptions> = {}): Promise<CallResult> {
        const { calls = 1000, hold = 3000 } = options;
        const result = await runCalls({ phones, proxy: sip.ip, ...options });
        assert.deepEqual([result.calls, result.failed, result.reasons], [calls, 0, {}], result.errors);
        const { callerSent, calleeReceived, calleeSent, callerReceived, marked } = result.rtp;
        // SIPp sends one more now and then.
        const least = (calls * hold * PACKETS) / 1000;
        assert.ok(callerSent >= least && callerSent <= least + calls, JSON.stringify(result.rtp));
        // On a machine that does much else the relay comes late for some; and the callee sends back what it comes in time for.
        assert.ok(calleeReceived > callerSent * HEARD, JSON.stringify(result.rtp));
        assert.ok(callerReceived > calleeSent * HEARD && calleeSent > callerSent / 2, JSON.stringify(result.rtp));
        assert.equal(marked, calleeReceived + callerReceived);
        return result;
    }

    /** Does something while calls are under way, and gives what became of them. */
    async function meanwhile(deed: () => Promise<unknown>): Promise<CallResult> {
        const calls = runCalls({ phones, proxy: sip.ip, ...UNDER_WAY });
        // Awaited below: a failure of the deed is told first.
        calls.catch(() => undefined);
        await sleep(ALL_UNDER_WAY);
        await deed();
        return calls;
    }

    /** Process ids of the pod's members. */
    async function pids(): Promise<Record<string, string>> {
        const lines = (await sip.ctr("tasks", "ls")).trim().split("\n").slice(1);
        return Object.fromEntries(
            lines.map((line) => {
                const [id = "", pid = ""] = line.split(/\s+/);
                return [/[^.]*$/.exec(id)?.[0] ?? id, pid];
            }),
        );
    }

    /** Runs kamailio's remote control. */
    async function kamcmd(...args: string[]): Promise<string> {
        const id = (await sip.ctr("containers", "ls", "-q")).split("\n").find((one) => /\.proxy\b/.test(one)) ?? "";
        return sip.ctr("tasks", "exec", "--exec-id", `test-${Date.now()}`, id, "kamcmd", ...args);
    }

    function tell(what: string): void {
        process.stdout.write(`      ${what}\n`);
    }

    const ended = ({ calls, failed }: CallResult) =>
        `${calls - failed} of ${calls} calls that were under way ended well`;

    it("answers 1,000 calls at 20 a second, with sound in both directions", async () => {
        succeeded(await stack.up());
        const { rtp, answerP50, answerP99, retransmissions } = await answered();
        tell(`RTP lost ${rtp.lost} of ${rtp.callerSent + rtp.calleeSent}, ${retransmissions} retransmissions`);
        tell(`answered in ${answerP50} ms (p50), ${answerP99} ms (p99)`);
        unchanged(await stack.up());
        unchanged(await stack.refresh());
    });

    it("answers calls over TCP", async () => {
        await answered({ calls: 20, transport: "tcp" });
        // The callees are reached over UDP again.
        await answered({ calls: 20 });
    });

    it("answers calls over IPv6, and from one family to the other, with sound in both directions", async () => {
        const by4 = { proxy: sip.ip, from: phones.ip };
        const by6 = { proxy: sip.ip6, from: phones.ip6 };
        await answered({ calls: 50, ...by6 });
        await answered({ calls: 10, transport: "tcp", ...by6 });
        await answered({ calls: 10, ...by4, callees: by6 });
        // The last: the callees are reached by IPv4 again.
        await answered({ calls: 10, ...by6, callees: by4 });
    });

    it("reads a changed dispatcher list while calls go on", async () => {
        const running = await pids();
        const result = await meanwhile(async () => {
            await stack.configure({ "sip:dispatcher": "1 sip:192.0.2.20:5060\n" });
            assert.deepEqual(succeeded(await stack.up()).changes, ["sip: update"]);
        });
        assert.deepEqual([result.calls, result.failed], [UNDER_WAY.calls, 0], result.errors);
        const list = await kamcmd("dispatcher.list");
        assert.match(list, /sip:192\.0\.2\.20:5060/);
        assert.doesNotMatch(list, /sip:192\.0\.2\.10:5060/);
        assert.deepEqual(await pids(), running);
    });

    it("refuses new calls and lets running ones end, when told to", async () => {
        const result = await meanwhile(() => kamcmd("pv.shvSet", "shut", "int", "1"));
        assert.deepEqual([result.calls, result.failed], [UNDER_WAY.calls, 0], result.errors);
        const refused = await runCalls({ phones, proxy: sip.ip, ...FEW });
        assert.equal(refused.failed, FEW.calls);
        assert.match(refused.errors, /503 Shutting Down/);
        await kamcmd("pv.shvSet", "shut", "int", "0");
        await answered(FEW);
    });

    it("makes a changed proxy anew alone, after its calls; its registrations stay", async () => {
        const { media, proxy } = await pids();
        const result = await meanwhile(async () => {
            await stack.configure({ "sip:grace": 29 });
            assert.deepEqual(succeeded(await stack.up()).changes, ["sip: update"]);
        });
        assert.deepEqual([result.calls, result.failed], [UNDER_WAY.calls, 0], result.errors);
        const now = await pids();
        assert.deepEqual([now.media, now.proxy === proxy], [media, false]);
        await answered(FEW);
    });

    it("answers again after kamailio was killed, by containerd alone", async () => {
        const watch = await Watch.start(phones, sip.ip);
        try {
            let since = 0;
            const result = await meanwhile(async () => {
                since = Date.now();
                // The oldest is the first: the others are its children.
                await sip.run("kill -KILL $(pgrep -o -x kamailio)");
            });
            tell(`silent for ${watch.silence(since)} ms; ${ended(result)}`);
            await answered(FEW);
        } finally {
            watch.stop();
        }
    });

    it("answers again after a power loss, by containerd alone", async () => {
        const watch = await Watch.start(phones, sip.ip);
        try {
            let since = 0;
            const result = await meanwhile(async () => {
                await sip.kill();
                since = Date.now();
                await sip.boot();
            });
            tell(`answered ${(await watch.answered(since)) - since} ms after power came; ${ended(result)}`);
            await answered(FEW);
        } finally {
            watch.stop();
        }
    });

    it("is stopped after its calls, and leaves nothing", async () => {
        const result = await meanwhile(async () => succeeded(await stack.destroy()));
        assert.deepEqual([result.calls, result.failed], [UNDER_WAY.calls, 0], result.errors);
        await scene.holdOnly({ ...(await scene.census()), "sip-1": clean });
    });
});
