/** The plan about firewall rules: what awk makes of what is wanted and what nft lists, and the texts for nft. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { PLAN_AWK } from "../../provider/network/plan.awk";
import { parsePorts } from "../../provider/network/ports";
import {
    addressRules,
    baseRules,
    bridgeElements,
    TABLE,
    tagOf,
    wantedLines,
    wantedPorts,
} from "../../provider/network/rules";
import type { Attachment } from "../../provider/network/settings";

const attachment: Attachment = {
    driver: "bridge",
    network: "bridge",
    bridge: "pulumi0",
    internal: false,
    masquerade: true,
    ip4: { address: "10.127.0.5", prefix: 16, gateway: "10.127.0.1" },
    mac: "02:42:0a:7f:00:05",
};
const base = baseRules();

interface Listed {
    /** Elements by map or set. */
    elements?: Record<string, string[]>;
    /** Rules of ours in chains. */
    rules?: number;
    /** Rules of chains of addresses, by their suffix. */
    addresses?: Record<string, number>;
}

/** What nft lists, as nft writes it. */
function listing({ elements = {}, rules = base.count, addresses = {} }: Listed): string {
    const sets = Object.entries({
        bridges: ['"pulumi0"'],
        same: ['"pulumi0" . "pulumi0"'],
        net4: ["10.127.0.0/16"],
        out4: ["10.127.0.0/16"],
        ...elements,
    });
    return [
        `table inet ${TABLE} {`,
        ...sets.map(([name, list]) => {
            const what = /^(tcp|udp|sctp|addresses)/.test(name) ? "map" : "set";
            // Long lists go on in the next line.
            const text = list.length === 0 ? "" : `\t\telements = { ${list.join(",\n\t\t\t     ")} }\n`;
            return `\t${what} ${name} {\n\t\ttype inet_service : ipv4_addr\n\t\tflags interval\n${text}\t}\n`;
        }),
        "\tchain ports {",
        ...Array.from(
            { length: rules },
            () => `\t\tmeta nfproto ipv4 dnat ip to udp dport map @udp4 comment "${base.mark}"`,
        ),
        "\t}",
        ...Object.entries(addresses).flatMap(([suffix, count]) => [
            `\tchain at_${suffix} {`,
            ...Array.from(
                { length: count },
                () => '\t\tmeta nfproto ipv4 dnat ip to udp dport map @x comment "r0123456789"',
            ),
            "\t}",
        ]),
        "}",
    ].join("\n");
}

interface Asked {
    mode?: "ensure" | "take" | "remove";
    old?: string;
    gone?: string;
    key?: string;
}

/** The plan's lines for ports of `a@x`. */
function plan(
    ports: string[],
    listed: string,
    { mode = "ensure", old = "", gone = "", key = "a@x" }: Asked = {},
): string[] {
    const wanted = wantedPorts({ attachment, ports: parsePorts(ports).ports });
    const sets = bridgeElements(attachment)
        .split("\n")
        .map((line) => `set ${line}`);
    const input = [wantedLines(wanted), ...sets, "==", listed].join("\n");
    const variables = { table: TABLE, mode, tag: tagOf(key), old, mark: base.mark, rules: String(base.count), gone };
    const args = Object.entries(variables).flatMap(([name, value]) => ["-v", `${name}=${value}`]);
    const { stdout, stderr } = spawnSync("awk", [...args, PLAN_AWK], { input, encoding: "utf8" });
    assert.equal(stderr, "");
    return stdout
        .split("\n")
        .filter(Boolean)
        .map((line) => line.replace(` inet ${TABLE}`, ""));
}

const ours = {
    tcp4: ['8080 comment "a@x" : 10.127.0.5'],
    tcp4_to: ['8080 comment "a@x" : 80'],
    udp4: ['10000-19999 comment "a@x" : 10.127.0.5'],
};
const PORTS = ["8080:80", "10000-19999:10000-19999/udp"];

