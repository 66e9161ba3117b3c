/** Published ports on a node: who reaches them from where, whom the container sees, and what refuses them. */
import assert from "node:assert/strict";
import { type Cluster, startCluster } from "../../playground/cluster";
import { skip } from "../helpers/skip";
import type { NetworkSettings } from "../../provider/network/settings";
import { NetworkNode, type Protocol, settingsOf } from "./network-node";

describe("network: published ports", function () {
    this.timeout(180_000);
    let cluster: Cluster;
    let node: NetworkNode;
    let outside: NetworkNode;
    let node6: string;
    let outside6: string;

    before(async () => {
        cluster = await startCluster({ workers: [{ version: "2" }, { version: "2" }] });
        const [one, two] = cluster.workers;
        assert.ok(one && two);
        node = new NetworkNode(one);
        outside = new NetworkNode(two);
        [node6, outside6] = [one.ip6, two.ip6];
    });
    afterEach(async () => {
        await outside?.clean();
        await node?.clean();
        assert.deepEqual(await node.leftovers(), []);
    });
    after(() => cluster?.stop());

    it("are reached from outside, the node, localhost and containers, and see outside's address", async () => {
        const web = settingsOf("web", 5, ["8080:80", "10000-19999:10000-19999/udp", "5060:5061/udp"]);
        const other = settingsOf("other", 6);
        await node.ensure(web, other);
        await node.serve(web, "tcp", 80);
        await node.serve(web, "udp", 10000, 15000, 19999, 5061);
        const ip = node.worker.ip;
        const client = outside.worker.ip;

        const bridge = ["10.127.0.1", "fd7c:6f6e:7461::1"] as const;
        /** Who calls; from which container; how; where; whom the server sees, "" for no answer. */
        type Call = [NetworkNode, NetworkSettings | undefined, Protocol, string, number, string];
        const calls: Call[] = [
            [outside, undefined, "tcp", ip, 8080, client],
            [outside, undefined, "tcp", node6, 8080, outside6],
            ...[10000, 15000, 19999, 5060].flatMap((port): Call[] => [
                [outside, undefined, "udp", ip, port, client],
                [outside, undefined, "udp", node6, port, outside6],
            ]),
            ...[9999, 20000].map((port): Call => [outside, undefined, "udp", ip, port, ""]),
            // On the node: its own addresses, and localhost of IPv4.
            [node, undefined, "tcp", ip, 8080, ip],
            [node, undefined, "tcp", node6, 8080, node6],
            [node, undefined, "udp", node6, 15000, node6],
            [node, undefined, "tcp", "127.0.0.1", 8080, bridge[0]],
            [node, undefined, "udp", "127.0.0.1", 15000, bridge[0]],
            [node, undefined, "udp", "127.0.0.1", 12345, ""],
            // From a neighbour and from itself, by the node's address.
            ...[other, web].flatMap((from): Call[] => [
                [node, from, "tcp", ip, 8080, bridge[0]],
                [node, from, "tcp", node6, 8080, bridge[1]],
                [node, from, "udp", ip, 5060, bridge[0]],
                [node, from, "udp", node6, 15000, bridge[1]],
            ]),
            // Directly.
            [node, other, "tcp", "10.127.0.5", 80, "10.127.0.6"],
            [node, other, "tcp", "fd7c:6f6e:7461::5", 80, "fd7c:6f6e:7461::6"],
        ];
        const answers = calls.map(async ([from, inside, protocol, address, port, seen]) => {
            const wanted = seen && `${protocol === "udp" ? "call " : ""}${seen} web`;
            const what = `${protocol} to ${address} port ${port} of ${inside?.key ?? from.worker.hostname}`;
            assert.equal(await from.call(protocol, address, port, inside), wanted, what);
        });
        await Promise.all(answers);
        // The kernel lets nothing out of the IPv6 loopback, so that it must be refused at once there: who calls `localhost` then
        // tries IPv4.
        for (const port of [8080, 8089]) {
            const socat = ["20", "socat", "-u", `TCP:[::1]:${port}`, "-"];
            const { code, stderr } = await node.worker.exec("timeout", socat);
            assert.deepEqual([code, /Connection refused/.test(stderr)], [1, true], `${port}: ${stderr}`);
        }

        const rules = await node.worker.run("nft list table inet pulumi_containerd");
        assert.equal(rules.match(/10000-19999 comment/g)?.length, 2, "a range is one element a family");
    });

    it("are reached through bridges that hand packets to the firewall (br_netfilter)", async () => {
        const web = settingsOf("web", 5, ["8080:80", "5060:5060/udp"]);
        const other = settingsOf("other", 6);
        await node.ensure(web, other);
        await node.serve(web, "tcp", 80);
        await node.serve(web, "udp", 5060);
        await node.worker.run(
            "for one in iptables ip6tables; do echo 1 >/proc/sys/net/bridge/bridge-nf-call-$one; done",
        );
        try {
            for (const from of [web, other]) {
                assert.equal(await node.call("tcp", node.worker.ip, 8080, from), "10.127.0.1 web");
                assert.equal(await node.call("udp", node.worker.ip, 5060, from), "call 10.127.0.1 web");
                assert.equal(await node.call("tcp", node6, 8080, from), "fd7c:6f6e:7461::1 web");
            }
            assert.equal(await node.call("tcp", "10.127.0.5", 80, other), "10.127.0.6 web");
        } finally {
            await node.worker.run(
                "for one in iptables ip6tables; do echo 0 >/proc/sys/net/bridge/bridge-nf-call-$one; done",
            );
        }
    });

    it("go through a firewall that drops what is forwarded, Docker's", async () => {
        await node.worker.run("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP");
        try {
            const web = settingsOf("web", 5, ["8080:80"]);
            await node.ensure(web);
            await node.serve(web, "tcp", 80);
            assert.equal(await outside.call("tcp", node.worker.ip, 8080), `${outside.worker.ip} web`);
            assert.equal(await outside.call("tcp", node6, 8080), `${outside6} web`);
            await outside.listen("tcp", 7000);
            assert.equal(await node.call("tcp", outside.worker.ip, 7000, web), `${node.worker.ip} `);
            await node.clean();
            assert.equal(
                await node.worker.run("iptables -S FORWARD; ip6tables -S FORWARD"),
                "-P FORWARD DROP\n-P FORWARD DROP\n",
            );
        } finally {
            await node.worker.run("nft delete table ip filter; nft delete table ip6 filter");
        }
    });

    it("on an IPv6 address are on that alone", async () => {
        const web = settingsOf("web", 5, [`[${node6}]:8080:80`, `[${node6}]:7000-7100:7000-7100/udp`, "[::]:8081:80"]);
        await node.ensure(web);
        await node.serve(web, "tcp", 80);
        await node.serve(web, "udp", 7050);
        assert.equal(await outside.call("tcp", node6, 8080), `${outside6} web`);
        assert.equal(await outside.call("udp", node6, 7050), `call ${outside6} web`);
        assert.equal(await outside.call("tcp", node6, 8081), `${outside6} web`);
        for (const port of [8080, 8081])
            assert.equal(await outside.call("tcp", node.worker.ip, port), "", String(port));
    });

    it("of SCTP carry its messages", async function () {
        const noSctp = await whyNoSctp();
        if (noSctp !== undefined) skip(this, noSctp);
        const web = settingsOf("web", 5, ["9000:90/sctp"]);
        await node.ensure(web);
        await node.serve(web, "sctp", 90);
        assert.equal(await outside.call("sctp", node.worker.ip, 9000), `${outside.worker.ip} web`);
        assert.equal(await outside.call("sctp", node6, 9000), `${outside6} web`);
        assert.equal(await node.call("sctp", "127.0.0.1", 9000), "10.127.0.1 web");
        assert.equal(await node.call("sctp", node.worker.ip, 9000, web), "10.127.0.1 web");
    });

    it("of SCTP are refused by name where the kernel has none", async function () {
        if ((await whyNoSctp()) === undefined) skip(this, "the kernel has SCTP");
        for (const [port, words] of [
            ["9000:90/sctp", "port 9000/sctp"],
            ["127.0.0.1:9000-9010:9000-9010/sctp", "ports 9000-9010/sctp"],
        ] as const) {
            const reason = new RegExp(
                `^${words}: the node's kernel has no SCTP \\(neither built in nor as a module\\)$`,
                "m",
            );
            const settings = settingsOf("web", 5, ["80:80", "7000:7000/udp", port]);
            for (const what of ["check", "ensure"]) await node.refused(settings, what, reason);
        }
        assert.deepEqual(await node.leftovers(), []);
    });

    it("of SCTP lead its handshake there and back, also on a kernel that speaks none itself", async () => {
        const web = settingsOf("web", 5, ["9000:90/sctp"]);
        const other = settingsOf("other", 6);
        await node.ensure(other);
        // The kernel's own SCTP is no matter here: these packets come from raw sockets.
        const script = await node.write(web);
        await node.worker.run(`sed -i 's/^need_sctp() {/&\\nreturn 0/' "$1"; sh "$1" ensure`, script);
        const seen = [await node.associate(web, 4, 90), await node.associate(web, 6, 90)] as const;
        const answered = async (from: NetworkNode, address: string, caller?: NetworkSettings) => {
            assert.equal(await from.handshake(address, 9000, caller), `${address} 9000\n`);
        };
        for (const address of [node.worker.ip, node6]) {
            await answered(outside, address);
            await answered(node, address);
            await answered(node, address, other);
        }
        await answered(node, "127.0.0.1");
        assert.deepEqual(await seen[0].printed(5), [
            "ready",
            outside.worker.ip,
            node.worker.ip,
            "10.127.0.1",
            "10.127.0.1",
        ]);
        assert.deepEqual(await seen[1].printed(4), ["ready", outside6, node6, "fd7c:6f6e:7461::1"]);
    });

    /** Why the machine cannot speak SCTP, in the kernel's words. */
    async function whyNoSctp(): Promise<string | undefined> {
        const { code, stderr } = await node.worker.exec("timeout", ["1", "socat", "-u", "SCTP-LISTEN:9", "-"]);
        return code === 124 ? undefined : stderr.trim();
    }

    it("on one address are on that alone, also one that comes later", async () => {
        const floating = "198.51.100.200";
        const web = settingsOf("web", 5, [`${floating}:8080:80`, "127.0.0.1:8081:80"]);
        const db = settingsOf("db", 6, ["198.51.100.201:8080:80"]);
        await node.ensure(web, db);
        await node.serve(web, "tcp", 80);
        assert.equal(await node.call("tcp", "127.0.0.1", 8081), "10.127.0.1 web");
        assert.equal(await outside.call("tcp", node.worker.ip, 8081), "");
        assert.equal(await outside.call("tcp", node.worker.ip, 8080), "");
        await node.worker.run('ip addr add "$1/24" dev eth0', floating);
        assert.equal(await outside.call("tcp", floating, 8080), `${outside.worker.ip} web`);
        await node.worker.run('ip addr del "$1/24" dev eth0', floating);
        // A specific address against all, in both orders; two of them go together.
        await node.refused(
            settingsOf("late", 7, ["8080:80"]),
            "ensure",
            /^port 8080\/tcp is published by (web|db)@default$/m,
        );
        await node.remove(web);
        await node.refused(settingsOf("late", 7, ["8080:80"]), "ensure", /published by db@default/);
        const rules = await node.worker.run("nft list table inet pulumi_containerd");
        assert.ok(!rules.includes("7f000001"), "maps of an address stayed");
        await node.remove(db);
        await node.ensure(settingsOf("late", 7, ["8080:80"]));
        await node.refused(db, "ensure", /published by late@default/);
    });

    it("are refused by name when somebody has them", async () => {
        const web = settingsOf("web", 5, ["8080:80", "10000-19999:10000-19999/udp"]);
        await node.ensure(web);
        for (const [wanted, reason] of [
            ["8080:81", /^port 8080\/tcp is published by web@default$/m],
            ["19000-21000:19000-21000/udp", /^ports 19000-19999\/udp are published by web@default$/m],
        ] as const) {
            await node.refused(settingsOf("late", 6, [wanted]), "ensure", reason);
            await node.refused(settingsOf("late", 6, [wanted]), "check", reason);
        }
        // A refused one leaves nothing.
        const late = settingsOf("late", 6, ["7000:70"]);
        const left = (await node.leftovers()).join("\n");
        assert.ok(!left.includes("late"), left);
        // Other protocols are other ports.
        await node.ensure(settingsOf("next", 7, ["8080:80/udp"]));

        await node.listen("tcp", 7000);
        await node.refused(
            late,
            "ensure",
            /^port 7000\/tcp is taken by node \(process \d+\), which listens on the node$/m,
        );
        await node.refused(late, "check", /^port 7000\/tcp is taken by node/m);
        await node.listen("udp", 7001);
        await node.refused(settingsOf("late", 6, ["7001:70/udp"]), "ensure", /^port 7001\/udp is taken by node/m);

        await node.worker.run(`iptables -t nat -N DOCKER
            iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
            iptables -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 7002 -j DNAT --to-destination 172.17.0.2:80
            nft 'table ip mine { chain pre { type nat hook prerouting priority dstnat; tcp dport { 7003, 7005-7010 } dnat to 10.0.0.1; }; }'`);
        try {
            await node.refused(
                settingsOf("late", 6, ["7002:70"]),
                "ensure",
                /^port 7002\/tcp is taken by Docker \(chain DOCKER/m,
            );
            await node.refused(
                settingsOf("late", 6, ["7004-7005:7004-7005"]),
                "ensure",
                /^port 7005\/tcp is taken by a rule of the nft table ip mine$/m,
            );
            await node.ensure(settingsOf("late", 6, ["7004:70"]));
        } finally {
            await node.worker.run("nft delete table ip nat; nft delete table ip mine");
        }
        // What it has already is its own.
        await node.listen("tcp", 8080);
        await node.ensure(web);
    });

    it("change in place, and nothing stale stays", async () => {
        const elements = async () => {
            const rules = await node.worker.run("nft list table inet pulumi_containerd");
            return [...rules.matchAll(/([0-9-]+) comment "web@default" : (\S+?),? /g)].map((match) => match[1]).sort();
        };
        await node.ensure(settingsOf("web", 5, ["8080:80", "9000-9010:9000-9010"]));
        assert.deepEqual(await elements(), ["8080", "8080", "8080", "8080", "9000-9010", "9000-9010"]);
        await node.ensure(settingsOf("web", 5, ["8080:8080", "9000-9005:9000-9005", "9006:90"]));
        assert.deepEqual(await elements(), ["8080", "8080", "9000-9005", "9000-9005", "9006", "9006", "9006", "9006"]);
        await node.ensure(settingsOf("web", 5, ["127.0.0.1:8080:8080"]));
        assert.deepEqual(await elements(), ["8080"]);
        await node.ensure(settingsOf("web", 5));
        assert.deepEqual(await elements(), []);
    });
});
