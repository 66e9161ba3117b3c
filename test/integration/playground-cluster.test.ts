/** The playground's workers with networks of their own: what the tests of nodes over SSH stand on. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { type Socket, connect } from "node:net";
import { createInterface } from "node:readline";
import path from "node:path";
import { type Cluster, openCluster, startCluster } from "../../playground/cluster";
import { repository } from "../../playground/environment";
import { busyboxImage } from "../../playground/images";
import { nodeEntry, sshConfig } from "../../playground/node-config";
import { type Result, run } from "../../playground/process";
import { type Registry, startRegistry } from "../../playground/registry";
import { type Worker, listWorkers, openWorker, removeAbandoned } from "../../playground/worker";
import { census, sshConnections } from "../helpers/census";
import { cgroupsOf, processesOf } from "./playground-processes";

interface SshTest {
    user?: string;
    options?: string[];
    identity?: string;
}

/** Runs a command over SSH as a user would, with what `worker.ssh` says. */
function ssh(
    worker: Worker,
    command: string,
    { user = "root", options = [], identity }: SshTest = {},
): Promise<Result> {
    const { host, port, identityFile, knownHostsFile } = worker.ssh;
    const given = ["BatchMode=yes", `UserKnownHostsFile=${knownHostsFile}`, "IdentitiesOnly=yes", "ConnectTimeout=10"];
    // The first one counts.
    const settings = [...options, ...given].flatMap((option) => ["-o", option]);
    const args = [
        "-F",
        "none",
        "-i",
        identity ?? identityFile,
        ...settings,
        "-p",
        String(port),
        `${user}@${host}`,
        command,
    ];
    return run("ssh", args, { timeout: 20_000 });
}

/** A connection to a port of this machine; gives the first bytes that come, or how it ended. */
function firstBytes(port: number, milliseconds: number): Promise<string> {
    return new Promise((resolve) => {
        const socket = connect({ host: "127.0.0.1", port });
        const end = (how: string) => {
            socket.destroy();
            resolve(how);
        };
        socket.setTimeout(milliseconds, () => end("silence"));
        socket.once("data", (chunk: Buffer) => end(chunk.toString("latin1")));
        socket.once("error", (error: NodeJS.ErrnoException) => end(error.code ?? "error"));
        socket.once("end", () => end("end"));
    });
}

/** An SSH client's connection that stays: resolves when the server has said who it is. */
function openConnection(port: number): Promise<Socket> {
    return new Promise((resolve, reject) => {
        const socket = connect({ host: "127.0.0.1", port });
        socket.once("data", () => resolve(socket));
        socket.once("error", reject);
    });
}

/** Interfaces and addresses of this machine, which the playground must leave alone. */
async function ownNetwork(): Promise<string> {
    const { stdout } = await run("ip", ["-o", "address"]);
    return stdout.replaceAll(/valid_lft.*/g, "");
}

