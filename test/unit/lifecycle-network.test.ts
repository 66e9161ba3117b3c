/** Places on networks, contested ports and the node's table of connections, as tables. */
import assert from "node:assert/strict";
import { attach, sameFixedAddress } from "../../provider/lifecycle/network/attachment";
import { networkContradictions } from "../../provider/lifecycle/check/network";
import { tableProblem, udpPorts } from "../../provider/lifecycle/network/conntrack";
import {
    chooseHostPorts,
    exposedBy,
    hostPortsIn,
    portLabels,
    portsIn,
    wishedPorts,
} from "../../provider/lifecycle/network/host-ports";
import { contestedPorts, portsOf, publishedAt, wantedByOthers } from "../../provider/lifecycle/network/published";
import { networkSettings } from "../../provider/lifecycle/network/settings";
import { Run } from "../../provider/lifecycle/run";
import { DEFAULT_NETWORK, type NetworkDefinition } from "../../provider/network/definition";
import { networkScript } from "../../provider/network/script";
import { choosePort, formatPort, parsePorts } from "../../provider/network/ports";
import { localSshFiles } from "../../provider/transport/ssh/ssh-files";

const lan: NetworkDefinition = {
    key: "lan@default",
    driver: "bridge",
    bridge: "pn1",
    subnet: "10.9.0.0/29",
    gateway: "10.9.0.1",
};

describe("networks: a place", () => {
    it("is the same for the same seed, has the twin in IPv6, and a MAC of its own", () => {
        const one = attach({ definition: DEFAULT_NETWORK }, "a", new Set());
        assert.deepEqual(one, attach({ definition: DEFAULT_NETWORK }, "a", new Set()));
        assert.ok(one.driver === "bridge" && one.ip4 && one.ip6);
        const [, , third, fourth] = one.ip4.address.split(".").map(Number) as [number, number, number, number];
        assert.equal(one.ip6.address, `fd7c:6f6e:7461::${((third << 8) | fourth).toString(16)}`);
        assert.match(one.mac, /^02:42:0a:7f:/);
    });

    it("is never the gateway's or another's, until all are taken", () => {
        const used = new Set<string>();
        for (let seed = 0; seed < 5; seed++) {
            const { ip4 } = attach({ definition: lan }, String(seed), used) as { ip4: { address: string } };
            assert.ok(!used.has(ip4.address) && ip4.address !== "10.9.0.1", ip4.address);
            used.add(ip4.address);
        }
        assert.throws(() => attach({ definition: lan }, "6", used), /all addresses of 10\.9\.0\.0\/29 are taken/);
    });

    it("is the fixed one, unless somebody has it", () => {
        const fixed = attach({ definition: lan, ip: "10.9.0.4", mac: "02:00:00:00:00:01" }, "a", new Set());
        assert.ok(fixed.driver === "bridge");
        assert.deepEqual([fixed.ip4?.address, fixed.mac], ["10.9.0.4", "02:00:00:00:00:01"]);
        assert.throws(
            () => attach({ definition: lan, ip: "10.9.0.4" }, "a", new Set(["10.9.0.4"])),
            /network\.ip: 10\.9\.0\.4 is another container's/,
        );
    });

    it("fights only over what is fixed", () => {
        const at = (ip?: string) => ({ network: { definition: lan, ip } });
        assert.equal(sameFixedAddress(at("10.9.0.4"), at("10.9.0.4")), true);
        assert.equal(sameFixedAddress(at("10.9.0.4"), at("10.9.0.5")), false);
        assert.equal(sameFixedAddress(at(), at()), false);
        assert.equal(sameFixedAddress({ network: "bridge" }, { network: "bridge" }), false);
    });
});

function newRun(): Run {
    return Run.start(
        { nodes: {}, defaultNode: undefined, defaultNamespace: "default", registries: {}, isSshHost: () => false },
        { progress: () => undefined, warn: () => undefined },
        localSshFiles(),
    );
}

