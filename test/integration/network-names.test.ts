/** Names on a network, namespaces of pods, other kinds of networks, and what a node lacks. */
import assert from "node:assert/strict";
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { startCluster, type Cluster } from "../../playground/cluster";
import { bridgeName, macOf } from "../../provider/network/addresses";
import { hostsPath, namespacePath, type NetworkSettings, resolvConfPath } from "../../provider/network/settings";
import { NetworkNode, settingsOf } from "./network-node";

describe("network: names and kinds", function () {
    this.timeout(180_000);
    let cluster: Cluster;
    let node: NetworkNode;
    let outside: NetworkNode;

    before(async () => {
        cluster = await startCluster({ workers: [{ version: "2" }, { version: "2" }] });
        const [one, two] = cluster.workers;
        assert.ok(one && two);
        node = new NetworkNode(one);
        outside = new NetworkNode(two);
    });
    afterEach(async () => {
        await outside?.clean();
        await node?.clean();
        assert.deepEqual(await node.leftovers(), []);
    });
    after(() => cluster?.stop());

    const onNode = (file: string) => path.join(node.worker.varLib, path.relative("/var/lib", file));
    const file = async (name: string) => (await readFile(onNode(name), "utf8")).trimEnd().split("\n");
    const hosts = async (settings: NetworkSettings) => (await file(hostsPath(settings.folder))).slice(2);
    const inside = (settings: NetworkSettings, script: string) =>
        node.worker.run('exec nsenter --net="$1" /bin/sh -c "$2"', namespacePath(settings.key, "net"), script);
    const on = (settings: NetworkSettings, name: string, more: object = {}): NetworkSettings => ({
        ...settings,
        attachment: { ...settings.attachment, network: name, bridge: bridgeName(name), ...more } as never,
    });

    it("are known to all on the network, in place, as they come, change and go", async () => {
        const web = settingsOf("web", 5, [], { names: ["web", "www"], hosts: { db: "192.0.2.1", up: "host-gateway" } });
        const api = settingsOf("api", 6);
        await node.ensure(web);
        const inode = (await stat(onNode(hostsPath(web.folder)))).ino;
        const own = ["10.127.0.5\tweb www", "fd7c:6f6e:7461::5\tweb www"];
        const given = ["192.0.2.1\tdb", "10.127.0.1\tup"];
        assert.deepEqual(await hosts(web), [...given, ...own]);
        await node.ensure(api);
        const apis = ["10.127.0.6\tapi", "fd7c:6f6e:7461::6\tapi"];
        assert.deepEqual(await hosts(web), [...given, ...own, ...apis]);
        assert.deepEqual(await hosts(api), [...apis, ...own]);
        await node.ensure({ ...web, names: ["web"] });
        assert.deepEqual(await hosts(api), [...apis, "10.127.0.5\tweb", "fd7c:6f6e:7461::5\tweb"]);
        // A container that writes into its own changes nothing for others.
        await writeFile(onNode(hostsPath(api.folder)), "6.6.6.6 web\n".repeat(1000));
        assert.deepEqual(await node.look(api), ["hosts or resolv.conf are not current"]);
        await node.ensure(web);
        assert.deepEqual(await hosts(api), [...apis, ...own]);
        await node.remove(api);
        assert.deepEqual(await hosts(web), [...given, ...own]);
        assert.equal((await stat(onNode(hostsPath(web.folder)))).ino, inode);
        // What is unchanged is not written.
        const before = (await stat(onNode(hostsPath(web.folder)))).mtimeMs;
        await node.ensure(web);
        assert.equal((await stat(onNode(hostsPath(web.folder)))).mtimeMs, before);
    });

    it("are known on the same network only, and a successor's are its own once it has taken over", async () => {
        const web = settingsOf("web", 5);
        const db = on(settingsOf("db", 6), "back@default", {
            ip4: { address: "10.120.5.6", prefix: 24, gateway: "10.120.5.1" },
            ip6: undefined,
        });
        await node.ensure(web, db);
        assert.deepEqual(await hosts(db), ["10.120.5.6\tdb"]);
        const next = settingsOf("web2", 7, [], { names: ["web"], predecessor: web.key });
        const other = settingsOf("other", 8);
        await node.ensure(next, other);
        const seen = async () => (await hosts(other)).filter((line) => line.endsWith("\tweb"));
        assert.deepEqual(await seen(), ["10.127.0.5\tweb", "fd7c:6f6e:7461::5\tweb"]);
        await node.succeed(next, "take");
        assert.deepEqual(await seen(), ["10.127.0.7\tweb", "fd7c:6f6e:7461::7\tweb"]);
        await node.ensure(web);
        assert.deepEqual(await seen(), ["10.127.0.7\tweb", "fd7c:6f6e:7461::7\tweb"]);
        await node.remove(web);
        await node.ensure(next);
        assert.deepEqual(await seen(), ["10.127.0.7\tweb", "fd7c:6f6e:7461::7\tweb"]);
    });

    it("are asked of the node's servers, or of those that are given", async () => {
        const web = settingsOf("web", 5);
        const resolv = async () => (await file(resolvConfPath(web.folder))).slice(1);
        await node.worker.run("printf 'nameserver 127.0.0.53\\noptions edns0\\nsearch lan\\n' >/etc/resolv.conf");
        await node.ensure(web);
        assert.deepEqual(await resolv(), []);
        await node.worker.run(
            "mkdir -p /run/systemd/resolve; printf 'nameserver 192.0.2.53\\nsearch real.lan\\n' >/run/systemd/resolve/resolv.conf",
        );
        await node.ensure(web);
        assert.deepEqual(await resolv(), ["nameserver 192.0.2.53", "search real.lan"]);
        const dns = { servers: ["192.0.2.1", "2001:db8::1"], search: ["a.example", "b.example"], options: ["ndots:2"] };
        await node.ensure({ ...web, dns });
        assert.deepEqual(await resolv(), [
            "nameserver 192.0.2.1",
            "nameserver 2001:db8::1",
            "search a.example b.example",
            "options ndots:2",
        ]);
        await node.worker.run("rm -r /run/systemd; printf 'nameserver 192.0.2.99\\n' >/etc/resolv.conf");
        await node.ensure(web);
        assert.deepEqual(await resolv(), ["nameserver 192.0.2.99"]);
    });

    it("give a pod its namespaces and its shared memory, made anew as a whole", async () => {
        const pod = settingsOf("pod", 5, [], { namespaces: ["net", "ipc", "uts"], hostname: "pod-1", shm: 1 << 20 });
        await node.ensure(pod);
        const name = () => node.worker.run('nsenter --uts="$1" hostname', namespacePath(pod.key, "uts"));
        assert.equal(await name(), "pod-1\n");
        const shm = namespacePath(pod.key, "shm");
        assert.match(await node.worker.run('stat -f -c "%T %b %s" "$1"', shm), /^tmpfs 256 4096$/m);
        await node.worker.run('echo kept >"$1/file"', shm);
        const ids = async () => (await node.worker.run('cd "$1"; stat -L -c %i net ipc uts', path.dirname(shm))).trim();
        const before = await ids();
        await node.ensure(pod);
        assert.equal(await ids(), before);
        assert.equal(await node.worker.run('cat "$1/file"', shm), "kept\n");
        // Says later whether it is still the same.
        await node.worker.run('nsenter --uts="$1" hostname before', namespacePath(pod.key, "uts"));
        for (const lost of ["ipc", "shm"] as const) {
            await node.worker.run('umount "$1"', namespacePath(pod.key, lost));
            assert.equal((await node.look(pod)).length, 1);
            await node.ensure(pod);
            assert.deepEqual(await node.look(pod), []);
        }
        assert.equal(await name(), "pod-1\n");
    });

    it("are mended: address, route, cable and bridge", async () => {
        const web = settingsOf("web", 5, ["8080:80"]);
        await node.ensure(web, settingsOf("other", 6));
        for (const [damage, found] of [
            ["ip addr del 10.127.0.5/16 dev eth0", /eth0 lacks 10\.127\.0\.5\/16|no way out/],
            ["ip -6 route del default", /no way out by fd7c:6f6e:7461::1/],
            ["ip link del eth0", /is not in the bridge/],
        ] as const) {
            await inside(web, damage);
            assert.match((await node.look(web)).join("; "), found);
            await node.ensure(web);
            assert.deepEqual(await node.look(web), []);
        }
        await node.worker.run("ip link del pulumi0");
        assert.match((await node.look(web)).join("; "), /the bridge pulumi0 is not there/);
        await node.ensure(web);
        assert.deepEqual(await node.look(web), []);
        await node.serve(web, "tcp", 80);
        assert.equal(await outside.call("tcp", node.worker.ip, 8080), `${outside.worker.ip} web`);
    });

    it("networks are apart, and an internal one has no way out", async () => {
        const place = (last: number) => ({
            ip4: { address: `10.120.5.${last}`, prefix: 24, gateway: "10.120.5.1" },
            ip6: undefined,
        });
        const web = settingsOf("web", 5);
        const back = on(settingsOf("back", 6), "back@default", { ...place(6), internal: true });
        const back2 = on(settingsOf("back2", 7), "back@default", { ...place(7), internal: true });
        const front = on(settingsOf("front", 8, ["8080:80"]), "front@default", {
            ip4: { address: "10.120.6.8", prefix: 24, gateway: "10.120.6.1" },
            ip6: undefined,
        });
        await node.ensure(web, back, back2, front);
        for (const settings of [web, back, front]) await node.serve(settings, "tcp", 80);
        assert.equal(await node.call("tcp", "10.120.5.6", 80, back2), "10.120.5.7 back");
        assert.equal(await node.call("tcp", "10.120.6.8", 80, web), "");
        assert.equal(await node.call("tcp", node.worker.ip, 8080, web), "10.120.6.1 front");
        await outside.listen("tcp", 7000);
        assert.equal(await node.call("tcp", outside.worker.ip, 7000, web), `${node.worker.ip} `);
        assert.equal(await node.call("tcp", outside.worker.ip, 7000, back), "");
        assert.equal(await node.call("tcp", "10.127.0.5", 80, back), "");
    });

    it("macvlan has an address of its own in the LAN", async () => {
        const phone = settingsOf("phone", 5, [], {
            attachment: {
                driver: "macvlan",
                network: "lan@default",
                parent: "eth0",
                mode: "bridge",
                ip4: { address: "198.51.100.77", prefix: 24, gateway: "198.51.100.1" },
                mac: macOf("198.51.100.77"),
            },
        });
        await node.ensure(phone, phone);
        await node.serve(phone, "tcp", 80);
        assert.equal(await outside.call("tcp", "198.51.100.77", 80), `${outside.worker.ip} phone`);
        assert.match(await inside(phone, "ip link show eth0"), /02:42:c6:33:64:4d/);
        assert.deepEqual(await node.look(phone), []);
        const lost = { ...phone, attachment: { ...phone.attachment, parent: "eth7" } as never };
        await node.refused(lost, "check", /no interface eth7/);
        await node.remove(phone);
    });

    it("none has loopback alone, and knows itself", async () => {
        const alone = settingsOf("alone", 5, [], { attachment: { driver: "none" } });
        await node.ensure(alone, alone);
        assert.deepEqual(await hosts(alone), ["127.0.1.1\talone"]);
        assert.match(await inside(alone, "ip -br link"), /^lo +UNKNOWN[^\n]*\n$/);
        assert.deepEqual(await node.look(alone), []);
    });

    it("cni runs a chain of plugins, and says which one is missing or refuses", async () => {
        const chain = (...plugins: Record<string, unknown>[]) =>
            settingsOf("cni", 5, ["8080:80"], {
                attachment: { driver: "cni", network: "other@default", cniVersion: "0.4.0", plugins },
            });
        const ipam = { type: "host-local", ranges: [[{ subnet: "10.120.9.0/24" }]], routes: [{ dst: "0.0.0.0/0" }] };
        const bridge = {
            type: "bridge",
            bridge: "cni9",
            isGateway: true,
            ipMasq: true,
            ipam,
            note: "a * 'b' $(c) \"d\"",
        };
        const portmap = { type: "portmap", capabilities: { portMappings: true } };
        const settings = chain(bridge, portmap);
        await node.succeed(settings, "check");
        await node.ensure(settings, settings);
        await node.serve(settings, "tcp", 80);
        assert.equal(await outside.call("tcp", node.worker.ip, 8080), `${outside.worker.ip} cni`);
        assert.match((await hosts(settings)).join(), /^10\.120\.9\.\d+\tcni$/);
        assert.deepEqual(await node.look(settings), []);
        await inside(settings, "ip link del eth0");
        await node.ensure(settings);
        // What others' tables publish is seen from ours.
        await node.refused(
            settingsOf("late", 6, ["8080:80"]),
            "ensure",
            /^port 8080\/tcp is taken by the CNI plugin portmap/m,
        );
        await node.remove(settings);
        assert.equal(await node.worker.run("ls /var/lib/cni/networks/other.default | grep -c 10.120 || true"), "0\n");
        await node.worker.run("ip link del cni9; nft flush ruleset");
        await node.refused(
            chain({ ...bridge, type: "no-such" }, portmap),
            "check",
            /^the node has no CNI plugin no-such: it is neither in \/usr\/lib\/cni nor in \/opt\/cni\/bin$/m,
        );
        await node.refused(
            chain({ ...bridge, ipam: { type: "host-local" } }, portmap),
            "ensure",
            /^the CNI plugin bridge: .*range/m,
        );
        await node.remove(chain(bridge, portmap));
        await node.worker.run("ip link del cni9 2>/dev/null; nft flush ruleset");
    });

    it("a node that lacks something says so by name", async () => {
        const web = settingsOf("web", 5, ["5060:5060/udp"]);
        const script = await node.write(web);
        const without =
            'mount --bind /dev/null /usr/sbin/conntrack; sh "$1" ensure; code=$?; umount /usr/sbin/conntrack; exit $code';
        const { code, stdout } = await node.worker.exec("sh", ["-c", without, "sh", script]);
        assert.equal(code, 1);
        assert.match(stdout, /^the node has no command conntrack: install Debian's package conntrack on it$/m);

        await node.worker.run("ip route add 10.127.3.0/24 via 198.51.100.1");
        await node.refused(
            web,
            "check",
            /^the subnet 10\.127\.0\.0\/16 of the network overlaps a route of the node, 10\.127\.3\.0\/24 on eth0/m,
        );
        await node.refused(web, "ensure", /overlaps a route/);
        await node.worker.run("ip route del 10.127.3.0/24");

        await node.worker.run("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6");
        try {
            assert.equal((await node.script(web, "check")).stdout, "no IPv6\n");
            await node.ensure(web);
            assert.deepEqual(await hosts(web), ["10.127.0.5\tweb"]);
            assert.deepEqual(await node.look(web), []);
            const asking = { ...web, attachment: { ...web.attachment, needsIp6: true } as never };
            await node.refused(
                asking,
                "ensure",
                /^IPv6 is off on the node, and the address fd7c:6f6e:7461::5 asks for it$/m,
            );
            await node.refused(
                settingsOf("late", 6, ["[::]:80:80"]),
                "check",
                /^IPv6 is off on the node, and the port \[::\]:80:80\/tcp/m,
            );
        } finally {
            await node.worker.run("echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6");
        }
    });

    it("nothing is left after remove, also of what is half made or made anew", async () => {
        const web = settingsOf("web", 5, ["8080:80", "127.0.0.1:53:53/udp"], {
            namespaces: ["net", "ipc", "uts"],
            hostname: "w",
            shm: 65536,
        });
        await node.remove(web);
        await node.ensure(web);
        await node.remove(web, web);
        assert.deepEqual(await node.leftovers(), []);
        await node.ensure(web);
        await node.worker.run("nft flush ruleset; ip link del pulumi0");
        await node.remove(web);
        assert.deepEqual(await node.leftovers(), []);
        await node.ensure(web);
        await rm(onNode(web.folder), { recursive: true });
        const script = await node.write(web);
        assert.equal((await node.worker.exec("sh", [script, "remove"])).code, 0);
        assert.deepEqual(await node.leftovers(), []);
    });
});
