/** What is read of SIPp's and nft's counters. */
import assert from "node:assert/strict";
import {
    countingRules,
    lostPackets,
    parsePackets,
    parseResponseTimes,
    parseStatistics,
    percentile,
} from "../../playground/sip/statistics";

const NAMES =
    "TotalCallCreated;FailedCall(P);FailedCall(C);FailedUnexpectedMessage(C);FailedTimeoutOnRecv(C);Retransmissions(C);";

describe("SIPp's statistics", () => {
    it("are those of the last line, with the reasons of failed calls", () => {
        const csv = `${NAMES}\n10;0;0;0;0;0;\n1000;2;5;3;2;7;\n`;
        assert.deepEqual(parseStatistics(csv), {
            calls: 1000,
            failed: 5,
            retransmissions: 7,
            reasons: { UnexpectedMessage: 3, TimeoutOnRecv: 2 },
        });
    });

    for (const [what, csv] of [
        ["nothing", ""],
        ["names without values", `${NAMES}\n`],
        ["a line that was cut off", `${NAMES}\n1000;2`],
        ["something else", "a;b\n1;2\n"],
    ] as const) {
        it(`are refused when there is ${what}`, () => {
            assert.throws(() => parseStatistics(csv), { code: "Invalid" });
        });
    }
});

describe("response times", () => {
    it("are those of one number, sorted", () => {
        const csv = "Date_ms;response_time_ms;rtd_no\n208.001;4;1\n216.001;108;2\n300;36;2\n408.001;4;1\n";
        assert.deepEqual(parseResponseTimes(csv, 2), [36, 108]);
        assert.deepEqual(parseResponseTimes("", 2), []);
    });

    for (const [values, share, expected] of [
        [[], 0.5, undefined],
        [[7], 0.99, 7],
        [[1, 2, 3, 4], 0.5, 2],
        [[1, 2, 3], 0.5, 2],
        [Array.from({ length: 1000 }, (_, index) => index + 1), 0.99, 990],
        [[1, 2, 3], 0, 1],
        [[1, 2, 3], 1, 3],
    ] as const) {
        it(`${share} of ${values.length} values is ${expected}`, () => {
            assert.equal(percentile(values, share), expected);
        });
    }
});

describe("counted packets", () => {
    it("are those of the rules' comments", () => {
        const rule = (comment: string, packets: number) => ({
            rule: { comment, expr: [{ match: {} }, { counter: { packets, bytes: 1 } }] },
        });
        const nftables = [
            { metainfo: {} },
            ...[
                rule("callerSent", 100),
                rule("calleeReceived", 98),
                rule("calleeSent", 98),
                rule("callerReceived", 95),
            ],
            ...[rule("marked", 193), rule("another", 5), { rule: { expr: [] } }],
        ];
        const counts = parsePackets(JSON.stringify({ nftables }));
        const expected = { callerSent: 100, calleeReceived: 98, calleeSent: 98, callerReceived: 95, marked: 193 };
        assert.deepEqual(counts, expected);
        assert.equal(lostPackets(counts), 5);
    });

    it("are counted by the family of the relay's address", () => {
        assert.match(
            countingRules(["192.0.2.1"], 6000, "10000-19999"),
            /ip saddr 192\.0\.2\.1 udp sport 10000-19999 ip dscp/,
        );
        const both = countingRules(["192.0.2.1", "2001:db8::1"], 6000, "10000-19999");
        assert.match(both, /ip6 daddr 2001:db8::1 udp dport 10000-19999/);
        assert.equal(both.match(/"calleeReceived"/g)?.length, 2);
    });
});
