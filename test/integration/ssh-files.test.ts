/** ssh_config, known_hosts and keys against OpenSSH itself: `ssh -G`, `ssh-keygen`, and a real sshd on a port of loopback. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { hostKeyPolicy } from "../../provider/transport/ssh/host-key";
import { findKnownHost, fingerprint, knownHostName } from "../../provider/transport/ssh/known-hosts";
import { parsePinnedKey } from "../../provider/transport/ssh/pinned-key";
import { resolveSshHost } from "../../provider/transport/ssh/ssh-config";
import { localSshFiles, type SshFiles } from "../../provider/transport/ssh/ssh-files";
import { skip } from "../helpers/skip";

let folder: string;

before(function () {
    for (const tool of ["ssh", "ssh-keygen"]) {
        if (spawnSync(tool, ["-V"]).error) skip(this, `${tool} is not installed`);
    }
    folder = mkdtempSync(join(tmpdir(), "ssh-files-"));
});

after(() => rmSync(folder, { recursive: true, force: true }));

function keygen(...args: string[]): string {
    return execFileSync("ssh-keygen", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], cwd: folder });
}

/** The key in a `.pub` file. */
function publicKey(path: string): Buffer {
    return Buffer.from(readFileSync(path, "utf8").split(" ")[1]!, "base64");
}

