/** Keys, the agent and passwords against a real sshd on a port of loopback, with keys made by `ssh-keygen`. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
    chmodSync,
    copyFileSync,
    existsSync,
    mkdirSync,
    mkdtempSync,
    readFileSync,
    rmSync,
    rmdirSync,
    writeFileSync,
} from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { Client, Server } from "ssh2";
import { type ContainerdError, type ErrorCode, hasCode } from "../../provider/errors";
import { authAttempt, type AuthSettings, prepareAuth } from "../../provider/transport/ssh/auth";
import { hostKeyError, hostKeyPolicy } from "../../provider/transport/ssh/host-key";
import { resolveSshHost } from "../../provider/transport/ssh/ssh-config";
import { localSshFiles, type SshFiles } from "../../provider/transport/ssh/ssh-files";
import { environment } from "../../playground/environment";
import { skip } from "../helpers/skip";

/** With a list of users that has sshd's own, which Debian's package makes: here it may only be unpacked. */
const START =
    'grep -q ^sshd: "$1" || { echo "sshd:x:990:65534::/run/sshd:/usr/sbin/nologin" >>"$1"; mount --bind "$1" /etc/passwd; }; shift; exec "$@"';
/** sshd, run by root, wants this one to be there. */
const PRIVILEGE_FOLDER = "/run/sshd";
const PASSPHRASE = "open sesame, it's me";

let folder: string;
let port: number;
let sshd: ChildProcess | undefined;
let madeFolder = false;

const at = (name: string) => join(folder, name);

function keygen(...args: string[]): void {
    execFileSync("ssh-keygen", ["-q", ...args], { stdio: ["ignore", "pipe", "pipe"], cwd: folder });
}

/** Makes a key that sshd accepts. */
function acceptedKey(name: string, type: string, ...args: string[]): string {
    keygen("-t", type, "-N", "", "-f", at(name), ...args);
    writeFileSync(at("authorized_keys"), readFileSync(at(`${name}.pub`)), { flag: "a" });
    return at(name);
}

async function freePort(): Promise<number> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    return port;
}

