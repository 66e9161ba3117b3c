/** A worker on which the network's script is run, servers in the namespaces that it makes, and callers. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Result } from "../../playground/process";
import type { Worker } from "../../playground/worker";
import { macOf } from "../../provider/network/addresses";
import { parsePorts } from "../../provider/network/ports";
import { networkScript, parseLook } from "../../provider/network/script";
import { namespacePath, networkScriptPath, type NetworkSettings } from "../../provider/network/settings";
import { containerFolder } from "../../provider/node/folders";

const PEER = path.join(__dirname, "network-peer.cjs");
const SCTP = path.join(__dirname, "network-sctp.pl");

/** A command that ends with its stdin: a signal would not reach it through what enters a worker. */
function untilStdinEnds(command: string, args: readonly string[]): string[] {
    return ["sh", "-c", '"$@" </dev/null & cat >/dev/null; kill $!', "sh", command, ...args];
}

/** Settings on the default network, as a container's or, with `more`, anything. `place` is the last byte of its addresses. */
export function settingsOf(
    name: string,
    place: number,
    ports: readonly string[] = [],
    more: Partial<NetworkSettings> = {},
): NetworkSettings {
    const parsed = parsePorts(ports);
    assert.deepEqual(parsed.problems, []);
    return {
        key: `${name}@default`,
        folder: containerFolder("default", name),
        namespaces: ["net"],
        attachment: {
            driver: "bridge",
            network: "bridge",
            bridge: "pulumi0",
            internal: false,
            masquerade: true,
            ip4: { address: `10.127.0.${place}`, prefix: 16, gateway: "10.127.0.1" },
            ip6: { address: `fd7c:6f6e:7461::${place.toString(16)}`, prefix: 64, gateway: "fd7c:6f6e:7461::1" },
            mac: macOf(`10.127.0.${place}`),
        },
        ports: parsed.ports,
        names: [name],
        hosts: {},
        dns: { servers: [], search: [], options: [] },
        ...more,
    };
}

export type Protocol = "tcp" | "udp" | "sctp";

/** A process of a test: what it printed, and its end. */
export class Peer {
    readonly lines: string[] = [];
    private readonly reader: Interface;

    constructor(private readonly child: ChildProcess) {
        assert.ok(child.stdout);
        this.reader = createInterface({ input: child.stdout });
        this.reader.on("line", (line) => this.lines.push(line));
    }

    /** Waits until a line is printed that it takes. */
    async line(wanted: (line: string) => boolean, from = 0): Promise<string> {
        for (;;) {
            const found = this.lines.slice(from).find(wanted);
            if (found !== undefined) return found;
            await once(this.reader, "line", { signal: AbortSignal.timeout(30_000) });
        }
    }

    /** Waits for the next `count` answers from now on. */
    async answers(count: number): Promise<string[]> {
        const from = this.lines.length;
        return (await this.printed(from + count)).slice(from, from + count);
    }

    /** Waits until so many lines are printed; gives them. */
    async printed(count: number): Promise<string[]> {
        while (this.lines.length < count) {
            await once(this.reader, "line", { signal: AbortSignal.timeout(30_000) });
        }
        return this.lines;
    }

    /** Lets a phone end; gives how many numbers it sent, and those that were answered. */
    async hangUp(): Promise<{ sent: number; answered: Set<number> }> {
        this.child.stdin?.end();
        const last = await this.line((line) => line.startsWith("sent "));
        const numbers = this.lines.filter((line) => /^\d+(?: |$)/.test(line)).map((line) => Number(line.split(" ")[0]));
        return { sent: Number(last.slice(5)), answered: new Set(numbers) };
    }

    async stop(): Promise<void> {
        if (this.child.exitCode !== null || this.child.signalCode !== null) return;
        const ended = once(this.child, "exit");
        this.child.stdin?.end();
        await ended;
    }
}

export class NetworkNode {
    private readonly peers: Peer[] = [];
    private readonly made = new Map<string, NetworkSettings>();

    /** The peer's program, where the worker sees it too: its /tmp is its own. */
    private readonly peer: string;

    constructor(readonly worker: Worker) {
        this.peer = path.join(worker.dir, path.basename(PEER));
    }

    /** Puts the script into the container's folder. */
    async write(settings: NetworkSettings): Promise<string> {
        const script = networkScriptPath(settings.folder);
        const outside = path.join(this.worker.varLib, path.relative("/var/lib", script));
        await mkdir(path.dirname(outside), { recursive: true });
        await writeFile(outside, networkScript(settings));
        this.made.set(settings.key, settings);
        return script;
    }

    /** Runs it, whatever comes of it. */
    async script(settings: NetworkSettings, what: string, env: readonly string[] = []): Promise<Result> {
        const script = await this.write(settings);
        return this.worker.exec("env", [...env, "sh", script, what], { timeout: 18_000 });
    }