describe("ssh_config, compared with ssh -G", () => {
    const name = fc.constantFrom("edge-1", "edge-2", "web", "WEB", "10.0.0.1");
    const pattern = fc.constantFrom(
        "edge-1",
        "edge-?",
        "edge-*",
        "*",
        "web",
        "!edge-2",
        "w*b",
        "10.*",
        "*.example.org",
        "?*",
    );
    const list = () => fc.array(pattern, { minLength: 1, maxLength: 3 });
    const setting = fc.oneof(
        fc.constantFrom("a", "b.example.org", "%h.Example.org", "10.0.0.9", "web").map((value) => `HostName ${value}`),
        fc.integer({ min: 1, max: 65_535 }).map((port) => `Port ${port}`),
        fc.constantFrom("root", "deploy", '"deploy"', "a#b").map((user) => `User ${user}`),
        fc.constantFrom("/k/a", "/k/b", '"/k k/c"', "/k/d#1", "'/k k/e'").map((path) => `IdentityFile ${path}`),
        fc.constantFrom("/k/a-cert.pub", "/k/b-cert.pub").map((path) => `CertificateFile ${path}`),
        fc.constantFrom("yes", "no").map((value) => `IdentitiesOnly ${value}`),
        fc.constantFrom("j", "a@j", "a@j:5", "j,a@[::1]:6", "none").map((jump) => `ProxyJump ${jump}`),
        fc
            .constantFrom("/h/%n-%h-%p-%r", "/h/a /h/b", '"/h h/c"', "/h/%u-%i-%%")
            .map((path) => `UserKnownHostsFile ${path}`),
        fc.constantFrom("/g/a", "/g/a /g/b").map((path) => `GlobalKnownHostsFile = ${path}`),
        fc.constantFrom("alias", "edge-2").map((alias) => `HostKeyAlias ${alias}`),
        fc.constantFrom("10", "1m", "1m30s", "2h").map((time) => `ConnectTimeout ${time}`),
        fc.constantFrom("0", "15", "1m").map((time) => `ServerAliveInterval=${time}`),
        fc.constantFrom("3", "5").map((count) => `ServerAliveCountMax\t${count}`),
        fc.constantFrom("any", "inet", "inet6").map((family) => `AddressFamily ${family}`),
        fc.constantFrom("/a/%n-%k-%r", "/a/b").map((path) => `IdentityAgent ${path}`),
        fc.constantFrom("ProxyCommand none", "StrictHostKeyChecking accept-new", "Compression yes", "# a comment", ""),
    );
    const criterion = fc.oneof(
        fc
            .tuple(fc.constantFrom("", "!"), fc.constantFrom("host", "originalhost"), list())
            .map(([not, kind, hosts]) => `${not}${kind} ${hosts.join(",")}`),
        fc.constantFrom("user root", "user deploy", "!user root", "localuser nobody"),
    );
    const finals = fc.constantFrom("final", "!final", "canonical");
    /** Without `final` in what is included: ssh hears it also where the Include does not apply, which is not copied. */
    const texts = (final: boolean) => {
        const criteria = fc.array(final ? fc.oneof({ weight: 3, arbitrary: criterion }, finals) : criterion, {
            minLength: 1,
            maxLength: 2,
        });
        const header = fc.oneof(
            { weight: 3, arbitrary: list().map((hosts) => `Host ${hosts.join(" ")}`) },
            { weight: 2, arbitrary: criteria.map((all) => `Match ${all.join(" ")}`) },
            fc.constant("Match all"),
        );
        const block = fc.tuple(header, fc.array(setting, { maxLength: 4 })).map((parts) => parts.flat().join("\n  "));
        const blocks = fc.array(block, { maxLength: 5 });
        return fc.tuple(fc.array(setting, { maxLength: 2 }), blocks).map((parts) => parts.flat().join("\n"));
    };
    const under = fc.constantFrom("", "Match all", "Host edge-1");

    /** What `ssh -G` prints, by keyword. */
    function asked(config: string, host: string): Map<string, string[]> {
        const said = spawnSync("ssh", ["-G", "-F", config, host], { encoding: "utf8" });
        assert.equal(said.status, 0, said.stderr);
        const values = new Map<string, string[]>();
        for (const line of said.stdout.split("\n")) {
            const [keyword, value] = [line.split(" ", 1)[0]!, line.slice(line.indexOf(" ") + 1)];
            values.set(keyword, [...(values.get(keyword) ?? []), value]);
        }
        return values;
    }

    function ours(config: string, host: string) {
        const files: SshFiles = { ...localSshFiles(), userConfig: config, systemConfig: join(folder, "none") };
        return resolveSshHost(host, files);
    }

    function compare(config: string, host: string): void {
        const values = asked(config, host);
        const one = (keyword: string) => values.get(keyword)?.[0];
        const seconds = (value: string | undefined) =>
            value === "none" || value === undefined ? undefined : Number(value);
        const found = ours(config, host);
        const jumps = one("proxyjump");
        assert.deepEqual(
            {
                hostname: found.hostname,
                port: found.port,
                user: found.user,
                family: found.family ?? "any",
                identityFiles: found.identityFiles,
                certificateFiles: found.certificateFiles,
                identitiesOnly: found.identitiesOnly,
                agent: found.identityAgent.from === "SSH_AUTH_SOCK" ? undefined : found.identityAgent.path,
                jumps: found.jumps
                    .map(({ host, user, port }) => {
                        const address = host.includes(":") ? `[${host}]` : host;
                        return `${user === undefined ? "" : `${user}@`}${address}${port === undefined ? "" : `:${port}`}`;
                    })
                    .join(","),
                user_known: found.userKnownHostsFiles.join(" "),
                global_known: found.globalKnownHostsFiles.join(" "),
                alias: found.hostKeyAlias?.toLowerCase(),
                connectTimeout: found.connectTimeout,
                serverAliveInterval: found.serverAliveInterval,
                serverAliveCountMax: found.serverAliveCountMax,
            },
            {
                hostname: one("hostname"),
                port: Number(one("port")),
                user: one("user"),
                family: { inet: 4, inet6: 6, any: "any" }[one("addressfamily")!],
                // Without one, ssh prints its usual ones.
                identityFiles: one("identityfile")?.startsWith("~") ? undefined : values.get("identityfile"),
                certificateFiles: values.get("certificatefile") ?? [],
                identitiesOnly: one("identitiesonly") === "yes",
                agent: one("identityagent"),
                jumps: jumps === undefined || jumps === "none" ? "" : jumps,
                user_known: one("userknownhostsfile"),
                global_known: one("globalknownhostsfile"),
                alias: one("hostkeyalias"),
                connectTimeout: seconds(one("connecttimeout")),
                serverAliveInterval: Number(one("serveraliveinterval")),
                serverAliveCountMax: Number(one("serveralivecountmax")),
            },
        );
    }

    it("comes to the same for generated files", function () {
        this.timeout(120_000);
        const config = join(folder, "config");
        const included = join(folder, "included");
        fc.assert(
            fc.property(texts(true), texts(false), name, under, (outer, inner, host, section) => {
                writeFileSync(included, inner, { mode: 0o600 });
                const include = section && `${section}\nInclude ${join(folder, "inclu*")}\nPort 7\n`;
                writeFileSync(config, `${outer}\n${include}`, { mode: 0o600 });
                compare(config, host);
            }),
            { numRuns: 400 },
        );
    });

    it("refuses a file that others can write, as ssh does", () => {
        const config = join(folder, "loose");
        writeFileSync(config, "Port 5\n");
        execFileSync("chmod", ["666", config]);
        assert.throws(() => ours(config, "edge-1"), /written by others/);
    });
});

