/**
 * UDP flows that never pause, the way phones behave: what conntrack remembers must not outlive the rules that it was learned under.
 */
import assert from "node:assert/strict";
import { type Cluster, startCluster } from "../../playground/cluster";
import { macOf } from "../../provider/network/addresses";
import { NetworkNode, type Peer, settingsOf } from "./network-node";

/** Somebody else's NAT: without any, the kernel remembers no flows. */
const OTHERS = `table ip others { chain c { type nat hook postrouting priority srcnat; oifname "none" masquerade; }; }
table ip6 others { chain c { type nat hook postrouting priority srcnat; oifname "none" masquerade; }; }`;

describe("network: a phone that sends all the time from one port", function () {
    this.timeout(180_000);
    let cluster: Cluster;
    let node: NetworkNode;
    let outside: NetworkNode;
    let found: string[];
    const NODE6 = "fd00:5::11";

    before(async () => {
        cluster = await startCluster({ workers: [{ version: "2" }, { version: "2" }] });
        const [one, two] = cluster.workers;
        assert.ok(one && two);
        node = new NetworkNode(one);
        outside = new NetworkNode(two);
        await one.run('ip addr add "$1/64" dev eth0 nodad', NODE6);
        await one.run(`nft '${OTHERS}'`);
        found = await node.leftovers();
        await two.run("ip addr add fd00:5::12/64 dev eth0 nodad");
    });
    afterEach(async () => {
        await outside?.clean();
        await node?.clean();
        assert.deepEqual(await node.leftovers(), found);
    });
    after(() => cluster?.stop());

    const sip = settingsOf("sip", 5, ["5060:5060/udp", "10000-19999:10000-19999/udp"]);

    /** Phones of all kinds: outside by both families, one in the range, and one on the node itself. */
    async function phones(): Promise<Peer[]> {
        const { ip } = node.worker;
        return [
            await outside.phone(ip, 5060),
            await outside.phone(NODE6, 5060),
            await outside.phone(ip, 12345),
            await node.phone("127.0.0.1", 5060),
            await node.phone(ip, 5060),
        ];
    }
    const answered = (all: Peer[]) => Promise.all(all.map((phone) => phone.answers(3)));
    /** Until conntrack has flows that lead to the node itself: phones have sent without rules. */
    async function untilLost(flows: number): Promise<void> {
        const script = `n=0; until [ "$({ conntrack -L -p udp; conntrack -L -f ipv6 -p udp; } 2>/dev/null | grep -c UNREPLIED)" -ge "$1" ]
            do n=$((n + 1)); [ $n -lt 200 ] || exit 1; sleep 0.05; done`;
        await node.worker.run(script, String(flows));
    }

    it("is answered again after remove and ensure", async () => {
        await node.ensure(sip);
        await node.serve(sip, "udp", 5060, 12345);
        const all = await phones();
        await answered(all);
        await node.remove(sip);
        await untilLost(3);
        await node.ensure(sip);
        await node.serve(sip, "udp", 5060, 12345);
        await answered(all);
    });

    it("is answered again after the node's firewall was restarted, by ensure alone", async () => {
        await node.ensure(sip);
        await node.serve(sip, "udp", 5060, 12345);
        const all = await phones();
        await answered(all);
        // As nftables' service does it.
        await node.worker.run(
            `nft -f - <<'END'\nflush ruleset\n${OTHERS}\nEND\nconntrack -D -p udp; conntrack -D -f ipv6 -p udp; exit 0`,
        );
        await untilLost(3);
        const wrong = await node.look(sip);
        assert.ok(
            wrong.some((line) => line.includes("ports 10000-19999/udp are not published")),
            wrong.join("; "),
        );
        await node.ensure(sip);
        await answered(all);
        assert.deepEqual(await node.look(sip), []);
    });

    it("is answered before anything is published, once it is", async () => {
        const all = await phones();
        await untilLost(3);
        await node.ensure(sip);
        await node.serve(sip, "udp", 5060, 12345);
        await answered(all);
    });

    it("does not wait until the node looks once more for a container that was not there yet", async () => {
        await node.ensure(sip);
        const known = await node.worker.run("ip neigh show dev pulumi0 nud reachable");
        for (const address of ["10.127.0.5", "fd7c:6f6e:7461::5"]) {
            assert.match(known, new RegExp(`^${address} lladdr ${macOf("10.127.0.5")} `, "m"));
        }
    });

    it("loses no packet when its port moves to a successor", async () => {
        const next = settingsOf("next", 6, ["5060:5060/udp", "10000-19999:10000-19999/udp"], { predecessor: sip.key });
        await node.ensure(sip);
        await node.serve(sip, "udp", 5060, 12345);
        const all = await phones();
        await answered(all);
        await node.ensure(next);
        await node.serve(next, "udp", 5060, 12345);
        // The ports are still the old one's.
        for (const lines of await answered(all)) assert.match(lines.at(-1) ?? "", / sip$/);
        await node.succeed(next, "take");
        await Promise.all(all.map((phone) => phone.line((line) => line.endsWith(" next"))));
        await answered(all);
        await node.remove(sip);
        await answered(all);
        for (const phone of all) {
            const { sent, answered: numbers } = await phone.hangUp();
            const lost = Array.from({ length: sent }, (_, index) => index + 1).filter((number) => !numbers.has(number));
            assert.deepEqual(lost, []);
        }
        // Also when the rules are lost later: what was taken stays taken.
        await node.worker.run(`nft -f - <<'END'\nflush ruleset\n${OTHERS}\nEND`);
        await node.ensure(next);
        assert.deepEqual(await node.look(next), []);
    });
});
