/**
 * The demo of telephony: `npm run demo:sip` deploys `examples/sip` by a plain `pulumi up` to a machine of the playground's own that
 * is reached by SSH, lets phones on another machine call through it, and prints what became of the calls: at first, after a kill of
 * the proxy, after a power loss and boot of the machine. Then it destroys and removes all that it made.
 *
 *     npm run demo:sip -- --calls 1000 --rate 20 --containerd 2
 */
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { ContainerdError } from "../provider/errors";
import { startCluster } from "./cluster";
import { kamailioImage, rtpengineImage } from "./debian-images";
import { environment, repository } from "./environment";
import { nodeEntry } from "./node-config";
import type { Result } from "./process";
import { startRegistry } from "./registry";
import { type CallResult, runCalls } from "./sip/phones";
import { Watch } from "./sip/watch";
import { Stack } from "./stack";
import type { Worker } from "./worker";

const NODE = "sip-1";
/** Calls that are under way when the proxy is killed or the machine loses power, and how long they last, in milliseconds. */
const UNDER_WAY = { calls: 40, rate: 20, hold: 12_000 };
/** When they are all under way, in milliseconds after the first. */
const STRIKE = 4000;

const { values } = parseArgs({
    options: {
        calls: { type: "string", default: "1000" },
        rate: { type: "string", default: "20" },
        containerd: { type: "string" },
    },
});

/** One line of the table. */
interface Row {
    when: string;
    result: CallResult;
    /** Without any answer to OPTIONS, in milliseconds; after a power loss from when the machine is switched on. */
    silence?: number;
    /** What became of the calls that were under way. */
    underWay?: CallResult;
}

function say(text: string): void {
    process.stdout.write(`demo:sip: ${text}\n`);
}

/** Deploys, plays, and removes everything, also after a failure. */
async function main(): Promise<void> {
    const version = values.containerd === "1.6" || !environment().containerd["2"] ? "1.6" : "2";
    const ends: (() => Promise<unknown>)[] = [];
    try {
        const registry = await startRegistry();
        ends.push(() => registry.stop());
        say("kamailio and rtpengine of Debian's packages: a minute the first time, then from the cache");
        const kamailio = await registry.push(await kamailioImage(), "kamailio:5.6");
        const rtpengine = await registry.push(await rtpengineImage(), "rtpengine:10.5");
        const machines = [NODE, "phones"].map((name) => ({ name, version }) as const);
        const cluster = await startCluster({ workers: machines, reach: [registry.port] });
        ends.push(() => cluster.stop());
        const [sip, phones] = [cluster.worker(NODE), cluster.worker("phones")];
        const config = {
            "sip:node": NODE,
            "sip:kamailio": kamailio,
            "sip:rtpengine": rtpengine,
            "containerd:nodes": { [NODE]: { ...nodeEntry(sip) } },
        };
        const program = { folder: path.join(repository, "examples/sip") };
        const stack = await Stack.create({ program, stack: "demo", config });
        ends.push(() => stack.remove());
        ends.push(async () => {
            say("pulumi destroy");
            await sip.ensure();
            succeeded("pulumi destroy", await stack.destroy());
        });
        say("pulumi up");
        succeeded("pulumi up", await stack.up([], { show: true }));
        report(await play(sip, phones));
    } finally {
        for (const end of ends.reverse()) {
            await end().catch((error: unknown) => process.stderr.write(`demo:sip: ${String(error)}\n`));
        }
    }
}

function succeeded(what: string, { code, stdout, stderr }: Result): void {
    if (code !== 0) throw new ContainerdError("Failed", `${what} exited with status ${code}: ${stderr || stdout}`);
}

/** Calls, and calls again after each blow. */
async function play(sip: Worker, phones: Worker): Promise<Row[]> {
    const options = { phones, proxy: sip.ip, calls: Number(values.calls), rate: Number(values.rate) };
    say(`${options.calls} calls, ${options.rate} a second, from another machine`);
    const rows: Row[] = [{ when: "after up", result: await runCalls(options) }];
    const watch = await Watch.start(phones, sip.ip);
    /** Strikes while calls are under way, then makes calls as before. The callees stay registered as they are. */
    const struck = async (when: string, strike: () => Promise<number>, measure: (since: number) => Promise<number>) => {
        say(`${when}, while ${UNDER_WAY.calls} calls are under way`);
        const calls = runCalls({ ...options, ...UNDER_WAY, register: 0 });
        // Awaited below; a failure of what comes between is told, not this one's.
        calls.catch(() => undefined);
        await sleep(STRIKE);
        const since = await strike();
        const underWay = await calls;
        const silence = await measure(since);
        rows.push({ when, underWay, silence, result: await runCalls({ ...options, register: 0 }) });
    };
    try {
        const kill = async () => {
            const now = Date.now();
            // The oldest is the first: the others are its children.
            await sip.run("kill -KILL $(pgrep -o -x kamailio)");
            return now;
        };
        await struck("after kill -9 of kamailio", kill, (since) => Promise.resolve(watch.silence(since)));
        const powerLoss = async () => {
            await sip.kill();
            const now = Date.now();
            await sip.boot();
            return now;
        };
        await struck("after power loss and boot", powerLoss, async (since) => (await watch.answered(since)) - since);
    } finally {
        watch.stop();
    }
    return rows;
}

/** The table, and what it comes to: the worst of the runs. */
function report(rows: readonly Row[]): void {
    const table = new Table({
        head: ["calls", "made", "failed", "RTP sent", "RTP lost", "answer p50", "p99", "silent for", "calls under way"],
        style: { head: [], border: [], compact: true },
    });
    for (const { when, result, silence, underWay } of rows) {
        const { calls, failed, rtp, answerP50, answerP99 } = result;
        table.push([
            ...[when, calls, failed, rtp.callerSent + rtp.calleeSent, rtp.lost],
            ...[milliseconds(answerP50), milliseconds(answerP99)],
            silence === undefined ? "" : `${(silence / 1000).toFixed(2)} s`,
            underWay ? `${underWay.calls - underWay.failed} of ${underWay.calls} ended well` : "",
        ]);
    }
    process.stdout.write(`${table.toString()}\n`);
    for (const { when, result } of rows) if (result.errors) say(`${when}, the first failures:\n${result.errors}`);
    const worst = rows.map(({ result }) => result).reduce((one, other) => (other.failed > one.failed ? other : one));
    conclusion = `${worst.calls} calls, ${worst.failed} failed`;
    if (worst.failed > 0) process.exitCode = 1;
}

function milliseconds(value: number | undefined): string {
    return value === undefined ? "" : `${value} ms`;
}

/** The last line, said when everything is removed. */
let conclusion = "";

main().then(
    () => say(conclusion),
    (error: unknown) => {
        process.stderr.write(`demo:sip: ${ContainerdError.from(error).message}\n`);
        process.exitCode = 1;
    },
);
