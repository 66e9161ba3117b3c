/** The doctor against real workers: what it learns by SSH, what of ours it finds there, and that its commands remove that. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import path from "node:path";
import { engineEnvironment } from "../../playground/engine";
import { environment, repository } from "../../playground/environment";
import { nodeEntry } from "../../playground/node-config";
import { Stack } from "../../playground/stack";
import { startWorker, type Worker } from "../../playground/worker";
import { listBelongings } from "../../provider/cli/belongings";
import { diagnose } from "../../provider/cli/diagnosis";
import { examine } from "../../provider/cli/examination";
import type { Finding } from "../../provider/cli/finding";
import { judgeBelongings, removal } from "../../provider/cli/leftovers";
import type { NodeReport } from "../../provider/cli/report";
import { UID } from "../../provider/containerd/labels";
import { startLease } from "../../provider/containerd/leases";
import { claimMachine } from "../../provider/lifecycle/claims";
import { ownerLabels } from "../../provider/lifecycle/ownership";
import { Run } from "../../provider/lifecycle/run";
import { readSettings } from "../../provider/lifecycle/settings";
import { survey } from "../../provider/node/survey";
import { claimImage } from "../../provider/images/records";
import { sshFiles } from "../helpers/ssh-files";
import { localSshFiles } from "../../provider/transport/ssh/ssh-files";

const SILENT = { progress: () => undefined, warn: () => undefined };

/** A run with these nodes in its config. */
function runWith(nodes: object): Run {
    const config = (key: string) => (key === "containerd:nodes" ? JSON.stringify(nodes) : undefined);
    return Run.start(readSettings(config), SILENT, localSshFiles());
}

function found(findings: readonly Finding[], check: string): Finding {
    const finding = findings.find((one) => one.check === check);
    assert.ok(finding, `nothing about ${check}: ${JSON.stringify(findings)}`);
    return finding;
}

