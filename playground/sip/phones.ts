/**
 * Phones that call through a SIP proxy: SIPp on a machine of its own, outside of the proxy's. Each caller registers, calls one
 * of some registered callees, speaks for a while, hears its voice come back, and hangs up.
 */
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { ContainerdError } from "../../provider/errors";
import type { Worker } from "../worker";
import {
    COUNTING_TABLE,
    type CallCounts,
    countingRules,
    lostPackets,
    type PacketCounts,
    parsePackets,
    parseResponseTimes,
    parseStatistics,
    percentile,
} from "./statistics";

export interface CallOptions {
    /** Where the phones are: a worker with a network of its own. */
    phones: Worker;
    /** Address of the proxy, which is that of the relay too. */
    proxy: string;
    /** Default: 1,000. */
    calls?: number;
    /** Calls begun in a second. Default: 20. */
    rate?: number;
    /** How long a caller speaks, in milliseconds. Default: 3,000. */
    hold?: number;
    /** Default: `udp`. */
    transport?: "udp" | "tcp";
    /** Address of the phones, of the proxy's family. Default: their machine's. */
    from?: string;
    /** Where the callees reach the proxy, and their own address: of the other family. Default: as the callers. */
    callees?: { proxy: string; from: string };
    /** How many phones are called, in turn. Default: 50; with 0 the callees of an earlier run are called. */
    register?: number;
}

/** What became of the calls. */
export interface CallResult extends CallCounts {
    rtp: PacketCounts & {
        /** In both directions. */
        lost: number;
    };
    /** From INVITE to the answer, in milliseconds: median and 99th percentile; undefined without any answer. */
    answerP50: number | undefined;
    answerP99: number | undefined;
    /** The first lines of what SIPp says of failed calls. */
    errors: string;
}

const CALLEE_SIP_PORT = 5070;
/** Where the callees' sound goes; that of callers goes to 20000 and up. */
const CALLEE_MEDIA_PORT = 6000;
const CALLER_MEDIA_PORT = 20_000;
const RELAY_PORTS = "10000-19999";
const CALLEES = 50;
/** What a caller waits for the echo of its last packet, in milliseconds: after the end of the call the relay takes none. */
const ECHO = 1500;
/** How long calls may take beyond what they should, in seconds. */
const PATIENCE = 90;

/**
 * In a folder of the phones' machine: FROM PROXY CALLS RATE SECONDS TRANSPORT CALLEES' FROM AND PROXY. `t` ends SIPp when it should have ended long
 * ago. Exit status 2: the callees could not register.
 */
const SCRIPT = `set -eu
cd "$1"; from=$2 proxy=$3 calls=$4 rate=$5 seconds=$6 transport=$7 callees=$8 callees_proxy=$9
nft -f rules.nft
common="-t $transport -nostdin -trace_err -timeout_error -buff_size 4194304"
if [ -e register.csv ]; then
    # shellcheck disable=SC2086
    sipp "$callees_proxy:5060" -i "$callees" $common -sf register.xml -key contact "$callees:${CALLEE_SIP_PORT}" -inf register.csv -p 5062 -r 50 -timeout 30 \\
        -m "$(($(wc -l <register.csv) - 1))" >register.out 2>&1 || exit 2
fi
# shellcheck disable=SC2086
sipp "$callees_proxy:5060" -i "$callees" $common -sf callee.xml -p ${CALLEE_SIP_PORT} -mi "$callees" -mp ${CALLEE_MEDIA_PORT} -rtp_echo \\
    -timeout "$seconds" >callee.out 2>&1 &
callee=$!
trap 'kill -KILL "$callee" 2>/dev/null || true' EXIT
n=0
while ! grep -q ":$(printf %04X ${CALLEE_SIP_PORT}) " /proc/net/udp /proc/net/udp6 /proc/net/tcp /proc/net/tcp6; do
    n=$((n + 1)); [ $n -lt 100 ] || exit 3
    sleep 0.1
done
status=0
# shellcheck disable=SC2086
sipp "$proxy:5060" -i "$from" $common -sf caller.xml -inf phones.csv -p 5064 -mi "$from" -mp ${CALLER_MEDIA_PORT} -l "$calls" \\
    -m "$calls" -r "$rate" -timeout "$seconds" -trace_stat -stf statistics.csv -fd 1 -trace_rtt -rtt_freq 1 \\
    >caller.out 2>&1 || status=$?
nft --json list table inet ${COUNTING_TABLE} >packets.json
nft delete table inet ${COUNTING_TABLE}
# SIPp puts its process id in the names of these.
cat ./*_rtt.csv >rtt.csv 2>/dev/null || true
grep -h 'Aborting call' ./caller_*errors.log ./callee_*errors.log 2>/dev/null | cut -f 3 | head -n 20 >errors || true
exit $status`;

