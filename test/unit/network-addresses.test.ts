/** Addresses: parsing, subnets, and choices that are the same each time. */
import assert from "node:assert/strict";
import { BlockList } from "node:net";
import fc from "fast-check";
import {
    addressNumber,
    bridgeName,
    chooseSubnets,
    contains,
    defaultGateway,
    formatAddress,
    formatSubnet,
    freeAddress,
    interfaceId,
    macOf,
    normalAddress,
    overlap,
    parseSubnet,
    subnetOf,
    vethName,
} from "../../provider/network/addresses";

const ip4 = fc.integer({ min: 0, max: 2 ** 32 - 1 }).map((value) => formatAddress(BigInt(value), 4));
const ip6 = fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map((value) => formatAddress(value, 6));

describe("network: addresses", () => {
    it("go to numbers and back", () => {
        fc.assert(
            fc.property(fc.oneof(ip4, ip6), (address) => {
                const { value, family } = addressNumber(address);
                assert.equal(formatAddress(value, family), address);
            }),
        );
        assert.equal(normalAddress("2001:0DB8:0:0::0:1"), "2001:db8::1");
        assert.equal(normalAddress("::ffff:1.2.3.4"), "::ffff:102:304");
        assert.deepEqual(addressNumber("::"), { family: 6, value: 0n });
        for (const wrong of ["", "1.2.3", "1.2.3.256", "fe80::1%eth0", "localhost", "[::1]", " 1.2.3.4"]) {
            assert.throws(() => addressNumber(wrong), { code: "Invalid", message: /is no IPv4 or IPv6 address/ });
        }
    });

    it("lie in subnets, as Node's own block list says", () => {
        const within = (prefixes: number, family: "ipv4" | "ipv6", address: fc.Arbitrary<string>) =>
            fc.assert(
                fc.property(
                    address,
                    address,
                    fc.integer({ min: 1, max: prefixes }),
                    fc.boolean(),
                    (one, other, prefix, near) => {
                        const subnet = subnetOf(one, prefix);
                        const tried = near
                            ? formatAddress(addressNumber(one).value ^ 1n, family === "ipv4" ? 4 : 6)
                            : other;
                        const list = new BlockList();
                        list.addSubnet(one, prefix, family);
                        assert.equal(contains(subnet, tried), list.check(tried, family));
                        const twin = subnetOf(tried, 32);
                        assert.equal(overlap(subnet, twin), overlap(twin, subnet));
                        assert.deepEqual(parseSubnet(formatSubnet(subnet)), subnet);
                    },
                ),
            );
        within(32, "ipv4", ip4);
        within(128, "ipv6", ip6);
        assert.equal(contains(parseSubnet("10.0.0.0/8"), "::"), false);
        assert.equal(overlap(parseSubnet("0.0.0.0/0"), parseSubnet("::/0")), false);
        assert.equal(overlap(parseSubnet("10.127.0.0/16"), parseSubnet("10.0.0.0/8")), true);
        assert.equal(overlap(parseSubnet("10.127.0.0/16"), parseSubnet("10.128.0.0/16")), false);
        for (const [wrong, reason] of [
            ["10.0.0.1/8", /is an address within the subnet 10\.0\.0\.0\/8/],
            ["10.0.0.0", /is no subnet/],
            ["10.0.0.0/33", /at most 32 bits/],
            ["fd00::/129", /at most 128 bits/],
            ["10.0.0.0/8/8", /is no subnet/],
            ["x/8", /is no IPv4 or IPv6 address/],
        ] as const) {
            assert.throws(() => parseSubnet(wrong), { code: "Invalid", message: reason });
        }
    });

    it("are chosen by the seed, free and usable ones only", () => {
        const subnet = "10.120.5.0/29";
        const used = new Set([defaultGateway(parseSubnet(subnet)), "10.120.6.2", "fd00::2"]);
        const first = freeAddress(subnet, "web", used);
        assert.equal(freeAddress(subnet, "web", used), first);
        const given: string[] = [];
        for (;;) {
            const next = freeAddress(subnet, "web", used);
            if (next === undefined) break;
            given.push(next);
            used.add(next);
        }
        assert.deepEqual(
            given.sort(),
            [2, 3, 4, 5, 6].map((last) => `10.120.5.${last}`),
        );
        assert.equal(freeAddress("10.0.0.0/31", "web", []), undefined);
        assert.equal(freeAddress("10.0.0.0/32", "web", []), undefined);
        const many = new Set(Array.from({ length: 100 }, (_, index) => freeAddress("fd00::/64", `n${index}`, [])));
        assert.equal(many.size, 100);
    });

    it("of IPv6 have the place of their IPv4 address", () => {
        assert.equal(interfaceId("fd7c:6f6e:7461::/64", "10.127.0.5"), "fd7c:6f6e:7461::5");
        assert.equal(interfaceId("fd7c:6f6e:7461::/64", "10.127.1.2"), "fd7c:6f6e:7461::102");
    });

    it("of networks come from the pool, without those that overlap", () => {
        const first = chooseSubnets("lan@default", []);
        assert.match(formatSubnet(first.subnet), /^10\.12[0-3]\.\d+\.0\/24$/);
        assert.match(formatSubnet(first.subnet6), /^fd7c:6f6e:7461:[0-9a-f]+::\/64$/);
        assert.deepEqual(chooseSubnets("lan@default", []), first);
        const second = chooseSubnets("lan@default", [first.subnet]);
        assert.equal(overlap(second.subnet, first.subnet) || overlap(second.subnet6, first.subnet6), false);
        assert.throws(() => chooseSubnets("lan@default", [parseSubnet("10.0.0.0/8")]), {
            code: "Conflict",
            message: /no free \/24/,
        });
        assert.equal(
            formatSubnet(chooseSubnets("x", [parseSubnet("10.120.0.0/24")], "10.120.0.0/23").subnet),
            "10.120.1.0/24",
        );
    });

    it("give MAC addresses and interface names that the kernel takes", () => {
        assert.equal(macOf("10.127.0.5"), "02:42:0a:7f:00:05");
        assert.match(macOf("fd00::5"), /^06(:[0-9a-f]{2}){5}$/);
        assert.notEqual(macOf("fd00::5"), macOf("fd00::6"));
        assert.equal(bridgeName("bridge"), "pulumi0");
        for (const name of [bridgeName("lan@default"), vethName("web@default")])
            assert.match(name, /^p[nc][0-9a-f]{12}$/);
        assert.notEqual(vethName("web@default"), vethName("web@other"));
    });
});