describe("known_hosts, compared with ssh-keygen", () => {
    const types = ["ed25519", "ecdsa", "rsa"] as const;
    const names = ["edge-1", "[edge-1]:2222", "192.0.2.1", "2001:db8::1", "web.example.org"];

    function check(file: string, name: string, key: string): string {
        const [, bracketed, port] = /^\[(.+)\]:(\d+)$/.exec(name) ?? [];
        const host = {
            hostname: bracketed ?? name,
            port: Number(port ?? 22),
            hostKeyAlias: undefined,
            userKnownHostsFiles: [file],
            globalKnownHostsFiles: [],
        };
        return hostKeyPolicy(host, localSshFiles()).verify(publicKey(key)).kind;
    }

    before(function () {
        this.timeout(60_000);
        for (const type of types) keygen("-q", "-t", type, "-N", "", "-f", join(folder, type));
    });

    it("a fingerprint is the one of ssh-keygen -lf, and its whole line can be pinned", () => {
        for (const type of types) {
            const line = keygen("-lf", join(folder, `${type}.pub`)).trim();
            assert.equal(line.split(" ")[1], fingerprint(publicKey(join(folder, `${type}.pub`))));
            const { type: found } = parsePinnedKey(line);
            assert.equal(found, readFileSync(join(folder, `${type}.pub`), "utf8").split(" ")[0]);
        }
    });

    it("finds the lines that ssh-keygen -F finds, plain and hashed by -H", () => {
        const file = join(folder, "known");
        const pub = (type: string) => readFileSync(join(folder, `${type}.pub`), "utf8").trim();
        const lines = [
            "# a comment",
            `edge-1,192.0.2.1 ${pub("ed25519")}`,
            `[edge-1]:2222 ${pub("rsa")}`,
            `2001:db8::1 ${pub("ecdsa")}`,
            `*.example.org,!web.* ${pub("rsa")}`,
            `web.* ${pub("ed25519")}`,
            `@revoked edge-1 ${pub("ecdsa")}`,
            `@cert-authority *.example.org ${pub("ed25519")}`,
        ];
        writeFileSync(file, `${lines.join("\n")}\n`);
        for (const hash of [false, true]) {
            if (hash) keygen("-q", "-H", "-f", file);
            const text = readFileSync(file, "utf8");
            for (const name of [...names, "nobody", ...(hash ? [] : ["EDGE-1"])]) {
                const said = spawnSync("ssh-keygen", ["-F", name, "-f", file], { encoding: "utf8" }).stdout;
                const theirs = [...said.matchAll(/found: line (\d+)/g)].map(([, line]) => Number(line));
                const [, bracketed, port] = /^\[(.+)\]:(\d+)$/.exec(name) ?? [];
                const asked = knownHostName(bracketed ?? name, Number(port ?? 22));
                const found = findKnownHost([{ path: file, text }], asked).map(({ line }) => line);
                assert.deepEqual(found, theirs, `${name}, ${hash ? "hashed" : "plain"}`);
            }
            assert.equal(check(file, "edge-1", join(folder, "ed25519.pub")), "ok");
            assert.equal(check(file, "edge-1", join(folder, "rsa.pub")), "changed");
            assert.equal(check(file, "edge-1", join(folder, "ecdsa.pub")), "revoked");
            assert.equal(check(file, "[edge-1]:2222", join(folder, "rsa.pub")), "ok");
            assert.equal(check(file, "nobody", join(folder, "rsa.pub")), "unknown");
        }
    });

    it("the line that it says to add is found by ssh-keygen", () => {
        const file = join(folder, "added");
        for (const name of names) {
            const [, bracketed, port] = /^\[(.+)\]:(\d+)$/.exec(name) ?? [];
            const host = {
                hostname: bracketed ?? name,
                port: Number(port ?? 22),
                hostKeyAlias: undefined,
                userKnownHostsFiles: [file],
                globalKnownHostsFiles: [],
            };
            const verdict = hostKeyPolicy(host, { read: () => undefined }).verify(publicKey(join(folder, "rsa.pub")));
            assert.ok(verdict.kind === "unknown");
            writeFileSync(file, `${verdict.line}\n`);
            assert.equal(spawnSync("ssh-keygen", ["-F", name, "-f", file]).status, 0, name);
        }
    });
});