describe("playground: cluster", function () {
    let registry: Registry;
    let reference: string;
    let cluster: Cluster;
    let network: string;
    let one: Worker;
    let two: Worker;

    before(async () => {
        network = await ownNetwork();
        registry = await startRegistry();
        reference = await registry.push(await busyboxImage(), "busybox:1");
        cluster = await startCluster({ workers: [{ version: "1.6" }, { version: "2" }], reach: [registry.port] });
        [one, two] = cluster.workers as [Worker, Worker];
    });
    after(async () => {
        await cluster?.stop();
        await registry?.stop();
        assert.deepEqual(
            (await listWorkers()).filter(({ name }) => name.startsWith(cluster.name)).map(({ name }) => name),
            [],
        );
        assert.equal(await openCluster(cluster.name), undefined);
        assert.equal(await ownNetwork(), network);
    });

    it("has workers of both versions, each with its own name, address, host key and files", async () => {
        for (const worker of cluster.workers) {
            const { code, stdout, stderr } = await ssh(worker, "id -un; hostname; containerd --version; hostname -I");
            assert.equal(code, 0, stderr);
            const [user, hostname, version, address] = stdout.trim().split("\n");
            assert.equal(user, "root");
            assert.equal(hostname, worker.hostname);
            assert.match(version ?? "", worker.version === "2" ? / v?2\./ : / v?1\.6\./);
            // The second where this machine's kernel has IPv6.
            const [ip, ip6 = worker.ip6] = address?.trim().split(" ") ?? [];
            assert.deepEqual([ip, ip6], [worker.ip, worker.ip6]);
        }
        assert.notEqual(one.ip, two.ip);
        assert.notEqual(one.ssh.hostKey, two.ssh.hostKey);
        const swapped = await ssh(one, "true", { options: [`UserKnownHostsFile=${two.ssh.knownHostsFile}`] });
        assert.notEqual(swapped.code, 0, "another worker's host key was accepted");

        await one.run(
            "echo here >/etc/playground-test; echo here >/tmp/playground-test; echo >/var/log/playground-test",
        );
        for (const file of ["/etc/playground-test", "/tmp/playground-test", "/var/log/playground-test"]) {
            assert.equal(existsSync(file), false, `${file} is on this machine`);
            assert.equal((await two.exec("test", ["-e", file])).code, 1, `${file} is on the other worker`);
        }
        await one.run("rm /etc/playground-test /tmp/playground-test /var/log/playground-test");
    });

    it("has a network without a way out, but to what it reaches", async () => {
        assert.equal(await ownNetwork(), network, "the playground changed this machine's network");
        // The other worker answers; this machine's addresses do not, nor does what nobody let in.
        assert.match(await one.run('socat -T 2 - "TCP:$1:22,connect-timeout=5" </dev/null', two.ip), /^SSH-2\.0/);
        const hosts = (await ownNetwork()).split("\n").map((line) => /inet ([0-9.]+)/.exec(line)?.[1] ?? "");
        for (const host of hosts.filter((address) => address !== "" && !address.startsWith("127."))) {
            const { code } = await one.exec("socat", ["-", `TCP:${host}:${registry.port},connect-timeout=0.3`]);
            assert.notEqual(code, 0, `${host} is reached`);
        }
        for (const worker of cluster.workers) await worker.ctr("image", "pull", "--plain-http", reference);
    });

    it("runs containers, and the census sees what is new", async () => {
        for (const worker of cluster.workers) {
            const empty = await census(worker);
            assert.ok(empty.listeners.some((line) => line.endsWith(":22")));
            await worker.ctr("run", "--detach", "--net-host", reference, "c", "nc", "-ll", "-p", "7000", "-e", "cat");
            while (!(await census(worker)).listeners.some((line) => line.endsWith(":7000")));
            const local = await worker.forward(7000);
            assert.equal(await worker.forward(7000), local);
            const socket = connect({ host: "127.0.0.1", port: local, allowHalfOpen: true });
            // Ended on our side, and still answered: what goes through may close one direction.
            socket.end("back and forth");
            let said = "";
            for await (const chunk of socket) said += String(chunk);
            assert.equal(said, "back and forth");
            await worker.ctr("task", "rm", "--force", "c");
            await worker.ctr("container", "rm", "c");
            assert.deepEqual(await census(worker), empty);
        }
    });

    it("lets three users in: root, one who may reach containerd alone, one by password", async () => {
        const { dialUser, dial, passwordUser, password } = one.ssh;
        // HTTP/2's SETTINGS frame is what containerd says first.
        const dialed = await ssh(
            one,
            `{ printf 'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n'; sleep 0.3; } | ${dial} | od -An -tx1 | head -1`,
            {
                user: dialUser,
            },
        );
        assert.match(dialed.stdout, /^ 00 00 .. 04/, dialed.stderr);
        assert.notEqual((await ssh(one, "sudo -n id", { user: dialUser })).code, 0);
        assert.notEqual((await ssh(one, "true", { user: passwordUser })).code, 0);
        const { host, port, knownHostsFile } = one.ssh;
        const askpass = path.join(one.dir, "askpass");
        await run("/bin/sh", [
            "-c",
            'printf "#!/bin/sh\\necho \\"\\$PASSWORD\\"\\n" >"$1"; chmod 700 "$1"',
            "sh",
            askpass,
        ]);
        const env = { ...process.env, SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: "force", PASSWORD: password };
        const options = ["-F", "none", "-o", `UserKnownHostsFile=${knownHostsFile}`, "-o", "PubkeyAuthentication=no"];
        const asked = await run("ssh", [...options, "-p", String(port), `${passwordUser}@${host}`, "id -un"], { env });
        assert.equal(asked.stdout.trim(), passwordUser, asked.stderr);
    });

    it("takes settings of sshd, and other keys", async () => {
        await one.restartSshd({ MaxSessions: 1, AllowStreamLocalForwarding: "no", PasswordAuthentication: "no" });
        const effective = (await ssh(one, "/usr/sbin/sshd -T")).stdout;
        assert.match(effective, /^maxsessions 1$/m);
        assert.match(effective, /^allowstreamlocalforwarding no$/m);
        assert.match(effective, /^passwordauthentication no$/m);
        await assert.rejects(one.restartSshd({ MaxSessions: "many" }), /MaxSessions|integer/i);
        await one.restartSshd({});
        assert.match((await ssh(one, "/usr/sbin/sshd -T")).stdout, /^maxsessions 10$/m);

        const key = path.join(one.dir, "other");
        await run("ssh-keygen", ["-q", "-t", "ecdsa", "-N", "", "-f", key]);
        const login = () => ssh(one, "true", { identity: key });
        assert.notEqual((await login()).code, 0);
        await one.authorize(await readFile(`${key}.pub`, "utf8"));
        assert.equal((await login()).code, 0);

        await one.stopSshd();
        assert.equal(await firstBytes(one.ssh.port, 5000), "ECONNRESET");
        await one.restartSshd();
        assert.match(await firstBytes(one.ssh.port, 5000), /^SSH-2\.0/);
    });

    it("is cut off: connections hang, and go on when it is healed", async () => {
        const { port } = two.ssh;
        const open = await openConnection(port);
        await two.cut();
        assert.ok(two.isCut);
        assert.equal(await firstBytes(port, 1500), "silence");
        // Sent into the void, answered when the cable is back.
        open.write("SSH-2.0-test\r\n");
        const answer = new Promise<string>((resolve) =>
            open.once("data", (chunk: Buffer) => resolve(chunk.toString("latin1"))),
        );
        await two.heal();
        assert.match(await answer, /curve25519/);
        open.destroy();
        assert.equal((await ssh(two, "true")).code, 0);
        assert.match(await firstBytes(one.ssh.port, 5000), /^SSH-2\.0/, "the other worker was cut off too");
    });

    it("delays, and resets connections", async () => {
        const { port } = one.ssh;
        await one.delay(100);
        const start = performance.now();
        assert.match(await firstBytes(port, 5000), /^SSH-2\.0/);
        // Three ways of the handshake and one of the answer. Timers are late, never early.
        assert.ok(performance.now() - start >= 400 - 5, "the delay is not there");
        await one.delay(0);

        const sockets = await Promise.all([openConnection(port), openConnection(port)]);
        // Those of the tests before may not be over yet.
        while ((await sshConnections(one)) !== 2);
        const resets = sockets.map(
            (socket) =>
                new Promise((resolve) => socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code))),
        );
        await one.resetConnections();
        assert.deepEqual(await Promise.all(resets), ["ECONNRESET", "ECONNRESET"]);
        while ((await sshConnections(one)) > 0);
        assert.equal((await ssh(one, "true")).code, 0);
    });

    it("loses its power and boots: the same keys, address and ports", async () => {
        const { ssh: access, ip } = two;
        await two.ctr(
            "run",
            "--detach",
            "--label",
            "containerd.io/restart.status=running",
            reference,
            "p",
            "sleep",
            "1000",
        );
        const open = await openConnection(access.port);
        let ended = false;
        open.once("end", () => (ended = true));
        await two.kill();
        assert.equal(two.running, false);
        assert.equal(await firstBytes(access.port, 700), "silence");
        assert.equal(ended, false, "a machine without power said goodbye");
        await two.boot();
        assert.deepEqual(two.ssh, access);
        assert.equal(two.ip, ip);
        // The machine that boots knows nothing of the connection: whoever goes on with it is told so.
        const told = new Promise((resolve) =>
            open.once("error", (error: NodeJS.ErrnoException) => resolve(error.code)),
        );
        open.write("SSH-2.0-test\r\n");
        assert.equal(await told, "ECONNRESET");
        assert.equal((await ssh(two, "true")).code, 0);
        await two.ctr("image", "pull", "--plain-http", reference);
        while (!(await census(two)).processes.includes("sleep 1000"));
    });

    it("is found again by another process, and described in users' words", async () => {
        const found = await openCluster(cluster.name);
        assert.deepEqual(
            found?.workers.map(({ hostname }) => hostname),
            ["node-1", "node-2"],
        );
        assert.deepEqual(found?.worker("node-2").ssh, two.ssh);
        assert.throws(() => cluster.worker("node-3"), { code: "NotFound", message: /node-1, node-2/ });
        const config = path.join(one.dir, "ssh_config");
        await run("/bin/sh", ["-c", 'cat >"$1"', "sh", config], { input: sshConfig(cluster.workers) });
        for (const { hostname } of cluster.workers) {
            const { stdout, stderr } = await run("ssh", ["-F", config, hostname, "hostname"]);
            assert.equal(stdout.trim(), hostname, stderr);
        }
        assert.deepEqual(nodeEntry(one), {
            host: "127.0.0.1",
            port: one.ssh.port,
            user: "root",
            identityFile: one.ssh.identityFile,
            hostKey: one.ssh.hostKey,
            publicAddress: one.ip,
        });
    });
});