/**
 * Makes calls and counts. Failed calls are part of the result.
 *
 * Throws `Failed` when the callees cannot register, or SIPp does not run.
 *
 * @example
 * const { calls, failed, rtp } = await runCalls({ phones, proxy: sip.ip });
 */
export async function runCalls(options: CallOptions): Promise<CallResult> {
    const { phones, proxy, calls = 1000, rate = 20, hold = 3000, transport = "udp", register = CALLEES } = options;
    const from = options.from ?? phones.ip;
    const callees = options.callees ?? { proxy, from };
    // Below its folder, which both this process and the phones' machine see.
    const folder = await mkdtemp(path.join(phones.dir, "sipp-"));
    try {
        const relays = [...new Set([proxy, callees.proxy])];
        await prepare(folder, { relays, hold, register });
        const seconds = Math.ceil(calls / rate + hold / 1000 + PATIENCE);
        const args = [folder, bracketed(from), bracketed(proxy), String(calls), String(rate), String(seconds)];
        const kind = transport === "udp" ? "u1" : "t1";
        const script = ["-c", SCRIPT, "sh", ...args, kind, bracketed(callees.from), bracketed(callees.proxy)];
        const ended = await phones.exec("/bin/sh", script, { timeout: (seconds + PATIENCE) * 1000 });
        return await collect(folder, `SIPp ended with status ${ended.code}: ${ended.stderr.trim()}`);
    } finally {
        await rm(folder, { recursive: true, force: true });
    }
}

/** Writes what SIPp reads. */
async function prepare(
    folder: string,
    { relays, hold, register }: { relays: string[]; hold: number; register: number },
): Promise<void> {
    await mkdir(folder, { recursive: true });
    const scenario = path.join(__dirname, "scenarios");
    await copyFile(path.join(scenario, "callee.xml"), path.join(folder, "callee.xml"));
    // SIPp takes no duration from its command line.
    for (const name of ["caller.xml", "register.xml"]) {
        const text = await readFile(path.join(scenario, name), "utf8");
        await writeFile(path.join(folder, name), text.replaceAll("[hold]", String(hold + ECHO)));
    }
    const users = (count: number) => Array.from({ length: count }, (_, index) => `callee-${index + 1};\n`).join("");
    await writeFile(path.join(folder, "phones.csv"), `SEQUENTIAL\n${users(register || CALLEES)}`);
    if (register) await writeFile(path.join(folder, "register.csv"), `SEQUENTIAL\n${users(register)}`);
    await writeFile(path.join(folder, "voice.ulaw"), tone(hold));
    await writeFile(path.join(folder, "rules.nft"), countingRules(relays, CALLEE_MEDIA_PORT, RELAY_PORTS));
}

/** What SIPp wrote; `otherwise` says what happened when it wrote nothing. */
async function collect(folder: string, otherwise: string): Promise<CallResult> {
    const read = (name: string) => readFile(path.join(folder, name), "utf8").catch(() => "");
    const statistics = await read("statistics.csv");
    if (statistics === "") {
        const said = (await Promise.all(["register.out", "callee.out", "caller.out"].map(read))).join("").slice(-1000);
        throw new ContainerdError("Failed", `no calls were made: ${otherwise} ${said}`);
    }
    const answers = parseResponseTimes(await read("rtt.csv"), 2);
    const packets = parsePackets((await read("packets.json")) || '{"nftables":[]}');
    return {
        ...parseStatistics(statistics),
        rtp: { ...packets, lost: lostPackets(packets) },
        answerP50: percentile(answers, 0.5),
        answerP99: percentile(answers, 0.99),
        errors: await read("errors"),
    };
}

/** A tone of 400 Hz in G.711 µ-law, 8,000 bytes a second: two levels, ten samples each. */
function tone(milliseconds: number): Buffer {
    const wave = Buffer.from([...Array<number>(10).fill(0x90), ...Array<number>(10).fill(0x10)]);
    return Buffer.alloc(milliseconds * 8, wave);
}

function bracketed(address: string): string {
    return address.includes(":") ? `[${address}]` : address;
}
