/**
 * Nodes that cannot be reached as the user says: one clear sentence each, which names the node and says what to do; nothing is
 * touched, and a preview asks none of them.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { freePort } from "../../playground/registry";
import { fingerprintOf } from "../../playground/ssh/settings";
import type { Stack, UpdateResult } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import type { Census } from "../helpers/census";
import { temporary } from "../helpers/image";
import { ClusterScene } from "./cluster-scene";
import { failed, rewrite, succeeded, told, unchanged, warnings } from "./scene";

const OTHER_KEY = "/etc/ssh/another_host_ed25519_key";

/** A Container on each of these nodes, called like the node; `after` first. */
function program(nodes: readonly string[], after?: string): string {
    const container = (node: string, options = "") =>
        `new containerd.Container("${node}", { node: "${node}", image, network: "none", args: ["true"] }${options});\n`;
    return (
        'const image = new pulumi.Config("test").require("image");\n' +
        (after === undefined ? "" : `const first = ${container(after)}`) +
        nodes.map((node) => container(node, after === undefined ? "" : ", { dependsOn: [first] }")).join("")
    );
}

/** The errors about one resource, without the engine's words around them. */
function errorsOf(result: UpdateResult, name: string): string[] {
    return warnings(result)
        .filter(({ severity, urn }) => severity === "error" && urn?.endsWith(`::${name}`))
        .map(({ message }) => message.replace(/^.* resource '\S+' has a problem: /, ""));
}