describe("playground: cluster whose owner is killed", () => {
    it("leaves nothing behind: processes, namespaces, control groups, folders", async () => {
        const network = await ownNetwork();
        const script = `
            import { startCluster } from ${JSON.stringify(path.join(repository, "playground/cluster.ts"))};
            startCluster({ workers: [{ version: "1.6" }, { version: "2" }] }).then((cluster) => {
                console.log(cluster.name);
                setInterval(() => {}, 1000);
            });`;
        const args = ["--import", "tsx", "--input-type=module", "--eval", script];
        const child = spawn(process.execPath, args, { cwd: repository, stdio: ["ignore", "pipe", "inherit"] });
        const name = await new Promise<string>((resolve) =>
            createInterface({ input: child.stdout }).once("line", resolve),
        );
        const found = await openCluster(name);
        assert.equal(found?.workers.length, 2);
        const port = found.workers[0]?.ssh.port ?? 0;
        assert.match(await firstBytes(port, 5000), /^SSH-2\.0/);
        const pids = await processesOf(name);
        assert.ok(pids.length >= 6, `carrier, crossing and workers: ${pids.join(" ")}`);
        child.kill("SIGKILL");
        await Promise.all(Array.from({ length: 5 }, () => removeAbandoned()));
        while ((await processesOf(name)).length > 0);
        assert.equal(await firstBytes(port, 5000), "ECONNREFUSED");
        assert.equal(await openCluster(name), undefined);
        for (const { name } of found.workers) {
            assert.equal(await openWorker(name), undefined);
            assert.deepEqual(cgroupsOf(name), []);
        }
        assert.deepEqual(
            readdirSync("/var/tmp/pulumi-containerd").filter((entry) => entry.startsWith(name)),
            [],
        );
        assert.equal(await ownNetwork(), network);
    });
});