describe("network: the plan of firewall rules", () => {
    it("is empty where all is as wanted, whoever else is there", () => {
        assert.deepEqual(plan(PORTS, listing({ elements: ours })), []);
        const others = {
            ...ours,
            udp4: [...ours.udp4, '5060 comment "b@x" : 10.127.0.6', '20000-65535 comment "b@x" : 10.127.0.6'],
        };
        assert.deepEqual(plan(PORTS, listing({ elements: others })), []);
        assert.deepEqual(plan([], listing({})), []);
    });

    it("makes everything where there is nothing", () => {
        assert.deepEqual(plan(PORTS, ""), [
            "#base",
            'add element bridges { "pulumi0" }',
            'add element same { "pulumi0" . "pulumi0" }',
            "add element net4 { 10.127.0.0/16 }",
            "add element out4 { 10.127.0.0/16 }",
            "#new tcp 4 * 8080 8080",
            "#new udp 4 * 10000 19999",
            'add element tcp4 { 8080 comment "a@x" : 10.127.0.5 }',
            'add element tcp4_to { 8080 comment "a@x" : 80 }',
            'add element udp4 { 10000-19999 comment "a@x" : 10.127.0.5 }',
        ]);
    });

    it("sees rules that are missing or of another release", () => {
        assert.deepEqual(plan(PORTS, listing({ elements: ours, rules: base.count - 1 })), ["#base"]);
        assert.deepEqual(plan(PORTS, listing({ elements: ours }).replaceAll(base.mark, "r0123456789")), ["#base"]);
    });

    it("takes away what is ours and no longer wanted, and half of what is wanted otherwise", () => {
        const stale = listing({ elements: { ...ours, tcp4: [...ours.tcp4, '9090 comment "a@x" : 10.127.0.5'] } });
        assert.deepEqual(plan(PORTS, stale), ["delete element tcp4 { 9090 }"]);
        // Another port in the container: the second map alone.
        assert.deepEqual(plan(["8080:81", PORTS[1] ?? ""], listing({ elements: ours })), [
            "delete element tcp4_to { 8080 }",
            "#new tcp 4 * 8080 8080",
            'add element tcp4_to { 8080 comment "a@x" : 81 }',
        ]);
        assert.deepEqual(plan(["8080:8080", PORTS[1] ?? ""], listing({ elements: ours })), [
            "delete element tcp4_to { 8080 }",
        ]);
        // An address of another time.
        const moved = listing({ elements: { ...ours, udp4: ['10000-19999 comment "a@x" : 10.127.0.9'] } });
        assert.deepEqual(plan(PORTS, moved), [
            "delete element udp4 { 10000-19999 }",
            "#new udp 4 * 10000 19999",
            'add element udp4 { 10000-19999 comment "a@x" : 10.127.0.5 }',
        ]);
    });

    it("names who has a port, on all addresses or on one", () => {
        for (const [port, elements, conflict] of [
            ["8080:80", { tcp4: ['8080 comment "b@x" : 10.127.0.6'] }, "port 8080/tcp is published by b@x"],
            ["10-20:10-20/udp", { udp4: ['15-30 comment "b@x" : 10.127.0.6'] }, "ports 15-20/udp are published by b@x"],
            [
                "8080:80",
                { tcp4_7f000001: ['8000-9000 comment "b@x" : 10.127.0.6'] },
                "port 8080/tcp is published by b@x",
            ],
            ["127.0.0.1:8080:80", { tcp4: ['8080 comment "b@x" : 10.127.0.6'] }, "port 8080/tcp is published by b@x"],
            [
                "8080:80",
                { udp4: ['8080 comment "b@x" : 10.127.0.6'], tcp6: ['8080 comment "b@x" : fd00::6'] },
                undefined,
            ],
            ["127.0.0.1:8080:80", { tcp4_7f000002: ['8080 comment "b@x" : 10.127.0.6'] }, undefined],
            ["8080:80", { tcp4_to: ['8080 comment "b@x" : 80'] }, undefined],
        ] as const) {
            const found = plan([port], listing({ elements: elements as unknown as Record<string, string[]> })).filter(
                (line) => line.startsWith("#conflict "),
            );
            assert.deepEqual(found, conflict === undefined ? [] : [`#conflict ${conflict}`], port);
        }
    });

    it("leaves the predecessor its ports, and takes them in one transaction", () => {
        const elements = {
            tcp4: ['8080 comment "old@x" : 10.127.0.9', '9090 comment "old@x" : 10.127.0.9'],
            tcp4_to: ['8080 comment "old@x" : 80', '9090 comment "old@x" : 90'],
            udp4: ['10000-20000 comment "old@x" : 10.127.0.9'],
        };
        assert.deepEqual(plan([...PORTS, "7:7"], listing({ elements }), { old: "old@x" }), [
            "#new tcp 4 * 7 7",
            'add element tcp4 { 7 comment "a@x" : 10.127.0.5 }',
        ]);
        assert.deepEqual(plan(PORTS, listing({ elements }), { old: "old@x", mode: "take" }), [
            "#moved 10.127.0.9",
            "delete element tcp4 { 8080 }",
            "delete element tcp4_to { 8080 }",
            "#new tcp 4 * 8080 8080",
            "delete element udp4 { 10000-20000 }",
            "#new udp 4 * 10000 19999",
            'add element tcp4 { 8080 comment "a@x" : 10.127.0.5 }',
            'add element tcp4_to { 8080 comment "a@x" : 80 }',
            'add element udp4 { 10000-19999 comment "a@x" : 10.127.0.5 }',
        ]);
        // Nobody else's.
        assert.match(
            plan(PORTS, listing({ elements }), { old: "older@x", mode: "take" })[0] ?? "",
            /^#conflict port 8080/,
        );
    });

    it("removes what is ours alone, addresses nobody uses, and all with the last", () => {
        const elements = {
            ...ours,
            tcp4: [...ours.tcp4, '90 comment "b@x" : 10.127.0.6'],
            udp4_7f000001: ['53 comment "a@x" : 10.127.0.5'],
            udp4_c0000207: ['53 comment "a@x" : 10.127.0.5', '54 comment "b@x" : 10.127.0.6'],
            addresses4: ["127.0.0.1 : jump at_7f000001", "192.0.2.7 : jump at_c0000207"],
        };
        const addresses = { "7f000001": 6, c0000207: 6 };
        const removed = plan(PORTS, listing({ elements, addresses }), { mode: "remove" });
        assert.deepEqual(removed.slice(0, 8), [
            "delete element tcp4 { 8080 }",
            "delete element tcp4_to { 8080 }",
            "delete element udp4 { 10000-19999 }",
            "delete element udp4_7f000001 { 53 }",
            "delete element udp4_c0000207 { 53 }",
            "delete element addresses4 { 127.0.0.1 }",
            "flush chain at_7f000001",
            "delete chain at_7f000001",
        ]);
        assert.deepEqual(
            removed.slice(8),
            ["tcp", "udp", "sctp"].flatMap((one) => [`delete map ${one}4_7f000001`, `delete map ${one}4_7f000001_to`]),
        );
        assert.equal(plan(PORTS, listing({ elements: ours }), { mode: "remove", gone: "yes" }).at(-1), "#last");
        // Another bridge, another's port.
        const both: Record<string, string[]>[] = [
            { bridges: ['"pulumi0"', '"pn1"'] },
            { tcp6: ['80 comment "b@x" : fd00::6'] },
        ];
        for (const left of both) {
            const lines = plan(PORTS, listing({ elements: { ...ours, ...left } }), { mode: "remove", gone: "yes" });
            assert.ok(lines.includes('delete element bridges { "pulumi0" }') && !lines.includes("#last"), lines.join());
        }
    });

    it("asks for the rules of an address that are not whole", () => {
        const elements = {
            tcp4_7f000001: ['80 comment "a@x" : 10.127.0.5'],
            addresses4: ["127.0.0.1 : jump at_7f000001"],
        };
        const port = "127.0.0.1:80:80";
        assert.deepEqual(plan([port], listing({ elements, addresses: { "7f000001": 6 } })), []);
        assert.deepEqual(plan([port], listing({ elements, addresses: { "7f000001": 5 } })), ["#address"]);
        assert.deepEqual(
            plan([port], listing({ elements: { ...elements, addresses4: [] }, addresses: { "7f000001": 6 } })),
            ["#address"],
        );
    });
});

