/**
 * That keys, passphrases and passwords of nodes stay secret: a search through all that an up, a refresh, an up that fails and a
 * destroy write, say and run, here and on the machines.
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdir, readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { playgroundFolder } from "../../playground/environment";
import type { Stack, UpdateResult } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import { temporary } from "../helpers/image";
import { ClusterScene } from "./cluster-scene";
import { failed, rewrite, succeeded, told, warnings } from "./scene";

/** How the engine marks an encrypted value in a state. */
const SECRET = { "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270" };
const LOOK = 50;

/** Two machines that are resources, with a Container on each: one by a locked key, one by a password. */
const RESOURCES = `
const config = new pulumi.Config("test");
const image = config.require("image");
const at = config.requireObject("at");
const nodes = {
    key: new containerd.Node("key", {
        connection: { ...at.key, privateKey: config.requireSecret("key"), passphrase: config.requireSecret("passphrase") },
    }),
    password: new containerd.Node("password", { connection: { ...at.password, password: config.requireSecret("password") } }),
};
for (const [name, node] of Object.entries(nodes)) {
    new containerd.Container(name, { node, image, network: "none", args: ["true"] });
}
`;

/** The same machines by the stack's config. */
const CONFIGURED = `
const image = new pulumi.Config("test").require("image");
for (const node of ["key", "password"]) new containerd.Container(node, { node, image, network: "none", args: ["true"] });
`;