describe("networks: ports that several resources want", () => {
    const rows: [first: string[], second: string[], contested: boolean][] = [
        [["80:80/tcp"], ["80:81/tcp"], true],
        [["80:80/tcp"], ["80:80/udp"], false],
        [["127.0.0.1:80:80/tcp"], ["80:80/tcp"], true],
        [["127.0.0.1:80:80/tcp"], ["127.0.0.2:80:80/tcp"], false],
        [["10000-19999:10000-19999/udp"], ["15000:15000/udp"], true],
        [["0.0.0.0:80:80/tcp"], ["[::]:80:80/tcp"], false],
    ];
    for (const [first, second, contested] of rows) {
        it(`${first.join()} and ${second.join()}: ${contested ? "refused" : "well"}`, () => {
            const run = newRun();
            assert.deepEqual(contestedPorts(run, { owner: "u::a", node: "n", ports: first }), []);
            const found = contestedPorts(run, { owner: "u::b", node: "n", ports: second });
            assert.equal(found.length, contested ? 1 : 0);
            if (contested)
                assert.match(
                    `${found[0]?.property} ${found[0]?.reason}`,
                    /^ports .* is wanted by a too, on the same node/,
                );
            assert.deepEqual(contestedPorts(run, { owner: "u::c", node: "elsewhere", ports: second }), []);
            // Checked again, it is not in its own way.
            assert.deepEqual(contestedPorts(run, { owner: "u::c", node: "elsewhere", ports: second }), []);
        });
    }
});

describe("networks: host ports that are chosen", () => {
    const wishes = (...ports: string[]) => wishedPorts(ports);
    const none = { seed: "u::a", kept: {}, inherited: {}, named: [], taken: [] };
    const rows: [given: string[], exposed: string[], wished: string[]][] = [
        [[], ["80/tcp", "53/udp", "90"], ["80/tcp", "53/udp", "90/tcp"]],
        [["8080:80"], ["80/tcp", "80/udp"], ["80/udp"]],
        [
            ["80", "127.0.0.1::81"],
            ["80/tcp", "81/tcp"],
            ["80/tcp", "127.0.0.1::81/tcp"],
        ],
        [["10000-10009:10000-10009/udp"], ["10005/udp", "10010/udp"], ["10010/udp"]],
        [[], ["7-9/TCP"], ["7/tcp", "8/tcp", "9/tcp"]],
        [[], ["80/tcp", "80/tcp"], ["80/tcp"]],
        [[], ["http", "0/tcp", "80/icmp", "", "70000"], []],
        [["80:80"], [], []],
    ];
    for (const [given, exposed, wished] of rows)
        it(`of ${given.join() || "none"} where ${exposed.join() || "nothing"} is exposed`, () =>
            assert.deepEqual(wishedPorts(given, exposed).map(formatPort), wished));

    it("are those of the image's config", () => {
        assert.deepEqual(exposedBy({ config: { ExposedPorts: { "80/tcp": {} } } }), ["80/tcp"]);
        for (const config of [{}, { config: null }, { config: {} }, { config: { ExposedPorts: null } }])
            assert.deepEqual(exposedBy(config), []);
    });

    it("are others than those that are named, taken, or chosen beside it", () => {
        const first = choosePort(wishes("80")[0]!, "u::a", [])!;
        const free = chooseHostPorts(wishes("80", "127.0.0.1::80"), none);
        assert.ok(Object.values(free.hostPorts).includes(first.host[0]));
        assert.equal(new Set(Object.values(free.hostPorts)).size, 2);
        for (const inWay of [{ taken: [first] }, { named: [first] }]) {
            const { hostPorts, fresh } = chooseHostPorts(wishes("80"), { ...none, ...inWay });
            assert.notEqual(hostPorts["80/tcp"], first.host[0]);
            assert.deepEqual(fresh, portsOf(undefined, hostPorts));
        }
    });

    it("stay, whatever others want, and are a replacement's unless others have them", () => {
        const at = (host: number) => parsePorts([`${host}:1`]).ports;
        const kept = { "80/tcp": 40000, "90/tcp": 40001 };
        const stay = chooseHostPorts(wishes("80"), { ...none, kept, taken: at(40000) });
        assert.deepEqual(stay, { hostPorts: { "80/tcp": 40000 }, fresh: [] });
        const inherited = chooseHostPorts(wishes("80"), { ...none, inherited: kept });
        assert.deepEqual([inherited.hostPorts, inherited.fresh.length], [{ "80/tcp": 40000 }, 1]);
        const lost = chooseHostPorts(wishes("80"), { ...none, inherited: kept, taken: at(40000) });
        assert.notEqual(lost.hostPorts["80/tcp"], 40000);
        // What it names itself by now is no longer to choose.
        assert.notEqual(chooseHostPorts(wishes("80"), { ...none, kept, named: at(40000) }).hostPorts["80/tcp"], 40000);
        assert.throws(() => chooseHostPorts(wishes("80"), { ...none, taken: parsePorts(["32768-60999"]).ports }), {
            code: "Conflict",
        });
    });

    it("are kept by labels, with all that is published as far as a label holds it", () => {
        const hostPorts = { "80/tcp": 40000, "127.0.0.1::53/udp": 40001 };
        const ports = portsOf(["8080:81"], hostPorts);
        assert.deepEqual(ports.map(formatPort), ["8080:81/tcp", "40000:80/tcp", "127.0.0.1:40001:53/udp"]);
        const labels = portLabels(ports, hostPorts);
        assert.deepEqual([hostPortsIn(labels), portsIn(labels)], [hostPorts, ports]);
        assert.deepEqual(portLabels([], {}), {});
        const many = parsePorts(Array.from({ length: 500 }, (_, index) => `${1000 + index}:${index + 1}`)).ports;
        assert.deepEqual(portLabels(many, {}), {});
        const tooMany = Object.fromEntries(many.map(({ container: [port] }) => [`${port}/tcp`, port + 40000]));
        assert.throws(() => portLabels(many, tooMany), {
            code: "Invalid",
            property: "ports",
            message: /500 host ports/,
        });
    });

    it("are not those that another resource of the program names", () => {
        const run = newRun();
        contestedPorts(run, { owner: "u::a", node: "n", ports: ["40000:80/tcp", "90/tcp"] });
        assert.deepEqual(wantedByOthers(run, { owner: "u::b", node: "n" }).map(formatPort), ["40000:80/tcp"]);
        assert.deepEqual(wantedByOthers(run, { owner: "u::a", node: "n" }), []);
        assert.deepEqual(wantedByOthers(run, { owner: "u::b", node: "m" }), []);
    });
});