before(async function () {
    this.timeout(60_000);
    folder = mkdtempSync(join(tmpdir(), "ssh-login-"));
    mkdirSync(at("home/.ssh"), { recursive: true });
    for (const type of ["ed25519", "rsa"]) keygen("-t", type, "-N", "", "-f", at(`host_${type}`));
    keygen("-t", "ed25519", "-N", "", "-f", at("ca"));
    writeFileSync(at("authorized_keys"), "");
    port = await freePort();
    writeFileSync(
        at("sshd_config"),
        [
            `Port ${port}`,
            "ListenAddress 127.0.0.1",
            `HostKey ${at("host_ed25519")}`,
            `HostKey ${at("host_rsa")}`,
            `AuthorizedKeysFile ${at("authorized_keys")}`,
            `TrustedUserCAKeys ${at("ca.pub")}`,
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin yes",
            "PasswordAuthentication no",
            "MaxAuthTries 3",
            "MaxStartups 100",
        ].join("\n"),
    );
    madeFolder = process.getuid?.() === 0 && !existsSync(PRIVILEGE_FOLDER);
    if (madeFolder) mkdirSync(PRIVILEGE_FOLDER, { mode: 0o755 });
    const command = [join(environment().sshd, "usr/sbin/sshd"), "-D", "-e", "-f", at("sshd_config")];
    copyFileSync("/etc/passwd", at("passwd"));
    const own = ["--mount", "--propagation", "private", "sh", "-c", START, "sh", at("passwd"), ...command];
    sshd = spawn("unshare", own, { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    await new Promise<void>((resolve, reject) => {
        sshd?.stderr?.setEncoding("utf8").on("data", (text: string) => {
            said += text;
            if (said.includes("listening")) resolve();
        });
        sshd?.once("exit", () => reject(new Error(`sshd ended: ${said}`)));
    });
});

after(async () => {
    if (sshd?.exitCode === null) {
        const ended = once(sshd, "exit");
        sshd.kill();
        await ended;
    }
    if (madeFolder) rmdirSync(PRIVILEGE_FOLDER);
    if (folder) rmSync(folder, { recursive: true, force: true });
});

/** This machine, with a home and an environment of the test's own. */
function machine(config = "", env: Record<string, string> = {}): SshFiles {
    const userConfig = at("home/.ssh/config");
    writeFileSync(userConfig, config, { mode: 0o600 });
    return {
        ...localSshFiles(),
        home: at("home"),
        user: userInfo().username,
        env,
        userConfig,
        systemConfig: at("none"),
    };
}

interface Place {
    files?: SshFiles;
    /** Of another server than sshd. */
    port?: number;
    hostKey?: string;
}

/** Logs in; the label of the method that was let in, or the error that the user would see. */
async function login(
    settings: AuthSettings,
    { files = machine(), port: other = port, hostKey }: Place = {},
): Promise<string> {
    const host = resolveSshHost("127.0.0.1", files, { port: other });
    const auth = await prepareAuth(settings, host, files, "edge-1");
    const attempt = authAttempt(auth);
    const policy = hostKeyPolicy(host, files, hostKey ?? readFileSync(at("host_ed25519.pub"), "utf8"));
    let refused: ContainerdError | undefined;
    let last = "";
    const client = new Client();
    try {
        await new Promise<void>((resolve, reject) => {
            client.once("ready", resolve).once("error", reject);
            client.connect({
                host: "127.0.0.1",
                port: other,
                username: auth.user,
                authHandler: (accepted, partial, next) => {
                    const method = attempt.handler(accepted, partial, next) as unknown;
                    last = auth.methods.find((one) => one.method === method)?.label ?? last;
                    return method as void;
                },
                algorithms: { serverHostKey: policy.algorithms },
                hostVerifier: (key: Buffer) => {
                    refused = hostKeyError(policy.verify(key), "edge-1");
                    return refused === undefined;
                },
            });
        });
        return last;
    } catch (thrown) {
        if (refused) throw refused;
        throw (thrown as { level?: string }).level === "client-authentication" ? attempt.failure("edge-1") : thrown;
    } finally {
        client.end();
    }
}

/** That it fails with this code and all these words, and without the secrets. */
async function refuses(run: Promise<unknown>, code: ErrorCode, ...words: (string | RegExp)[]): Promise<void> {
    await assert.rejects(run, (thrown) => {
        assert.ok(hasCode(thrown, code), String(thrown));
        for (const word of words) {
            assert.ok(
                typeof word === "string" ? thrown.message.includes(word) : word.test(thrown.message),
                `${thrown.message}\nlacks ${String(word)}`,
            );
        }
        const all = `${thrown.message}${thrown.stack}${String(thrown.cause)}`;
        assert.equal(all.includes(PASSPHRASE), false, "the passphrase is in the error");
        assert.equal(all.includes("PRIVATE KEY-----"), false, "the key is in the error");
        return true;
    });
}

describe("login by a key file", function () {
    this.timeout(30_000);
    const kinds: [string, string, ...string[]][] = [
        ["ed25519", "ed25519"],
        ["rsa", "rsa", "-b", "2048"],
        ["ecdsa256", "ecdsa", "-b", "256"],
        ["ecdsa384", "ecdsa", "-b", "384"],
        ["ecdsa521", "ecdsa", "-b", "521"],
    ];
    for (const [name, type, ...args] of kinds) {
        for (const format of type === "ed25519" ? ["RFC4716"] : ["RFC4716", "PEM", "PKCS8"]) {
            it(`${name}, ${format === "RFC4716" ? "OpenSSH's format" : format}, plain and locked`, async () => {
                const key = acceptedKey(`${name}-${format}`, type, "-m", format, ...args);
                const pub = readFileSync(`${key}.pub`);
                rmSync(`${key}.pub`);
                assert.match(await login({ identityFile: key }), new RegExp(`^publickey \\(${key}, SHA256:`));
                assert.match(
                    await login({ privateKey: readFileSync(key, "utf8") }),
                    /^publickey \(of the stack's config/,
                );
                keygen("-p", "-P", "", "-N", PASSPHRASE, "-m", format, "-f", key);
                assert.match(await login({ identityFile: key, passphrase: PASSPHRASE }), /^publickey/);
                await refuses(
                    login({ identityFile: key }),
                    "Unauthorized",
                    key,
                    "locked",
                    "containerd:credentials.edge-1.passphrase",
                );
                const wrong = { identityFile: key, passphrase: `${PASSPHRASE}!` };
                await refuses(login(wrong), "Unauthorized", key, "does not open with the passphrase");
                writeFileSync(`${key}.pub`, pub);
            });
        }
    }

    it("~ is the home; a locked key's passphrase opens those of ssh_config too", async () => {
        const key = acceptedKey("home/.ssh/id_edge", "ed25519");
        assert.match(await login({ identityFile: "~/.ssh/id_edge" }), /id_edge/);
        keygen("-p", "-P", "", "-N", PASSPHRASE, "-f", key);
        const files = machine("IdentityFile ~/.ssh/id_edge");
        assert.match(await login({ passphrase: PASSPHRASE }, { files }), /id_edge/);
        await refuses(login({}, { files }), "Unauthorized", "no way to log in", "id_edge", "locked");
    });

    it("the usual files, only where nothing else is said", async () => {
        const key = acceptedKey("home/.ssh/id_ed25519", "ed25519");
        try {
            assert.match(await login({}), /id_ed25519/);
            await refuses(login({}, { files: machine("IdentityFile none") }), "Unauthorized", "tried: none");
        } finally {
            rmSync(key);
            rmSync(`${key}.pub`);
        }
    });

    it("one that is not accepted: what was tried, and what ssh_config named in vain", async () => {
        keygen("-t", "ed25519", "-N", "", "-f", at("stranger"));
        const files = machine(`IdentityFile ${at("stranger")}\nIdentityFile /absent`);
        await refuses(
            login({}, { files }),
            "Unauthorized",
            `${at("stranger")}, SHA256:`,
            "takes publickey",
            "no key file /absent",
        );
    });

    it("more keys than MaxAuthTries: the config's own key comes first", async () => {
        const key = acceptedKey("mine", "ed25519");
        const others = [1, 2, 3, 4].map((number) => at(`other${number}`));
        for (const other of others) keygen("-t", "ed25519", "-N", "", "-f", other);
        const files = machine(others.map((other) => `IdentityFile ${other}`).join("\n"));
        assert.match(await login({ identityFile: key }, { files }), /mine/);
    });

    it("what is no private key", async () => {
        const key = acceptedKey("half", "ed25519");
        await refuses(
            login({ identityFile: `${key}.pub` }),
            "Invalid",
            "config containerd:nodes.edge-1.identityFile",
            "public key",
        );
        await refuses(login({ identityFile: at("absent") }), "NotFound", `no key file ${at("absent")}`);
        await refuses(login({ identityFile: folder }), "Invalid", "is a folder");
        writeFileSync(at("junk"), "junk");
        await refuses(login({ identityFile: at("junk") }), "Invalid", "not a private key");
        writeFileSync(at("torn"), readFileSync(key, "utf8").replace(/\n.{30}/, "\n"));
        await refuses(login({ identityFile: at("torn") }), "Invalid", "damaged");
        await refuses(
            login({ privateKey: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----" }),
            "Invalid",
            "damaged",
        );
        await refuses(login({ privateKey: "" }), "Invalid", "is empty");
    });

    it("one without permission to read", async function () {
        if (process.getuid?.() === 0) skip(this, "root may read everything");
        const key = acceptedKey("secret", "ed25519");
        chmodSync(key, 0o000);
        await refuses(login({ identityFile: key }), "Invalid", "no permission");
    });

    it("a certificate is refused with a sentence", async () => {
        const key = acceptedKey("certified", "ed25519");
        keygen("-s", at("ca"), "-I", "test", "-n", userInfo().username, `${key}.pub`);
        const certificate = `${key}-cert.pub`;
        await refuses(login({ identityFile: key, certificate }), "Unsupported", certificate, "authorized_keys");
        // What only ssh_config says does not keep from what works.
        const files = machine(`CertificateFile ${certificate}\nIdentityFile ${key}`);
        assert.match(await login({}, { files }), /certified/);
        // One beside the key is what ssh would take: it is worth a word once the key alone was refused.
        writeFileSync(at("authorized_keys"), "");
        await refuses(login({ identityFile: key }), "Unauthorized", "tried: publickey", certificate);
    });
});

describe("login by an agent", function () {
    this.timeout(30_000);
    let agent: ChildProcess;
    let socket: string;
    const add = (...args: string[]) =>
        execFileSync("ssh-add", ["-q", ...args], { env: { ...process.env, SSH_AUTH_SOCK: socket }, stdio: "pipe" });

    beforeEach(async () => {
        socket = at("agent");
        agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: ["ignore", "pipe", "ignore"] });
        await once(agent.stdout!, "data");
    });

    afterEach(async () => {
        const ended = once(agent, "exit");
        agent.kill();
        await ended;
        rmSync(socket, { force: true });
        rmSync(at("home/.ssh/config"), { force: true });
    });

    for (const type of ["ed25519", "rsa", "ecdsa"]) {
        it(`with a key of type ${type}`, async () => {
            const key = acceptedKey(`agent-${type}`, type);
            add(key);
            rmSync(key);
            const files = machine("", { SSH_AUTH_SOCK: socket });
            assert.equal(await login({}, { files }), "publickey (1 of the agent of SSH_AUTH_SOCK)");
            assert.match(await login({ agent: socket }), /of the stack's config/);
            assert.match(await login({}, { files: machine(`IdentityAgent ${socket}`) }), /IdentityAgent of .*config:1/);
            await refuses(login({ agent: "none" }, { files }), "Unauthorized", "tried: none");
        });
    }

    it("with the key that a locked or absent file's public half names", async () => {
        const key = acceptedKey("agent-named", "ed25519");
        for (const number of [1, 2, 3, 4]) {
            keygen("-t", "ed25519", "-N", "", "-f", at(`agent-other${number}`));
            add(at(`agent-other${number}`));
        }
        add(key);
        keygen("-p", "-P", "", "-N", PASSPHRASE, "-f", key);
        const env = { SSH_AUTH_SOCK: socket };
        // By itself the agent would offer the four others first, and three are MaxAuthTries.
        await assert.rejects(login({}, { files: machine("", env) }));
        assert.match(
            await login({ identityFile: key }, { files: machine("", env) }),
            /agent-named, SHA256:.*by the agent/,
        );
        const config = `IdentityFile ${key}\nIdentitiesOnly yes`;
        assert.match(await login({}, { files: machine(config, env) }), /agent-named/);
        rmSync(key);
        assert.match(await login({}, { files: machine(config, env) }), /agent-named/);
        assert.match(await login({ identityFile: `${key}.pub` }, { files: machine("", env) }), /agent-named/);
    });

    it("IdentitiesOnly leaves out its other keys", async () => {
        const key = acceptedKey("agent-only", "ed25519");
        add(key);
        const files = machine("IdentitiesOnly yes", { SSH_AUTH_SOCK: socket });
        await refuses(login({}, { files }), "Unauthorized", "tried: none");
    });

    it("certificates in it are passed over", async () => {
        const key = acceptedKey("agent-certified", "ed25519");
        keygen("-s", at("ca"), "-I", "test", "-n", userInfo().username, `${key}.pub`);
        add(key);
        assert.match(await login({ agent: socket }), /publickey \(1 of the agent/);
    });

    it("that is locked, empty, or gone", async () => {
        const env = { SSH_AUTH_SOCK: socket };
        await refuses(login({ agent: socket }), "Unauthorized", "has no key", "ssh-add");
        await refuses(
            login({ agent: at("nobody") }),
            "Unauthorized",
            at("nobody"),
            "does not answer",
            "containerd:nodes.edge-1.agent",
        );
        await refuses(login({ agent: "SSH_AUTH_SOCK" }), "Unauthorized", "SSH_AUTH_SOCK", "not set");
        const gone = machine("", { SSH_AUTH_SOCK: at("nobody") });
        await refuses(login({}, { files: gone }), "Unauthorized", "SSH_AUTH_SOCK", "does not answer");
        // Not asked for by the config: another key does.
        const key = acceptedKey("agent-gone", "ed25519");
        assert.match(await login({}, { files: { ...machine(`IdentityFile ${key}`), env: gone.env } }), /agent-gone/);
        add(key);
        agent.kill("SIGSTOP");
        try {
            await refuses(login({}, { files: machine("", env) }), "Unauthorized", "does not answer within 5 s");
        } finally {
            agent.kill("SIGCONT");
        }
    });
});

describe("login by a password", () => {
    /** sshd asks PAM or /etc/shadow, which are the machine's own: so this is ssh2's server. */
    async function withServer(
        takes: ("password" | "keyboard-interactive" | "publickey" | "none")[],
        run: (place: Place, tried: string[]) => Promise<void>,
    ): Promise<void> {
        const tried: string[] = [];
        const server = new Server({ hostKeys: [readFileSync(at("host_ed25519"))] }, (connection) => {
            connection.on("error", () => undefined);
            connection.on("authentication", (context) => {
                tried.push(context.method);
                if (!takes.some((method) => method === context.method)) return context.reject(takes);
                if (context.method === "none") return context.accept();
                if (context.method === "password" && context.password === PASSPHRASE) return context.accept();
                if (context.method !== "keyboard-interactive") return context.reject(takes);
                context.prompt(
                    [
                        { prompt: "Password: ", echo: false },
                        { prompt: "Name: ", echo: true },
                    ],
                    (answers) =>
                        answers[0] === PASSPHRASE && answers[1] === "" ? context.accept() : context.reject(takes),
                );
            });
        });
        server.listen(0, "127.0.0.1");
        await once(server, "listening");
        try {
            await run({ port: (server.address() as AddressInfo).port }, tried);
        } finally {
            server.close();
        }
    }

    it("as password", () =>
        withServer(["password"], async (place) => {
            assert.equal(await login({ password: PASSPHRASE }, place), "password");
        }));

    it("as keyboard-interactive, where the server takes only that", () =>
        withServer(["keyboard-interactive"], async (place) => {
            assert.match(await login({ password: PASSPHRASE }, place), /^keyboard-interactive/);
        }));

    it("a wrong one, and after a key that the server does not want", () =>
        withServer(["password"], async (place, tried) => {
            const key = acceptedKey("for-password", "ed25519");
            await refuses(
                login({ identityFile: key, password: "no" }, place),
                "Unauthorized",
                "tried: publickey",
                "password",
                "takes password",
            );
            assert.deepEqual(tried, ["publickey", "password"]);
        }));

    it("is not sent where only keys are taken", () =>
        withServer(["publickey"], async (place, tried) => {
            const key = acceptedKey("for-keys", "ed25519");
            await refuses(login({ identityFile: key, password: PASSPHRASE }, place), "Unauthorized");
            assert.deepEqual(tried, ["publickey"]);
        }));

    it("none, where the server lets in without", () =>
        withServer(["none"], async (place) => {
            assert.equal(await login({}, place), "none");
        }));
});

describe("the host key of a real sshd", () => {
    it("is asked for by its known type", async () => {
        const key = acceptedKey("for-host", "ed25519");
        const rsa = readFileSync(at("host_rsa.pub"), "utf8");
        assert.match(await login({ identityFile: key }, { hostKey: rsa }), /for-host/);
        const print = spawnSync("ssh-keygen", ["-lf", at("host_rsa.pub")], { encoding: "utf8" }).stdout;
        assert.match(await login({ identityFile: key }, { hostKey: print }), /for-host/);
    });

    it("that is another is refused before anything is sent", async () => {
        const key = acceptedKey("for-other-host", "ed25519");
        const other = readFileSync(at("ca.pub"), "utf8");
        await refuses(login({ identityFile: key }, { hostKey: other }), "Unauthorized", "IS NOT THE PINNED ONE");
    });
});