/** One error about the resource on a node of that name, in words for people. */
function oneSentence(result: UpdateResult, node: string, says: RegExp): void {
    const errors = errorsOf(result, node);
    assert.equal(errors.length, 1, `${errors.length} errors: ${errors.join("; ") || told(result).slice(0, 1_000)}`);
    const [error = ""] = errors;
    assert.match(error, says);
    assert.ok(error.includes(`node ${node}`), error);
    assert.doesNotMatch(error, /\n\s+at |undefined|\[object|<nil>/);
    assert.ok(error.length < 1_000, error);
}

describe("bad input: nodes", function () {
    this.timeout(240_000);
    let scene: ClusterScene;
    let one: Worker;
    let two: Worker;
    let folder: string;
    let removeFolder: () => Promise<void>;
    let stack: Stack;
    let empty: Record<string, Census>;
    let preview: UpdateResult;
    let result: UpdateResult;
    let nodes: Record<string, Record<string, unknown>>;
    const env = (): NodeJS.ProcessEnv => ({ HOME: folder, SSH_AUTH_SOCK: path.join(folder, "no-agent.sock") });

    before(async () => {
        // Unauthenticated connections of many nodes at once are not what is tested here.
        const sshd = { MaxStartups: "100", Match: "User visitor\nAllowStreamLocalForwarding no" };
        scene = await ClusterScene.open([{ version: "2", sshd }, { version: "1.6" }]);
        [one, two] = scene.workers as [Worker, Worker];
        ({ folder, remove: removeFolder } = await temporary());
        await prepareKeys();
        const { host, port, user, identityFile, hostKey, dialUser, passwordUser } = one.ssh;
        // No host: then the node's name is one, of ~/.ssh/config. Two of one address would be refused as one machine.
        const way = { port, user, identityFile, hostKey };
        const closed = await freePort();
        const file = (name: string) => path.join(folder, name);
        nodes = {
            ...scene.nodes,
            "absent-name": { user: "root", identityFile, hostKey },
            "invalid-host": { ...way, host: "no-such-machine.invalid" },
            "refused-port": { ...way, port: closed },
            "wrong-key": { ...way, identityFile: file("stranger") },
            locked: { ...way, identityFile: file("locked") },
            "locked-wrongly": { ...way, identityFile: file("locked-too") },
            "no-key-file": { ...way, identityFile: file("nothing") },
            "key-is-folder": { ...way, identityFile: folder },
            "key-is-none": { ...way, identityFile: file("garbage") },
            "key-is-public": { ...way, identityFile: file("stranger.pub") },
            certificate: { ...way, certificate: file("garbage") },
            "agent-gone": { port, user, hostKey, agent: "SSH_AUTH_SOCK" },
            "wrong-password": { port, user: passwordUser, hostKey },
            pinned: { ...way, hostKey: fingerprintOf(await readFile(file("stranger.pub"), "utf8")) },
            // The rest of these is in ~/.ssh/config and known_hosts.
            changed: {},
            revoked: {},
            unseen: {},
            "jump-down": { ...way, jump: "down" },
            down: { ...way, host, port: closed },
            "jump-locked": { ...way, jump: "gate" },
            gate: {
                host,
                port: two.ssh.port,
                user: dialUser,
                hostKey: two.ssh.hostKey,
                identityFile: file("stranger"),
            },
            circle: { ...way, jump: "circle" },
            "no-socket": { ...way, host: "no-socket", socket: "/run/containerd/other.sock" },
            "no-folder": { ...way, host: "no-folder", socket: "/run/nowhere/containerd.sock" },
            "not-a-socket": { ...way, host: "not-a-socket", socket: "/etc/passwd" },
            "no-permission": { ...way, user: dialUser },
            "dial-fails": { ...way, user: dialUser, dial: "echo no such luck >&2; exit 3" },
            "dial-absent": { ...way, user: dialUser, dial: "no-such-program -" },
            forbidden: { port, user: passwordUser, hostKey },
            // The same machine as node-1, by another address.
            twin: { ...way, host: "localhost", publicAddress: "192.0.2.1" },
        };
        await prepareHome(Object.keys(nodes).filter((name) => !/^node-|^absent|^invalid|^twin|^gate|^down/.test(name)));
        empty = await scene.census();
        const names = Object.keys(nodes).filter((name) => name !== "node-1");
        stack = await scene.stack(program([...names, "node-11", "elsewhere"], "node-1"), {
            env: env(),
            config: {
                "containerd:nodes": nodes,
                "containerd:credentials": {
                    secret: JSON.stringify({
                        "locked-wrongly": { passphrase: "not the right one" },
                        "wrong-password": { password: "not the right one either" },
                        forbidden: { password: one.ssh.password },
                    }),
                },
            },
        });
        // Only sshd keeps this user from it.
        await one.run(
            'chgrp "$1" /run/containerd/containerd.sock; chmod 0660 /run/containerd/containerd.sock',
            passwordUser,
        );
        await two.stopContainerd();
        preview = await stack.preview();
        result = await stack.up(["--continue-on-error"]);
    });
    after(async () => {
        await scene?.close();
        await removeFolder?.();
    });

    /** Keys that let nobody in, and what is no key. */
    async function prepareKeys(): Promise<void> {
        for (const [name, passphrase] of [
            ["stranger", ""],
            ["locked", "open sesame"],
            ["locked-too", "open sesame"],
        ] as const) {
            const args = ["-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", path.join(folder, name)];
            execFileSync("ssh-keygen", args);
        }
        await writeFile(path.join(folder, "garbage"), "this is no key\n");
    }

    /** What OpenSSH's own configuration says of the nodes: all of them are the first worker. */
    async function prepareHome(hosts: readonly string[]): Promise<void> {
        const { host, port, user, identityFile, hostKey } = one.ssh;
        const config = hosts.map(
            (name) =>
                `Host ${name}\nHostName ${host}\nPort ${port}\nUser ${user}\nIdentityFile ${identityFile}\nHostKeyAlias ${name}\n`,
        );
        await mkdir(path.join(folder, ".ssh"), { mode: 0o700 });
        await writeFile(path.join(folder, ".ssh/config"), config.join(""), { mode: 0o600 });
        const stranger = (await readFile(path.join(folder, "stranger.pub"), "utf8")).trim();
        const known = [`changed ${stranger}`, `@revoked revoked ${hostKey}`, `revoked ${hostKey}`];
        await writeFile(path.join(folder, ".ssh/known_hosts"), `${known.join("\n")}\n`, { mode: 0o600 });
    }

    const rows: [node: string, says: RegExp][] = [
        ["node-11", /no node node-11 in the stack config containerd:nodes, which has .*Did you mean node-1\?$/],
        [
            "elsewhere",
            /no node elsewhere in the stack config containerd:nodes, .*nor is there a Host elsewhere in ~\/.ssh\/config$/,
        ],
        ["absent-name", /no address is known for the host absent-name: is its name right/],
        ["invalid-host", /no address is known for the host no-such-machine\.invalid: is its name right/],
        ["refused-port", /root@127\.0\.0\.1:\d+ refuses connections: does sshd run there, and is port \d+ right\?/],
        ["wrong-key", /the login as root was refused; tried: publickey \(.*stranger, SHA256:.*authorized_keys of root/],
        [
            "locked",
            /identityFile: .*locked is locked by a passphrase.*containerd:credentials\.locked\.passphrase.*ssh-add/,
        ],
        ["locked-wrongly", /identityFile: .*locked-too does not open with the passphrase given/],
        ["no-key-file", /containerd:nodes\.no-key-file\.identityFile: there is no key file .*nothing$/],
        ["key-is-folder", /containerd:nodes\.key-is-folder\.identityFile: .* is a folder, not a file$/],
        ["key-is-none", /containerd:nodes\.key-is-none\.identityFile: .*garbage is not a private key/],
        ["key-is-public", /identityFile: .*stranger\.pub is a public key.*give the private one$/],
        ["certificate", /containerd:nodes\.certificate\.certificate: .*does not log in by OpenSSH certificates/],
        [
            "agent-gone",
            /containerd:nodes\.agent-gone\.agent: the SSH agent of SSH_AUTH_SOCK .*does not answer.*ssh-add/,
        ],
        ["wrong-password", /the login as visitor was refused; tried: .*password; the server takes/],
        ["pinned", /HOST KEY OF \S+ IS NOT THE PINNED ONE.*containerd:nodes\.pinned\.hostKey/],
        ["changed", /HOST KEY OF changed HAS CHANGED.*known is SHA256:.*known_hosts:1\).*ssh-keygen -R/s],
        ["revoked", /HOST KEY OF revoked IS REVOKED \(.*known_hosts:2\)/],
        [
            "unseen",
            /host key of unseen is not known.*SHA256:.*add this line.*\nunseen ssh-ed25519 AAAA.*pulumi config set/s,
        ],
        ["jump-down", /on the way to it, node down: root@127\.0\.0\.1:\d+ refuses connections/],
        ["jump-locked", /on the way to it, node gate: the login as deploy was refused/],
        ["gate", /the login as deploy was refused/],
        ["down", /refuses connections/],
        ["circle", /ProxyJump goes in a circle|the way leads back to itself/],
        [
            "no-socket",
            /containerd's socket \/run\/containerd\/other\.sock does not exist there: is containerd installed/,
        ],
        [
            "no-folder",
            /containerd's socket \/run\/nowhere\/containerd\.sock does not exist there: is containerd installed/,
        ],
        ["not-a-socket", /\/etc\/passwd is not a socket: is `socket` right\?/],
        ["no-permission", /deploy may not (open|see it)|deploy may not open containerd's socket .*set `dial`/],
        ["dial-fails", /the command of `dial` \(.*\) ended with status 3: no such luck/],
        ["dial-absent", /the command of `dial` \(no-such-program -\) ended with status 127: .*not found/],
        ["node-2", /nobody listens on containerd's socket .*: is containerd running\?/],
        ["forbidden", /the node's sshd forbids it: set `AllowStreamLocalForwarding yes`.*or set `dial`/],
        ["twin", /is the same machine as node node-1: .*Give each machine one name/],
    ];
    for (const [node, says] of rows) it(node, () => oneSentence(result, node, says));

    it("has a row for each of them", () => {
        const failures = new Set(warnings(result).flatMap(({ urn }) => urn?.split("::").at(-1) ?? []));
        assert.deepEqual([...failures].filter((name) => name !== "test-dev").sort(), rows.map(([node]) => node).sort());
    });

    it("a preview asks none of them: it warns of names that nothing is said of", () => {
        succeeded(preview);
        const said = warnings(preview).map(({ urn }) => urn?.split("::").at(-1));
        assert.deepEqual([...new Set(said)].sort(), ["elsewhere", "node-11"], told(preview));
        for (const { message } of warnings(preview)) {
            assert.match(
                message,
                /^nothing says yet how node \S+ is reached, so nothing is checked for it: no node .*[^:]$/,
            );
        }
    });

    it("leaves on the machines what could be made, and nothing else", async () => {
        await two.startContainerd();
        const names = async (worker: Worker) =>
            (await worker.ctr("containers", "ls", "-q")).split("\n").filter(Boolean);
        assert.deepEqual(
            (await names(one)).map((name) => name.replace(/-[0-9a-f]{7}$/, "")),
            ["node-1"],
        );
        assert.deepEqual(await names(two), []);
        assert.deepEqual((await scene.census())["node-2"], empty["node-2"]);
    });

    it("a preview needs no worker, also where the state has something on it", async () => {
        await rewrite(stack, program(["node-2"], "node-1"));
        await Promise.all([one.cut(), two.stopSshd()]);
        try {
            const planned = succeeded(await stack.preview());
            assert.deepEqual([planned.changes, warnings(planned)], [["node-2: create"], []], told(planned));
        } finally {
            await Promise.all([one.heal(), two.restartSshd()]);
        }
    });

    it("a host key that changes later: nothing is taken for gone, and nothing is done", async () => {
        await rewrite(stack, program(["node-2"], "node-1"));
        succeeded(await stack.up());
        await two.run('[ -f "$1" ] || ssh-keygen -q -t ed25519 -N "" -f "$1"', OTHER_KEY);
        await two.restartSshd({ HostKey: OTHER_KEY });
        try {
            const refresh = succeeded(await stack.refresh());
            assert.deepEqual(refresh.changes, []);
            const [warning, ...others] = warnings(refresh);
            assert.match(
                warning?.message ?? "",
                /kept as last known, because node node-2: THE HOST KEY OF .* IS NOT THE PINNED ONE/,
            );
            assert.deepEqual(others, []);
            await rewrite(stack, program([], "node-1"));
            const up = await stack.up();
            oneSentence(up, "node-2", /IS NOT THE PINNED ONE.*Nothing was deleted.*deleteUnreachable/);
            // What the SDK prints of a failed delete, the engine shows on the stack's row.
            const told = up.diagnostics.map(({ message }) => message);
            assert.equal(told.filter((message) => message.includes("Nothing was deleted")).length, 1, told.join("\n"));
            assert.ok(told.includes("node node-2: failed, see the resource's own error"), told.join("\n"));
        } finally {
            await two.restartSshd({});
        }
        succeeded(await stack.up());
        succeeded(await stack.destroy());
        await scene.holdOnly(empty);
    });

    it("two Nodes that are one machine: the second is refused, and the first keeps its claim", async () => {
        succeeded(await stack.destroy());
        const node = (name: string, options = "") => `new containerd.Node("${name}", {}${options});\n`;
        await rewrite(stack, `const first = ${node("node-1")}${node("twin", ", { dependsOn: [first] }")}`);
        const up = await stack.up();
        oneSentence(up, "twin", /is the same machine as node node-1/);
        await rewrite(stack, node("node-1"));
        unchanged(await stack.up());
        succeeded(await stack.destroy());
        await scene.holdOnly(empty);
    });

    it("machines that were cloned share containerd's UUID, and are two all the same", async () => {
        const find = 'find /var/lib/containerd -path "*introspection*" -name uuid';
        const uuid = await one.run(`cat "$(${find})"`);
        assert.match(uuid, /^[0-9a-f-]{36}$/);
        await two.run(`file=$(${find}) && [ -n "$file" ] && printf %s "$1" >"$file"`, uuid);
        await two.restartContainerd();
        await rewrite(stack, program(["node-2"], "node-1"));
        succeeded(await stack.up());
        succeeded(await stack.destroy());
        await scene.holdOnly(empty);
    });

    const configs: [what: string, entry: Record<string, unknown>, says: RegExp][] = [
        [
            "a secret among the nodes",
            { host: "x", password: "hush-hush" },
            /^config containerd:nodes\.odd\.password: is a secret.*--secret --path containerd:credentials\.odd\.password/,
        ],
        [
            "a machine of the config twice",
            { host: "127.0.0.1" },
            /^config containerd:nodes\.odd: is the same machine as node-1/,
        ],
    ];
    for (const [what, entry, says] of configs) {
        it(`config: ${what}`, async () => {
            await rewrite(stack, program(["node-1"]));
            const odd = what.includes("twice") ? { ...scene.nodes["node-1"], identityFile: "~/.ssh/other" } : entry;
            await stack.configure({ "containerd:nodes": { ...scene.nodes, odd } });
            const refused = await stack.preview();
            assert.doesNotMatch(failed(refused), /hush-hush/);
            assert.equal(errorsOf(refused, "node-1").length, 1, told(refused));
            assert.match(errorsOf(refused, "node-1")[0]!, says);
        });
    }
});