describe("network: firewall rules as text", () => {
    it("are one element a range and family", () => {
        const both: Attachment = { ...attachment, ip6: { address: "FD00:0::5", prefix: 64, gateway: "fd00::1" } };
        const lines = (...ports: string[]) =>
            wantedLines(wantedPorts({ attachment: both, ports: parsePorts(ports).ports })).split("\n");
        assert.deepEqual(lines("10000-19999:10000-19999/udp"), [
            "udp4 udp 4 * 10000 19999 10.127.0.5 -",
            "udp6 udp 6 * 10000 19999 fd00::5 -",
        ]);
        assert.deepEqual(lines("0.0.0.0:80:8080"), ["tcp4 tcp 4 * 80 80 10.127.0.5 8080"]);
        assert.deepEqual(lines("[::]:80:80/sctp"), ["sctp6 sctp 6 * 80 80 fd00::5 -"]);
        assert.deepEqual(lines("192.0.2.7:80:80"), ["tcp4_c0000207 tcp 4 192.0.2.7 80 80 10.127.0.5 -"]);
        assert.deepEqual(lines("[2001:db8::1]:80:80"), [
            "tcp6_20010db8000000000000000000000001 tcp 6 2001:db8::1 80 80 fd00::5 -",
        ]);
        assert.equal(wantedPorts({ attachment: { driver: "none" }, ports: parsePorts(["80:80"]).ports }).length, 0);
        assert.equal(addressRules(wantedPorts({ attachment, ports: parsePorts(["80:80"]).ports })), "");
    });

    it("have tags that fit a comment, different for different keys", () => {
        assert.equal(tagOf("web@default"), "web@default");
        const long = ["a", "b"].map((end) => `${"n".repeat(76)}@${"s".repeat(75)}${end}`);
        const tags = long.map(tagOf);
        assert.notEqual(tags[0], tags[1]);
        for (const tag of tags) assert.ok(tag.length <= 120 && /^[A-Za-z0-9@._~-]+$/.test(tag));
    });
});
