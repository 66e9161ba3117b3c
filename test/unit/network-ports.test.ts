/** Published ports as users write them: what they mean, what is wrong with them, and that order doesn't matter. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
    choosePort,
    formatPort,
    parsePorts,
    type PortObject,
    portsOverlap,
    type PortWish,
} from "../../provider/network/ports";

const parse = (...items: (string | number | PortObject)[]) => parsePorts(items);
const written = (...items: (string | number | PortObject)[]) => {
    const { ports, problems } = parse(...items);
    assert.deepEqual(problems, []);
    return ports.map(formatPort);
};

describe("network: ports", () => {
    it("reads Docker's short syntax and objects", () => {
        for (const [item, meant] of [
            ["8080:80", "8080:80/tcp"],
            ["8080:80/TCP", "8080:80/tcp"],
            ["127.0.0.1:8080:80/tcp", "127.0.0.1:8080:80/tcp"],
            ["10000-19999:10000-19999/udp", "10000-19999:10000-19999/udp"],
            ["[2001:DB8:0::1]:53:53/udp", "[2001:db8::1]:53:53/udp"],
            ["[::]:53:53/udp", "[::]:53:53/udp"],
            ["0.0.0.0:53:53/sctp", "0.0.0.0:53:53/sctp"],
            ["5000-5010", "5000-5010:5000-5010/tcp"],
            ["80-80:80-80", "80:80/tcp"],
            [{ container: 80, host: 8080 }, "8080:80/tcp"],
            [
                { container: "80", host: "8080", hostIp: "::ffff:1.2.3.4", protocol: "udp" },
                "[::ffff:102:304]:8080:80/udp",
            ],
            [{ container: "10-20", host: "10-20", protocol: "sctp" }, "10-20:10-20/sctp"],
        ] as const) {
            assert.deepEqual(written(item), [meant], JSON.stringify(item));
        }
    });

    it("tells those without a host port apart, in words that read back", () => {
        for (const [item, meant] of [
            ["80", "80/tcp"],
            [80, "80/tcp"],
            ["80/udp", "80/udp"],
            ["127.0.0.1::80", "127.0.0.1::80/tcp"],
            ["127.0.0.1:80", "127.0.0.1::80/tcp"],
            ["[2001:db8::1]::80", "[2001:db8::1]::80/tcp"],
            [{ container: 80, protocol: "sctp" }, "80/sctp"],
        ] as const) {
            const { ports, wishes, problems } = parse("8080:80", item);
            assert.deepEqual([ports.map(formatPort), problems], [["8080:80/tcp"], []]);
            assert.deepEqual(wishes.map(formatPort), [meant], JSON.stringify(item));
            assert.deepEqual(parse(meant).wishes, wishes);
        }
        assert.match(parse("80", "80/tcp").problems[0]?.reason ?? "", /80\/tcp is there twice/);
    });

    it("chooses a host port, the same each time, and no other's", () => {
        const wish = (text: string): PortWish => parse(text).wishes[0]!;
        const first = choosePort(wish("80"), "one", [])!;
        assert.ok(first.host[0] >= 32768 && first.host[0] <= 60999, formatPort(first));
        assert.deepEqual(choosePort(wish("80"), "one", parse("443:443").ports), first);
        assert.notDeepEqual(choosePort(wish("80"), "two", [])?.host, first.host);
        assert.notDeepEqual(choosePort(wish("80/udp"), "one", [])?.host, first.host);
        const next = choosePort(wish("80"), "one", [first])!;
        assert.notEqual(next.host[0], first.host[0]);
        // Another address, or another protocol, is not in the way.
        const [host] = first.host;
        const local = parse(`127.0.0.1:${host}:1`).ports;
        assert.deepEqual(choosePort(wish("127.0.0.2::80"), "one", local)?.host, first.host);
        assert.notDeepEqual(choosePort(wish("80"), "one", local)?.host, first.host);
        assert.equal(choosePort(wish("80"), "one", parse("32768-60999:32768-60999").ports), undefined);
    });

    it("says what is wrong, by item", () => {
        for (const [item, reason] of [
            ["", /^the container port is empty$/],
            [":80", /names no host port/],
            ["8080:", /container port is empty/],
            ["a:80", /the host port "a" is no number/],
            ["80:0x50", /is no number/],
            ["0:80", /host port 0 is not within 1 to 65535/],
            ["80:65536", /container port 65536 is not within/],
            ["20-10:20-10", /the range 20-10 is reversed/],
            ["10-20:10-19", /^10-20 are 11 ports and 10-19 are 10$/],
            ["10-20:80", /11 ports and 80 are 1/],
            ["10000-10999:20000-20999", /can't lead to 20000-20999: a range has the same ports/],
            ["80:80/icmp", /unknown protocol "icmp": tcp, udp or sctp/],
            ["80:80/", /unknown protocol ""/],
            ["1.2.3:80:80", /"1\.2\.3" is no address/],
            ["[fe80::1%eth0]:80:80", /is no address/],
            ["::1:80:80", /is no port: write it like/],
            ["[::1]:80:80", /can't be published on ::1.*use 127\.0\.0\.1/],
            ["1:2:3:4", /is no port/],
            ["80:80/udp\n", /unknown protocol/],
            [{ container: 80.5 }, /is no number/],
            [{ container: -1 }, /is no number/],
            [{ container: Number.NaN }, /is no number/],
        ] as const) {
            const { ports, problems } = parse("1:1", item);
            assert.equal(problems.length, 1, JSON.stringify(item));
            assert.equal(problems[0]?.index, 1);
            assert.match(problems[0]?.reason ?? "", reason);
            assert.deepEqual(ports.map(formatPort), ["1:1/tcp"]);
        }
    });

    it("finds items that want the same port of the node", () => {
        for (const [one, other, overlap] of [
            ["80:80", "80:81", true],
            ["80:80", "80:80/udp", false],
            ["80:80", "127.0.0.1:80:80", true],
            ["80:80", "[2001:db8::1]:80:80", true],
            ["0.0.0.0:80:80", "[::]:80:80", false],
            ["0.0.0.0:80:80", "127.0.0.1:80:80", true],
            ["[::]:80:80", "127.0.0.1:80:80", false],
            ["127.0.0.1:80:80", "127.0.0.2:80:80", false],
            ["10-20:10-20", "20-30:20-30", true],
            ["10-20:10-20", "21-30:21-30", false],
            ["10-30:10-30", "15:1", true],
            ["[2001:db8::1]:80:80", "[2001:0db8::0001]:80:81", true],
        ] as const) {
            const [left] = parse(one).ports;
            const [right] = parse(other).ports;
            assert.ok(left && right);
            assert.equal(portsOverlap(left, right), overlap, `${one} ${other}`);
            assert.equal(portsOverlap(right, left), overlap, `${other} ${one}`);
            const { problems } = parse("9:9", one, other);
            assert.equal(problems.length, overlap ? 1 : 0);
            if (overlap) assert.match(problems[0]?.reason ?? "", /overlaps/);
            if (overlap) assert.equal(problems[0]?.index, 2);
        }
    });

    it("gives the same for the same items in any order", () => {
        const items = [
            "8080:80",
            "80",
            "81/udp",
            "127.0.0.1:53:53/udp",
            "[::]:53:53/udp",
            "10000-19999:10000-19999/udp",
            "9:9/sctp",
        ];
        const sorted = JSON.stringify(parse(...items));
        fc.assert(
            fc.property(fc.shuffledSubarray(items, { minLength: items.length }), (shuffled) => {
                assert.equal(JSON.stringify(parse(...shuffled)), sorted);
            }),
        );
    });

    it("never throws, and what it gives reads back as the same", () => {
        const part = fc.oneof(
            fc.integer({ min: -1, max: 70000 }).map(String),
            fc.constantFrom("", "10-20", "::", "127.0.0.1", "[::]", "x"),
        );
        const item = fc.oneof(
            fc.string(),
            fc
                .tuple(fc.array(part, { minLength: 1, maxLength: 3 }), fc.constantFrom("", "/udp", "/tcp"))
                .map(([parts, end]) => parts.join(":") + end),
        );
        fc.assert(
            fc.property(fc.array(item, { maxLength: 5 }), (items) => {
                const { ports, wishes, problems } = parse(...items);
                assert.equal(ports.length + wishes.length + problems.length, items.length);
                const again = parse(...ports.map(formatPort), ...wishes.map(formatPort));
                assert.deepEqual(again, { ports, wishes, problems: [] });
            }),
        );
    });
});
