/** Reads what SIPp and nft write down of calls. Pure: text in, numbers out. */
import { ContainerdError } from "../../provider/errors";

/** What SIPp counted: `-trace_stat`. */
export interface CallCounts {
    /** Calls that were begun. */
    calls: number;
    failed: number;
    /** Messages that were sent again because no answer came in time. */
    retransmissions: number;
    /** Why calls failed, by SIPp's names without `Failed`, as far as it says. */
    reasons: Record<string, number>;
}

/** Packets by the names of the counters in {@link countingRules}. */
export interface PacketCounts {
    callerSent: number;
    calleeReceived: number;
    calleeSent: number;
    callerReceived: number;
    /** Of those that were received: marked with DSCP EF, as the relay marks sound. */
    marked: number;
}

/** The columns of a file of SIPp's statistics by their names, from its last line: counters are cumulative. */
function lastLine(csv: string): Map<string, string> {
    const lines = csv.split("\n").filter((line) => line.trim() !== "");
    const names = lines[0]?.split(";") ?? [];
    const values = lines.length > 1 ? (lines.at(-1)?.split(";") ?? []) : [];
    return new Map(names.map((name, index) => [name, values[index] ?? ""]));
}

/** Calls of a `-trace_stat` file. Throws `Invalid` when it is none, or has no line of values. */
export function parseStatistics(csv: string): CallCounts {
    const columns = lastLine(csv);
    const count = (name: string): number => {
        const value = columns.get(name);
        if (value !== undefined && /^\d+$/.test(value)) return Number(value);
        throw new ContainerdError("Invalid", `SIPp's statistics have no number ${name}: ${csv.slice(0, 200)}`);
    };
    const reasons: Record<string, number> = {};
    for (const name of columns.keys()) {
        const reason = /^Failed(?!Call\()(\w+)\(C\)$/.exec(name)?.[1];
        if (reason !== undefined && count(name) > 0) reasons[reason] = count(name);
    }
    return {
        calls: count("TotalCallCreated"),
        failed: count("FailedCall(C)"),
        retransmissions: count("Retransmissions(C)"),
        reasons,
    };
}

/**
 * Milliseconds of one of the scenario's response times, sorted: a `-trace_rtt` file.
 *
 * @param number the `rtd` of the scenario.
 */
export function parseResponseTimes(csv: string, number: number): number[] {
    const rows = csv.split("\n").map((line) => line.split(";"));
    const times = rows.filter(([, , rtd]) => rtd?.trim() === String(number)).map(([, time]) => Number(time));
    return times.filter(Number.isFinite).sort((one, other) => one - other);
}

/** The value below or at which a share of sorted values lies; undefined for none. `share`: 0.5 is the median. */
export function percentile(sorted: readonly number[], share: number): number | undefined {
    return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}

/** What {@link parsePackets} reads of `nft --json list table`. */
interface NftListing {
    nftables: { rule?: { comment?: string; expr: { counter?: { packets: number } }[] } }[];
}

/** Packets of `nft --json list table`, by the rules' comments; 0 for those that are not there. */
export function parsePackets(json: string): PacketCounts {
    const { nftables } = JSON.parse(json) as NftListing;
    const counts: PacketCounts = { callerSent: 0, calleeReceived: 0, calleeSent: 0, callerReceived: 0, marked: 0 };
    for (const { rule } of nftables) {
        const packets = rule?.expr.find(({ counter }) => counter)?.counter?.packets;
        const name = rule?.comment;
        if (packets !== undefined && name !== undefined && name in counts)
            counts[name as keyof PacketCounts] += packets;
    }
    return counts;
}

/** Packets that were sent by one phone, and that the other did not get. */
export function lostPackets(counts: PacketCounts): number {
    return counts.callerSent - counts.calleeReceived + (counts.calleeSent - counts.callerReceived);
}

/** The table that counts in the network namespace of the phones. */
export const COUNTING_TABLE = "sip_phones";

/**
 * Rules that count the sound of both phones at the door of their machine, so that a packet which a busy phone does not fetch
 * in time is not taken for one that was lost on the way.
 *
 * @param relays addresses of the relay
 * @param calleePort where the callee's sound goes; the caller's are all others.
 * @param relayPorts of the relay, as nft writes a range.
 */
export function countingRules(relays: readonly string[], calleePort: number, relayPorts: string): string {
    const received = relays.flatMap((relay) => {
        const ip = relay.includes(":") ? "ip6" : "ip";
        const from = `${ip} saddr ${relay} udp sport ${relayPorts}`;
        return [
            `${from} udp dport ${calleePort} counter comment "calleeReceived"`,
            `${from} udp dport != ${calleePort} counter comment "callerReceived"`,
            `${from} ${ip} dscp ef counter comment "marked"`,
        ];
    });
    const sent = relays.flatMap((relay) => {
        const to = `${relay.includes(":") ? "ip6" : "ip"} daddr ${relay} udp dport ${relayPorts}`;
        return [
            `${to} udp sport ${calleePort} counter comment "calleeSent"`,
            `${to} udp sport != ${calleePort} counter comment "callerSent"`,
        ];
    });
    return `table inet ${COUNTING_TABLE}
delete table inet ${COUNTING_TABLE}
table inet ${COUNTING_TABLE} {
    chain received {
        type filter hook input priority filter;
        ${received.join("\n        ")}
    }
    chain sent {
        type filter hook output priority filter;
        ${sent.join("\n        ")}
    }
}
`;
}