describe("secrets of nodes", function () {
    this.timeout(240_000);
    let scene: ClusterScene;
    let folder: string;
    let removeFolder: () => Promise<void>;
    let at: Record<"key" | "password", Record<string, string | number>>;
    const passphrase = `open-${randomBytes(12).toString("hex")}`;
    let key: string;
    let password: string;
    /** What is looked for, and what it is. */
    let needles: [what: string, text: string][];

    before(async () => {
        scene = await ClusterScene.open([{ version: "2" }, { version: "1.6" }]);
        const [one, two] = scene.workers as [Worker, Worker];
        ({ folder, remove: removeFolder } = await temporary());
        const file = path.join(folder, "key");
        execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", file]);
        key = await readFile(file, "utf8");
        await one.authorize(await readFile(`${file}.pub`, "utf8"));
        password = two.ssh.password;
        // The user who comes in by a password may use containerd's socket there.
        await two.run("chmod 0666 /run/containerd/containerd.sock; chmod 0755 /run/containerd");
        const { host } = one.ssh;
        at = {
            key: { host, port: one.ssh.port, user: "root", hostKey: one.ssh.hostKey },
            password: { host, port: two.ssh.port, user: two.ssh.passwordUser, hostKey: two.ssh.hostKey },
        };
        const lines = key.split("\n").filter((line) => !line.startsWith("-") && line !== "");
        needles = [
            // Not its first line: it holds the public half, and a header that all keys have.
            ...lines.slice(2).map((line): [string, string] => ["a line of the key", line]),
            ["the key", Buffer.from(key).toString("base64").slice(-200)],
            ["the passphrase", passphrase],
            ["the passphrase", Buffer.from(passphrase).toString("base64").replace(/=+$/, "")],
            ["the password", password],
            ["the password", Buffer.from(password).toString("base64").replace(/=+$/, "")],
        ];
    });
    after(async () => {
        await scene?.close();
        await removeFolder?.();
    });

    /** What of the secrets stands in a text. */
    function leaks(text: string): string[] {
        return [...new Set(needles.filter(([, needle]) => text.includes(needle)).map(([what]) => what))];
    }

    /** Files below a folder with one of the secrets in them, by `grep`: also in databases. */
    function filesWith(below: string, ...exclude: string[]): string[] {
        const patterns = needles.map(([, needle]) => needle).join("\n");
        const options = exclude.flatMap((name) => [`--exclude=${name}`, `--exclude-dir=${name}`]);
        const { status, stdout, stderr } = spawnSync("grep", ["-rlaFs", ...options, "-f", "-", below], {
            input: patterns,
            encoding: "utf8",
        });
        assert.ok(status !== null && status < 2, stderr);
        return stdout.split("\n").filter(Boolean);
    }

    async function makeStack(program: string, more: Record<string, object>): Promise<Stack> {
        const own = path.join(folder, `tmp-${randomBytes(4).toString("hex")}`);
        await mkdir(own);
        return scene.stack(program, {
            env: { TMPDIR: own, HOME: folder },
            config: { "containerd:nodes": {}, ...more },
        });
    }

    /** Runs a command of the engine, and looks at the arguments of all processes meanwhile, those of the workers among them. */
    async function watched(stack: Stack, command: () => Promise<UpdateResult>): Promise<UpdateResult> {
        let over = false;
        const found = new Set<string>();
        const watch = (async () => {
            while (!over) {
                for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
                    const args = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
                    for (const leak of leaks(args)) found.add(`${leak} among the arguments of ${args.slice(0, 30)}`);
                }
                await sleep(LOOK);
            }
        })();
        const result = await command().finally(() => (over = true));
        await watch;
        assert.deepEqual([...found], []);
        assert.deepEqual(leaks(told(result)), [], "in what the engine says");
        assert.deepEqual(filesWith(stack.folder, "node_modules"), [], "in what the engine keeps");
        const exported = await stack.pulumi(["stack", "export", "--stack", stack.name]);
        assert.deepEqual(leaks(exported.stdout + exported.stderr), [], "in the exported state");
        return result;
    }

    /** Neither in temporary files, nor in what the engine keeps beside the stack, nor on the machines. */
    function nowhereElse(): void {
        // Except the key itself, which the test made.
        assert.deepEqual(filesWith(folder, "key"), []);
        assert.deepEqual(filesWith(path.join(playgroundFolder, "pulumi-home")), []);
        for (const { dir } of scene.workers) {
            // What the playground knows of its own worker; all that is mounted from this machine.
            assert.deepEqual(filesWith(dir, "worker.json", "usr", "proc", "sys"), [], dir);
        }
    }

    it("the search finds what is there", async () => {
        assert.deepEqual(leaks(`x${password}x`), ["the password"]);
        assert.deepEqual(leaks(JSON.stringify({ key })), ["a line of the key"]);
        assert.deepEqual(filesWith(folder), [path.join(folder, "key")]);
    });

    it("of Nodes: encrypted in the state of the Node and of what lies on it, and nowhere else", async () => {
        const stack = await makeStack(RESOURCES, {
            "test:key": { secret: key },
            "test:passphrase": { secret: passphrase },
            "test:password": { secret: password },
            "test:at": at,
        });
        await watched(stack, () => stack.preview(["--diff"]));
        succeeded(await watched(stack, () => stack.up()));
        const { resources = [] } = (await stack.exportState()).deployment;
        for (const kind of ["Node", "Container"]) {
            for (const [name, secrets] of [
                ["key", ["privateKey", "passphrase"]],
                ["password", ["password"]],
            ] as const) {
                const found = resources.find(({ urn }) => urn.endsWith(`containerd:${kind}::${name}`));
                assert.ok(found, `${kind} ${name}`);
                for (const properties of [found.inputs, found.outputs]) {
                    const connection = properties?.connection as Record<string, object>;
                    // The address can be read, so that a change of it can be seen.
                    assert.equal(connection.host, at[name].host, JSON.stringify(connection));
                    for (const secret of secrets) {
                        const { ciphertext, ...mark } = connection[secret] as Record<string, string>;
                        assert.deepEqual([mark, typeof ciphertext], [SECRET, "string"], `${kind} ${name} ${secret}`);
                    }
                }
            }
        }
        succeeded(await watched(stack, () => stack.refresh(["--diff"])));

        // Each of them wrong: what is wrong is said without it.
        await rewrite(stack, RESOURCES.replace('requireSecret("passphrase")', 'requireSecret("password")'));
        const wrongPassphrase = await watched(stack, () => stack.up(["--diff"]));
        assert.match(failed(wrongPassphrase), /node key.*does not open with the passphrase given/);
        await rewrite(
            stack,
            RESOURCES.replace(
                'password: config.requireSecret("password")',
                'password: config.requireSecret("passphrase")',
            ),
        );
        const wrongPassword = await watched(stack, () => stack.up(["--diff"]));
        assert.match(failed(wrongPassword), /node password: the login as visitor was refused; tried: password/);
        await rewrite(
            stack,
            RESOURCES.replace('requireSecret("key")', 'requireSecret("key").apply((key) => key.slice(0, 300))'),
        );
        const damaged = await watched(stack, () => stack.up(["--diff"]));
        assert.match(failed(damaged), /node key.*(damaged|cannot be read|does not open)/);
        await rewrite(stack, RESOURCES.replaceAll("...at.", "nots: 1, ...at."));
        const misspelt = await watched(stack, () => stack.preview());
        assert.match(failed(misspelt), /connection\.nots: is not an argument/);

        await rewrite(stack, RESOURCES);
        const verbose = succeeded(await stack.up(["-v=9", "--logtostderr"]));
        const lines = verbose.stderr.split("\n").filter((line) => leaks(line).length > 0);
        // From 9 on the engine itself logs all that it sends, as its documentation warns. Nobody else does.
        assert.deepEqual(
            lines.filter((line) => !/"msg":"(Unm|M)arshaling property for RPC\[/.test(line)),
            [],
        );
        succeeded(await watched(stack, () => stack.up(["-v=8", "--logtostderr"])));
        nowhereElse();
        succeeded(await watched(stack, () => stack.destroy()));
        nowhereElse();
    });

    it("of the stack's config: encrypted where the engine keeps its config, in no resource of ours, and nowhere else", async () => {
        const credentials = { key: { privateKey: key, passphrase }, password: { password } };
        const stack = await makeStack(CONFIGURED, {
            "containerd:nodes": at,
            "containerd:credentials": { secret: JSON.stringify(credentials) },
        });
        succeeded(await watched(stack, () => stack.up()));
        const { resources = [] } = (await stack.exportState()).deployment;
        const engines = resources.filter(({ type }) => type.startsWith("pulumi:"));
        const { ciphertext, ...mark } = engines.find(({ inputs }) => inputs?.["containerd:credentials"])?.inputs?.[
            "containerd:credentials"
        ] as Record<string, string>;
        assert.deepEqual([mark, typeof ciphertext], [SECRET, "string"]);
        const ours = resources.filter((resource) => !engines.includes(resource));
        assert.equal(ours.length, 2);
        assert.doesNotMatch(JSON.stringify(ours), /privateKey|passphrase|"connection"/);
        succeeded(await watched(stack, () => stack.refresh()));
        const wrong = { ...credentials, key: { privateKey: key, passphrase: password } };
        await stack.configure({ "containerd:credentials": { secret: JSON.stringify(wrong) } });
        await rewrite(stack, CONFIGURED.replaceAll('args: ["true"]', 'args: ["false"]'));
        const up = await watched(stack, () => stack.up());
        assert.match(failed(up), /node key, config containerd:credentials\.key\.privateKey: the key does not open/);
        const refresh = succeeded(await watched(stack, () => stack.refresh()));
        assert.match(warnings(refresh)[0]?.message ?? "", /kept as last known.*does not open with the passphrase/);
        await stack.configure({ "containerd:credentials": { secret: `${JSON.stringify(credentials)},` } });
        assert.match(failed(await watched(stack, () => stack.up())), /config containerd:credentials: is not JSON/);
        await stack.configure({ "containerd:credentials": { secret: JSON.stringify(credentials) } });
        // A destroy goes by the config of the last up, unless it runs the program.
        succeeded(await watched(stack, () => stack.destroy(["--run-program"])));
        nowhereElse();
    });
});