    /** Runs it; it must succeed, and says nothing. */
    async succeed(settings: NetworkSettings, what: "ensure" | "take" | "remove" | "check"): Promise<void> {
        const { code, stdout, stderr } = await this.script(settings, what);
        assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: "", stderr: "" });
        if (what === "remove") this.made.delete(settings.key);
    }

    async ensure(...all: NetworkSettings[]): Promise<void> {
        for (const settings of all) await this.succeed(settings, "ensure");
    }

    async remove(...all: NetworkSettings[]): Promise<void> {
        for (const settings of all) await this.succeed(settings, "remove");
    }

    /** Runs it; it must fail, with one line. */
    async refused(settings: NetworkSettings, what: string, reason: RegExp, env: readonly string[] = []): Promise<void> {
        const { code, stdout, stderr } = await this.script(settings, what, env);
        assert.equal(code, 1, `${what} did not fail: ${stdout}${stderr}`);
        assert.match(stdout, reason);
        assert.ok(!stdout.trimEnd().includes("\n"), stdout);
    }

    /** What is wrong. */
    async look(settings: NetworkSettings): Promise<string[]> {
        const { stdout, stderr } = await this.script(settings, "look");
        assert.equal(stderr, "");
        return parseLook(stdout);
    }

    /** A server in the namespace; it answers with the address that it sees and the name of its container. */
    async serve(settings: NetworkSettings, protocol: Protocol, ...ports: number[]): Promise<Peer> {
        const name = settings.key.replace(/@.*/, "");
        const inside = [`--net=${namespacePath(settings.key, "net")}`, "env", `NAME=${name}`, process.execPath];
        return this.start("nsenter", [...inside, this.peer, "serve", protocol, ...ports.map(String)]);
    }

    /** A process on the node itself that listens. */
    async listen(protocol: "tcp" | "udp", port: number): Promise<Peer> {
        return this.start(process.execPath, [this.peer, "serve", protocol, String(port)]);
    }

    /** A phone on the node: one socket that sends all the time. */
    async phone(address: string, port: number, interval = 50): Promise<Peer> {
        return this.start(process.execPath, [this.peer, "phone", address, String(port), String(interval)]);
    }

    /** Calls a port once from the node, or from a namespace; gives the answer, empty when there is none. */
    async call(protocol: Protocol, address: string, port: number, from?: NetworkSettings): Promise<string> {
        const host = address.includes(":") ? `[${address}]` : address;
        const patience = protocol === "udp" ? "" : ",connect-timeout=2";
        const target = `${protocol.toUpperCase()}:${host}:${port}${patience}`;
        const inside = from ? ["nsenter", `--net=${namespacePath(from.key, "net")}`] : ["env"];
        // A datagram's answer may take its time on a busy machine; socat waits in silence after stdin's end.
        const script = 'printf call | timeout 10 "$@"';
        const socat = ["socat", "-t", protocol === "udp" ? "2" : "5", "-", target];
        const { stdout } = await this.worker.exec("sh", ["-c", script, "sh", ...inside, ...socat]);
        return stdout;
    }

    /** Answers, in the namespace, to the beginning of an SCTP association; prints who asked. */
    async associate(settings: NetworkSettings, family: 4 | 6, port: number): Promise<Peer> {
        const args = [await this.sctp(), "serve", String(family), String(port)];
        return this.start("nsenter", [`--net=${namespacePath(settings.key, "net")}`, ...untilStdinEnds("perl", args)]);
    }

    /** Begins an SCTP association from the node, or from a namespace; gives the address and the port that answered. */
    async handshake(address: string, port: number, from?: NetworkSettings): Promise<string> {
        const [command = "", ...inside] = from ? ["nsenter", `--net=${namespacePath(from.key, "net")}`] : ["env"];
        const { stdout, stderr } = await this.worker.exec(command, [
            ...inside,
            ...["perl", await this.sctp(), "call", address, String(port)],
        ]);
        return stdout || stderr;
    }

    private async sctp(): Promise<string> {
        const program = path.join(this.worker.dir, path.basename(SCTP));
        await copyFile(SCTP, program);
        return program;
    }

    /** Lines of what the script may leave on a node. */
    async leftovers(): Promise<string[]> {
        const found = await this.worker.run(`
            nft list ruleset
            iptables -S FORWARD | grep -v ^-P; ip6tables -S FORWARD | grep -v ^-P
            ip -o link | awk -F '[ :@]+' '$2 !~ /^(lo|eth0)$/ { print $2 }'
            grep -e pulumi /proc/self/mountinfo | awk '$5 ~ "^/run/" { print $5 }'
            find /run/pulumi-containerd /var/lib/pulumi-containerd/networks 2>/dev/null
            exit 0`);
        return found.split("\n").filter(Boolean);
    }

    /** Ends the peers and removes what is left. */
    async clean(): Promise<void> {
        await Promise.all(this.peers.splice(0).map((peer) => peer.stop()));
        for (const settings of [...this.made.values()]) await this.succeed(settings, "remove");
    }

    private async start(command: string, args: readonly string[]): Promise<Peer> {
        await copyFile(PEER, this.peer);
        const [enter, enterArgs] = this.worker.enter(command, args);
        const child = spawn(enter, enterArgs, {
            stdio: ["pipe", "pipe", "inherit"],
            env: this.worker.environment(),
        });
        const peer = new Peer(child);
        this.peers.push(peer);
        await peer.line((line) => line === "ready");
        return peer;
    }
}
