/**
 * Our networks beside Docker's (Debian's `docker.io`, which drops what it does not know of what is forwarded) and beside networks of
 * CNI plugins, as nerdctl and CRI make them: all go on to work, and nobody's rules or addresses are touched by another.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import { type Cluster, startCluster } from "../../playground/cluster";
import { Docker } from "../../playground/docker";
import { busyboxImage } from "../../playground/images";
import { until } from "../../playground/system";
import type { NetworkSettings } from "../../provider/network/settings";
import { NetworkNode, Peer, settingsOf } from "./network-node";

const PEER = path.join(__dirname, "network-peer.cjs");

/** Ports of ours, and of Docker's on the same node. */
const OURS = ["8080:80", "5060:5060/udp", "10000-19999:10000-19999/udp"];
const DOCKERS = ["-p", "7080:80", "-p", "7053:53/udp"];

/** A chain as nerdctl writes it; each plugin is called by hand, as a runtime calls it. */
const CNI = `
    mode=$1 id=cni-test previous=
    export CNI_COMMAND=$mode CNI_CONTAINERID=$id CNI_NETNS=/run/netns/$id CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni
    call() { # PLUGIN MORE
        said=$(printf '{"cniVersion":"0.4.0","name":"cni-test","type":"%s",%s%s}' "$1" "$2" "$previous" | "/usr/lib/cni/$1") ||
            { echo "$said"; exit 1; }
        [ $mode != ADD ] || previous=",\\"prevResult\\":$said"
    }
    bridge='"bridge":"cni-test0","isGateway":true,"ipMasq":true,"hairpinMode":true,"ipam":{"type":"host-local","dataDir":"/run/cni-test","ranges":[[{"subnet":"10.4.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}'
    portmap='"runtimeConfig":{"portMappings":[{"hostPort":9080,"containerPort":80,"protocol":"tcp"},{"hostPort":9053,"containerPort":53,"protocol":"udp"}]}'
    firewall='"backend":"iptables"'
    if [ $mode = ADD ]; then
        ip netns add $id
        call bridge "$bridge"; call portmap "$portmap"; call firewall "$firewall"
    else
        call firewall "$firewall"; call portmap "$portmap"; call bridge "$bridge"
        ip netns delete $id
        ip link delete cni-test0
    fi`;