describe("networks: names", () => {
    const attachment = attach({ definition: DEFAULT_NETWORK }, "a", new Set());
    const lanAttachment = attach({ definition: lan }, "a", new Set());
    it("begin with the host name, in its domain first", () => {
        const box = { owner: "u::box", namespace: "default", name: "box-1234567", network: "bridge" as const };
        assert.deepEqual(networkSettings(box, attachment).names, ["box-1234567"]);
        const named = { ...box, hostname: "web", domainname: "example.test" };
        assert.deepEqual(networkSettings(named, attachment).names, ["web.example.test", "web"]);
        const onLan = { ...named, network: { definition: lan, aliases: ["www"] } };
        assert.deepEqual(networkSettings(onLan, lanAttachment).names, ["web.example.test", "web", "box", "www"]);
    });
});

describe("networks: where ports answer", () => {
    it("by port or range, at the node's address or the one given", () => {
        const { ports } = parsePorts([
            "8080:80",
            "127.0.0.1:53:53/udp",
            "10000-10009:10000-10009/udp",
            "[fd00::1]:90:90",
        ]);
        assert.deepEqual(publishedAt(ports, "edge.example.net"), {
            "80/tcp": "edge.example.net:8080",
            "53/udp": "127.0.0.1:53",
            "10000-10009/udp": "edge.example.net:10000-10009",
            "90/tcp": "[fd00::1]:90",
        });
    });
});

describe("networks: the node's table of connections", () => {
    const rows: [ports: number, most: number | undefined, warned: boolean][] = [
        [10, 100, false],
        [10_000, 65_536, false],
        [20_000, 65_536, true],
        [10_000, 32_768, true],
        [10_000, undefined, false],
    ];
    for (const [ports, most, warned] of rows)
        it(`${ports} ports, ${most} entries: ${warned ? "a warning" : "well"}`, () =>
            assert.equal(tableProblem(ports, most) !== undefined, warned));
    it("counts UDP ports alone", () =>
        assert.equal(udpPorts(parsePorts(["80:80", "53:53/udp", "10000-10009:10000-10009/udp"]).ports), 11));
});

describe("network: many single ports", () => {
    const many = (count: number) =>
        Array.from({ length: count }, (_, index) => `${20_000 + index}:${10_000 + index}/tcp`);
    it("go as far as the node's script, one argument of a command, can tell of them", () => {
        assert.deepEqual(networkContradictions({ network: "bridge", ports: many(400) }), []);
        const attachment = attach({ definition: DEFAULT_NETWORK }, "many", new Set());
        const inputs = { owner: "urn::many", namespace: "default", name: "many", network: "bridge" } as const;
        assert.ok(networkScript(networkSettings({ ...inputs, ports: many(400) }, attachment)).length < 128 << 10);
    });
    it("are refused beyond", () =>
        assert.deepEqual(networkContradictions({ network: "bridge", ports: many(401) }), [
            { property: "ports", reason: "are 401, and at most 400 go: a range counts as one" },
        ]));
});