for (const version of ["1.6", "2"] as const) {
    describe(`doctor, containerd ${version}`, function () {
        this.timeout(120_000);
        let worker: Worker;
        let run: Run;

        before(async () => {
            worker = await startWorker({ version, network: "own", restartInterval: "10s" });
            const { dialUser, dial } = worker.ssh;
            const entry = nodeEntry(worker) as { host: string; port: number };
            run = runWith({
                root: entry,
                // By names of their own, because one machine has one name.
                visitor: { ...entry, user: dialUser },
                dialler: { ...entry, user: dialUser, dial, jump: "none" },
                nobody: { host: "127.0.0.1", port: 1 },
            });
        });
        after(async () => {
            await run?.close();
            await worker?.stop();
        });

        it("learns by SSH what the worker has", async () => {
            const seen = await survey(run.transport("root"));
            const said = (command: string) => worker.run(`${command} 2>/dev/null || true`).then((text) => text.trim());
            assert.equal(seen.isRoot, true);
            assert.equal(seen.kernel, await said("uname -r"));
            assert.equal(seen.containerdVersion, (await said("containerd --version")).split(" ")[2]);
            assert.equal(seen.runcVersion, (await said("runc --version | head -n 1")).split(" ")[2]);
            assert.equal(seen.containerdConfig, path.join(worker.dir, "config.toml"));
            assert.equal(seen.restartInterval, 10_000);
            assert.equal(seen.socket, "open");
            assert.equal(seen.sshd?.allowStreamLocalForwarding, "yes");
            assert.ok((seen.disks["/var/lib/containerd"]?.size ?? 0) > 0);
            assert.ok(seen.clockSkew !== undefined && Math.abs(seen.clockSkew) <= 1);
        });

        it("warns of a monitor that is slower than we advise, and of nothing else", async () => {
            const findings = diagnose(await examine(run, "root"));
            const wrong = findings.filter(({ status }) => status === "problem");
            assert.deepEqual(wrong, []);
            assert.match(found(findings, "restart monitor").text, /looks every 10s/);
            assert.match(found(findings, "containerd").text, /answers/);
            assert.equal(found(findings, "sshd").status, "ok");
        });

        it("tells a user who may not open the socket from one who may by `dial`", async () => {
            const [visitor, dialler] = await Promise.all([examine(run, "visitor"), examine(run, "dialler")]);
            assert.equal(visitor.survey?.socket === "open", false);
            assert.equal(visitor.survey?.isRoot, false);
            const finding = found(diagnose(visitor), "containerd");
            assert.equal(finding.status, "problem");
            assert.match(finding.text, /may not (?:open|see)/);
            assert.equal(found(diagnose(dialler), "containerd").status, "ok");
        });

        it("says why a node cannot be reached", async () => {
            const [finding, ...more] = diagnose(await examine(run, "nobody", sshFiles()));
            assert.deepEqual(more, []);
            assert.equal(finding?.status, "problem");
            assert.match(finding.text, /refuses connections/);
            assert.deepEqual(finding.remedy, { where: "here", command: "ssh -v -p 1 127.0.0.1" });
        });

        it("tells what of ssh_config is not obeyed, also on the way", async () => {
            const config =
                "Host 127.0.0.1\n  BindAddress 192.0.2.9\n  ProxyJump gate\nHost gate\n  KnownHostsCommand /x\n";
            const seen = await examine(run, "nobody", sshFiles({ "/home/ann/.ssh/config": config }));
            const told = diagnose(seen).filter(({ check }) => check === "ssh_config");
            assert.deepEqual(
                told.map(({ status, text }) => `${status} ${text}`),
                [
                    "warning /home/ann/.ssh/config:5: knownhostscommand /x is not obeyed",
                    "warning /home/ann/.ssh/config:2: bindaddress 192.0.2.9 is not obeyed",
                ],
            );
        });

        it("finds an sshd that forbids what we need, and a containerd that is down", async () => {
            await worker.restartSshd({ AllowStreamLocalForwarding: "no" });
            const closed = runWith({ root: nodeEntry(worker) });
            try {
                const findings = diagnose(await examine(closed, "root"));
                assert.match(found(findings, "sshd").text, /AllowStreamLocalForwarding no/);
                assert.equal(found(findings, "containerd").status, "problem");
            } finally {
                await closed.close();
                await worker.restartSshd();
            }
            await worker.stopContainerd();
            const down = runWith({ root: nodeEntry(worker) });
            try {
                const findings = diagnose(await examine(down, "root"));
                assert.equal(found(findings, "connection").status, "ok");
                const { status, text, remedy } = found(findings, "containerd");
                assert.equal(status, "problem");
                assert.match(text, /^nobody listens on|^containerd's socket/);
                assert.match(remedy?.command ?? "", /^systemctl (?:start|enable --now) containerd/);
            } finally {
                await down.close();
                await worker.startContainerd();
            }
        });

        it("finds what no stack owns, and its commands remove exactly that", async () => {
            const client = await run.client("root", "default");
            const transport = run.transport("root");
            const list = async () => listBelongings(client, transport, { isRoot: true, hasSudo: false });
            assert.deepEqual(await list(), []);

            const urn = (name: string) => `urn:pulumi:dev::web::pulumi-nodejs:dynamic/containerd:Container::${name}`;
            const digest = `sha256:${"a".repeat(64)}`;
            const root = { mediaType: "application/vnd.oci.image.index.v1+json", digest, size: 1 };
            const things = async (name: string, uid: string) => {
                const labels = ownerLabels({ owner: urn(name), uid, revision: 1, phase: "complete" });
                await client.containers.create({
                    container: {
                        id: name,
                        labels,
                        image: "busybox",
                        snapshotter: "overlayfs",
                        snapshot_key: name,
                        runtime: { name: "io.containerd.runc.v2" },
                        spec: {
                            type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec",
                            value: Buffer.from("{}"),
                        },
                    },
                });
                await client.snapshots.prepare({ snapshotter: "overlayfs", key: name, labels });
                await claimImage(client, "docker.io/library/claimed:1", root, { uid, owner: urn(name) });
                const lease = { id: `lease-${name}`, owner: urn(name), labels: { [UID]: uid } };
                const { leased } = await startLease(client, lease);
                // Nothing else keeps it from being collected.
                await leased.snapshots.prepare({ snapshotter: "overlayfs", key: `extract-${name}`, labels });
                await worker.run('mkdir -p "/var/lib/pulumi-containerd/$1@default/log"', name);
            };
            await things("kept", "aa");
            const kept = await list();
            assert.deepEqual(kept.map(({ kind }) => kind).sort(), [
                "container",
                "folder",
                "image",
                "image",
                "lease",
                "snapshot",
            ]);
            await things("left", "bb");
            const machine = {
                owner: "urn:pulumi:dev::web::pulumi-nodejs:dynamic/containerd:Node::n",
                claim: randomUUID(),
            };
            await claimMachine(client, machine);
            await worker.run("mkdir /var/lib/pulumi-containerd/forgotten@default");

            const stack = { name: "dev", project: "web", uids: new Set(["aa"]) };
            const judged = judgeBelongings(await list(), stack);
            const remedies = judged.filter(({ remedy }) => remedy?.where === "node");
            assert.deepEqual(
                remedies.map(({ text }) => text.split(" is left over")[0]).sort(),
                [
                    `claim on image default/docker.io/library/claimed:1`,
                    `claim on image default/docker.io/library/claimed@${digest}`,
                    "container default/left",
                    "folder default/forgotten",
                    ...judged.flatMap(
                        ({ text }) => /^lease default\/pulumi-containerd-claim-\S+/.exec(text)?.[0] ?? [],
                    ),
                    "snapshot default/extract-left",
                ].sort(),
            );
            for (const { remedy } of remedies) await worker.run(remedy?.command ?? "");
            // What is of a run of Pulumi is that run's to end.
            for (const one of await list()) if (one.name === "lease-left") await worker.run(removal(one).command);
            const image = (one: (typeof kept)[number]) => (one.kind === "image" ? { ...one, claims: 1 } : one);
            assert.deepEqual((await list()).map(image), kept);

            // With the lease goes what only it kept.
            kept.sort((a, b) => Number(a.kind === "lease") - Number(b.kind === "lease"));
            for (const one of kept) await worker.run(removal(one).command);
            assert.deepEqual(await list(), []);
        });
    });
}

describe("pulumi-containerd doctor", function () {
    this.timeout(120_000);
    let worker: Worker;
    let stack: Stack;

    before(async () => {
        worker = await startWorker({ version: "2", network: "own" });
        stack = await Stack.create({
            program: "",
            project: "web",
            config: {
                "containerd:nodes": {
                    guest: { ...nodeEntry(worker), user: worker.ssh.dialUser },
                    here: { socket: worker.address },
                    there: { host: "127.0.0.1", port: 1 },
                },
                "containerd:credentials": { secret: JSON.stringify({ there: { password: "correct horse" } }) },
            },
        });
    });
    after(async () => {
        await stack?.remove();
        await worker?.stop();
    });

    /** Runs the command as a user does. */
    function command(args: readonly string[], cwd = stack.project, more: NodeJS.ProcessEnv = {}) {
        const env = engineEnvironment(path.join(stack.folder, "backend"), more);
        env.PATH = [path.dirname(environment().pulumi), env.PATH].join(path.delimiter);
        const file = path.join(repository, "provider/cli/main.ts");
        const tsx = path.join(repository, "node_modules/.bin/tsx");
        return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
            execFile(tsx, [file, ...args], { cwd, env, timeout: 90_000 }, (error, stdout, stderr) => {
                resolve({ code: error ? Number(error.code ?? -1) : 0, stdout, stderr });
            });
        });
    }

    it("examines all nodes of the stack's config", async () => {
        const { code, stdout, stderr } = await command(["doctor", "--json"]);
        assert.equal(code, 1, stderr);
        const { nodes } = JSON.parse(stdout) as { nodes: NodeReport[] };
        assert.deepEqual(nodes.map(({ node }) => node), ["guest", "here", "there"]); // prettier-ignore
        assert.equal(found(nodes[1]?.findings ?? [], "containerd").status, "ok");
        assert.equal(found(nodes[2]?.findings ?? [], "connection").status, "problem");
        assert.ok(!`${stdout}${stderr}`.includes("correct horse"));
    });

    it("examines those that are named, from another folder too, and ends with 0 when all is well", async () => {
        const { code, stdout, stderr } = await command(
            ["doctor", "here", "--cwd", stack.project, "--stack", stack.name],
            "/",
        );
        assert.equal(code, 0, stdout + stderr);
        assert.match(stdout, /^here\n/);
        assert.doesNotMatch(stdout, /PROBLEM|^there$/m);
    });

    it("finds what the stack's state lacks", async () => {
        const owner = "urn:pulumi:dev::web::pulumi-nodejs:dynamic/containerd:Container::lost";
        await worker.ctr(
            "leases",
            "create",
            "--id",
            "mine",
            "pulumi-containerd/node=gone",
            `pulumi-containerd/owner=${owner}`,
        );
        const { stdout } = await command(["doctor", "here"]);
        assert.match(stdout, /lease default\/mine is left over: the state of stack dev of web does not have it/);
        assert.match(stdout, /\n {4}ctr -n default leases rm mine\n/);
        await worker.ctr("leases", "rm", "mine");
    });

    it("says why it examines this machine, in a stack without nodes and outside of a project", async () => {
        const bare = await Stack.create({ program: "", project: "bare" });
        try {
            const { PULUMI_BACKEND_URL } = engineEnvironment(path.join(bare.folder, "backend"));
            const env = { PULUMI_BACKEND_URL };
            const there = await command(["doctor"], bare.project, env);
            assert.match(
                there.stderr,
                /^the stack config containerd:nodes has no node, so this machine was examined\. Nodes with/m,
            );
        } finally {
            await bare.remove();
        }
        const outside = await command(["doctor"], "/");
        assert.match(
            outside.stderr,
            /^no Pulumi project here \(\/\), so no node is configured: .*\nthis machine was examined$/m,
        );
        assert.match(outside.stdout, /^localhost\n/);
    });

    it("says what pulumi says of a stack that is not there", async () => {
        const { code, stderr } = await command(["doctor", "--stack", "nope"]);
        assert.equal(code, 1);
        assert.match(stderr, /no stack named 'nope' found/);
    });

    it("ends with 2 when the command line is wrong", async () => {
        const { code, stderr } = await command(["doctor", "--run"]);
        assert.equal(code, 2);
        assert.match(stderr, /doctor has no option --run/);
    });

    it("prepares nothing for a user who may not become root", async () => {
        const { code, stdout, stderr } = await command(["bootstrap", "guest", "--run"]);
        assert.equal(code, 1);
        assert.equal(stdout, "");
        assert.match(stderr, /node guest: the user who logs in there is not root, and sudo wants a password/);
    });

    it("prints the script that prepares a worker, for a POSIX shell", async () => {
        const { code, stdout } = await command(["bootstrap", "here", "--user", "deploy"]);
        assert.equal(code, 0);
        assert.match(stdout, /^#!\/bin\/sh\n[^]*\nset -- 'deploy'\n/);
        await worker.run('printf "%s" "$1" | sh -n', stdout);
    });
});