describe("network: beside Docker and CNI", function () {
    this.timeout(240_000);
    let cluster: Cluster;
    let node: NetworkNode;
    let outside: NetworkNode;
    let docker: Docker;
    let found: string[];
    const peers: Peer[] = [];

    before(async () => {
        cluster = await startCluster({ workers: [{ version: "1.6" }, { version: "2" }] });
        const [one, two] = cluster.workers;
        assert.ok(one && two);
        node = new NetworkNode(one);
        outside = new NetworkNode(two);
        docker = await Docker.start(one);
        await docker.load(await busyboxImage(), "busybox:1");
        found = await rules();
        assert.ok(found.includes(":FORWARD DROP"));
    });
    afterEach(async () => {
        await Promise.all(peers.splice(0).map((peer) => peer.stop()));
        await outside?.clean();
        await node?.clean();
        const containers = await docker.run("ps", "--all", "--quiet");
        if (containers) await docker.run("rm", "--force", ...containers.split("\n"));
        await docker.run("network", "prune", "--force");
        assert.deepEqual(await rules(), found);
        assert.equal(
            await node.worker.run("{ iptables-save; ip6tables-save; nft list ruleset; } | grep pulumi; exit 0"),
            "",
        );
    });
    after(() => cluster?.stop());

    /** All rules and policies of iptables' that are not ours, in their order; tables that hold nothing are nobody's. */
    async function rules(): Promise<string[]> {
        const text = await node.worker.run("iptables-save; ip6tables-save");
        return text
            .split("\n")
            .map((line) => line.replace(/ \[\d+:\d+\]$/, ""))
            .filter((line) => /^(?:-A|:)/.test(line) && !/^:[A-Z]+ ACCEPT$|pulumi/.test(line));
    }

    /** Takes away what dockerd, which is stopped, and others left on the node. */
    async function asBooted(): Promise<void> {
        await node.worker.run("ip link delete docker0; nft flush ruleset; echo 0 >/proc/sys/net/ipv4/ip_forward");
    }

    /** A process in the network namespace of another one on the node. */
    async function inside(target: string, command: readonly string[]): Promise<Peer> {
        const [enter, args] = node.worker.enter("nsenter", [target, ...command]);
        const env = node.worker.environment();
        const peer = new Peer(spawn(enter, args, { stdio: ["pipe", "pipe", "inherit"], env }));
        peers.push(peer);
        await peer.line((line) => line === "ready");
        return peer;
    }
    async function serveIn(target: string, name: string): Promise<void> {
        for (const [protocol, port] of [
            ["tcp", "80"],
            ["tcp", "81"],
            ["udp", "53"],
        ]) {
            await inside(target, ["env", `NAME=${name}`, process.execPath, PEER, "serve", protocol!, port!]);
        }
    }
    /** The network namespace of a container of Docker's, for nsenter. */
    async function namespaceOf(name: string): Promise<string> {
        let pid = "0";
        await until(`Docker's ${name} runs`, async () => {
            pid = await docker.run("inspect", "--format", "{{if .State.Running}}{{.State.Pid}}{{else}}0{{end}}", name);
            return pid !== "0";
        });
        return `--net=/proc/${pid}/ns/net`;
    }
    /** Starts a container of Docker's with the options. */
    function start(name: string, ...options: string[]): Promise<string> {
        return docker.run("run", "--detach", "--name", name, ...options, "busybox:1", "sleep", "infinity");
    }
    /** Calls by TCP from a namespace that nsenter knows. */
    async function callFrom(target: string, address: string, port: number): Promise<string> {
        const command = ["nsenter", target, "socat", "-t", "5", "-", `TCP:${address}:${port},connect-timeout=2`];
        return (await node.worker.exec("timeout", ["10", ...command])).stdout;
    }

    async function serve(web: NetworkSettings): Promise<void> {
        await node.serve(web, "tcp", 80);
        await node.serve(web, "udp", 5060, 15000);
    }
    async function oursAnswer(name = "web"): Promise<void> {
        const { ip } = node.worker;
        const client = outside.worker.ip;
        assert.equal(await outside.call("tcp", ip, 8080), `${client} ${name}`);
        assert.equal(await outside.call("udp", ip, 5060), `call ${client} ${name}`);
        assert.equal(await outside.call("udp", ip, 15000), `call ${client} ${name}`);
        assert.equal(await node.call("tcp", "127.0.0.1", 8080), `10.127.0.1 ${name}`);
        assert.equal(await node.call("udp", "127.0.0.1", 5060), `call 10.127.0.1 ${name}`);
        assert.equal(await node.call("tcp", ip, 8080), `${ip} ${name}`);
    }
    async function dockersAnswer(): Promise<void> {
        const { ip } = node.worker;
        const client = outside.worker.ip;
        assert.equal(await outside.call("tcp", ip, 7080), `${client} docker`);
        assert.equal(await outside.call("udp", ip, 7053), `call ${client} docker`);
        assert.equal(await node.call("tcp", "127.0.0.1", 7080), "172.17.0.1 docker");
        assert.equal(await node.call("udp", "127.0.0.1", 7053), "call 172.17.0.1 docker");
    }

    it("both are reached, through restarts of dockerd, and after ours is gone", async () => {
        await start("docker", "--restart", "always", ...DOCKERS);
        await serveIn(await namespaceOf("docker"), "docker");
        await dockersAnswer();
        const dockers = await rules();

        const web = settingsOf("web", 5, OURS);
        await node.ensure(web);
        await serve(web);
        await oursAnswer();
        await dockersAnswer();
        assert.deepEqual(await rules(), dockers, "rules of Docker's changed");
        const ours = await node.worker.run("nft list table inet pulumi_containerd");

        // As a reloaded firewall does it.
        await node.worker.run("iptables -D FORWARD -i pulumi0 -m comment --comment pulumi-containerd -j ACCEPT");
        assert.deepEqual(await node.look(web), [
            "iptables does not let through what is forwarded to or from the bridge pulumi0",
        ]);
        await node.ensure(web);
        assert.deepEqual(await node.look(web), []);

        for (const how of ["SIGTERM", "SIGKILL"] as const) {
            await docker.restart(how);
            await serveIn(await namespaceOf("docker"), "docker");
            await oursAnswer();
            await dockersAnswer();
            assert.deepEqual(await node.look(web), [], how);
            assert.equal(await node.worker.run("nft list table inet pulumi_containerd"), ours, how);
            assert.deepEqual(await rules(), dockers, `rules of Docker's changed by ${how}`);
        }
        await node.remove(web);
        assert.deepEqual(await rules(), dockers, "ours took some of Docker's with it");
        await dockersAnswer();
    });

    it("both are reached, whoever is first on the node", async () => {
        await docker.stop();
        await asBooted();
        const web = settingsOf("web", 5, OURS);
        await node.ensure(web);
        await serve(web);
        await oursAnswer();
        await docker.ensure();
        await start("docker", ...DOCKERS);
        await serveIn(await namespaceOf("docker"), "docker");
        await oursAnswer();
        await dockersAnswer();
        assert.deepEqual(await node.look(web), []);
        await docker.run("rm", "--force", "docker");
        await node.remove(web);
        // dockerd drops what is forwarded only where it turned forwarding on itself.
        assert.deepEqual(
            await rules(),
            found.filter((line) => line !== ":FORWARD DROP"),
        );
        await docker.stop();
        await asBooted();
        await docker.ensure();
    });

    describe("containers of both", () => {
        const web = settingsOf("web", 5, OURS);
        let dockers: string;
        beforeEach(async () => {
            await start("docker", ...DOCKERS);
            dockers = await namespaceOf("docker");
            await serveIn(dockers, "docker");
            await node.ensure(web);
            await node.serve(web, "tcp", 80, 81);
        });

        it("reach each other by what is published", async () => {
            const { ip } = node.worker;
            assert.match(await node.call("tcp", ip, 7080, web), / docker$/);
            assert.match(await callFrom(dockers, ip, 8080), / web$/);
        });
    });

    it("a port that Docker has is refused, and ours stays ours when Docker takes it", async () => {
        await start("docker", ...DOCKERS);
        for (const [port, taken] of [
            ["7080:80", "7080/tcp"],
            ["7053:53/udp", "7053/udp"],
            ["7050-7060:7050-7060/udp", "7053/udp"],
        ] as const) {
            const late = settingsOf("late", 6, [port]);
            const reason = new RegExp(
                `^port ${taken} is taken by docker-proxy \\(process \\d+\\), which listens on the node$`,
                "m",
            );
            await node.refused(late, "ensure", reason);
            await node.refused(late, "check", reason);
        }
        const web = settingsOf("web", 5, OURS);
        await node.ensure(web);
        await serve(web);
        // Docker looks for sockets, and we have none: it says nothing, and ours goes first.
        await start("same", "-p", "8080:80");
        await serveIn(await namespaceOf("same"), "same");
        await oursAnswer();
        assert.deepEqual(await node.look(web), []);
        await node.succeed(web, "ensure");

        await docker.run("rm", "--force", "docker", "same");
        // Without its proxies Docker itself listens.
        await docker.restart("SIGTERM", { userlandProxy: false });
        try {
            await start("docker", ...DOCKERS);
            await node.refused(
                settingsOf("late", 6, ["7080:80"]),
                "ensure",
                /^port 7080\/tcp is taken by dockerd \(process \d+\), which listens on the node$/m,
            );
        } finally {
            await docker.run("rm", "--force", "docker");
            await docker.stop();
            await node.clean();
            await asBooted();
            await docker.ensure({ userlandProxy: true });
        }
    });

    it("subnets do not overlap, whoever is first", async () => {
        const subnetOf = (name: string) =>
            docker.run("network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", name);
        const on = (name: string, second: number): NetworkSettings => {
            const settings = settingsOf(name, 5);
            assert.equal(settings.attachment.driver, "bridge");
            const ip4 = { address: `172.${second}.0.5`, prefix: 16, gateway: `172.${second}.0.1` };
            const attachment = {
                ...settings.attachment,
                network: `${name}@default`,
                bridge: `pc-${name}`,
                ip4,
                ip6: undefined,
            };
            return { ...settings, attachment };
        };
        // What Docker would take next.
        const first = on("first", 18);
        await node.ensure(first);
        await docker.run("network", "create", "one");
        assert.equal(await subnetOf("one"), "172.19.0.0/16");
        await node.refused(
            on("second", 19),
            "ensure",
            /^the subnet 172\.19\.0\.0\/16 of the network overlaps a route of the node, 172\.19\.0\.0\/16 on br-[0-9a-f]+: give/m,
        );
        await node.refused(
            on("third", 17),
            "check",
            /overlaps a route of the node, 172\.17\.0\.0\/16 on docker0: give/,
        );
        assert.deepEqual(await node.look(first), []);
    });

    it("networks of CNI plugins, as nerdctl and CRI make them, work on", async () => {
        await node.worker.run(CNI, "ADD");
        // Docker drops what comes new to their published ports; who has both says so in its chain for that.
        await node.worker.run("iptables -I DOCKER-USER -o cni-test0 -j ACCEPT");
        const cnis = await rules();
        try {
            await serveIn("--net=/run/netns/cni-test", "cni");
            const { ip } = node.worker;
            const cniAnswers = async () => {
                assert.equal(await outside.call("tcp", ip, 9080), `${outside.worker.ip} cni`);
                assert.equal(await outside.call("udp", ip, 9053), `call ${outside.worker.ip} cni`);
                assert.match(await node.call("tcp", "127.0.0.1", 9080), / cni$/);
            };
            await cniAnswers();
            const web = settingsOf("web", 5, OURS);
            await node.ensure(web);
            await serve(web);
            await oursAnswer();
            await cniAnswers();
            assert.match(await node.call("tcp", ip, 9080, web), / cni$/);
            assert.match(await callFrom("--net=/run/netns/cni-test", ip, 8080), / web$/);
            await node.refused(
                settingsOf("late", 6, ["9080:80"]),
                "ensure",
                /^port 9080\/tcp is taken by the CNI plugin portmap \(chain CNI-[^)]* of iptables\)$/m,
            );
            assert.deepEqual(await rules(), cnis);
            // Puts its own rules before theirs.
            await docker.restart();
            await oursAnswer();
            await cniAnswers();
            const restarted = await rules();
            await node.remove(web);
            await cniAnswers();
            assert.deepEqual(await rules(), restarted);
        } finally {
            await node.worker.run(CNI, "DEL");
            // The plugins leave chains, and dockerd its bridge.
            await docker.stop();
            await asBooted();
            await docker.ensure();
        }
    });
});
