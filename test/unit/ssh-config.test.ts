/** ssh_config: each keyword that is obeyed, each that is not, and whatever bytes a file has. `ssh -G` has its own test. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { ContainerdError, type ErrorCode, hasCode } from "../../provider/errors";
import {
    hostNames,
    isKnownHost,
    parseJump,
    resolveJumps,
    resolveSshHost,
    type GivenHost,
    type SshHost,
} from "../../provider/transport/ssh/ssh-config";
import type { SshFiles } from "../../provider/transport/ssh/ssh-files";

/** A machine whose files are these. */
function machine(texts: Record<string, string>, env: Record<string, string> = {}): SshFiles {
    const read = (path: string) => (Object.hasOwn(texts, path) ? texts[path] : undefined);
    return {
        home: "/home/me",
        user: "me",
        uid: 1000,
        hostname: "laptop.example.org",
        env,
        userConfig: "/home/me/.ssh/config",
        systemConfig: "/etc/ssh/ssh_config",
        read,
        readConfig: read,
        list: (folder) =>
            Object.keys(texts)
                .filter((path) => path.startsWith(`${folder}/`) && !path.slice(folder.length + 1).includes("/"))
                .map((path) => path.slice(folder.length + 1)),
    };
}

const config = (text: string, env?: Record<string, string>) => machine({ "/home/me/.ssh/config": text }, env);

function resolve(text: string, name = "edge-1", given: GivenHost = {}, env?: Record<string, string>): SshHost {
    return resolveSshHost(name, config(text, env), given);
}

function refuses(code: ErrorCode, said: RegExp): (thrown: unknown) => boolean {
    return (thrown) => {
        assert.ok(hasCode(thrown, code), String(thrown));
        assert.match(thrown.message, said);
        return true;
    };
}

describe("ssh_config", () => {
    it("says nothing: ssh's defaults", () => {
        assert.deepEqual(resolve(""), {
            name: "edge-1",
            hostname: "edge-1",
            port: 22,
            user: "me",
            family: undefined,
            identityFiles: undefined,
            certificateFiles: [],
            identitiesOnly: false,
            identityAgent: { path: undefined, from: "SSH_AUTH_SOCK" },
            jumps: [],
            userKnownHostsFiles: ["/home/me/.ssh/known_hosts", "/home/me/.ssh/known_hosts2"],
            globalKnownHostsFiles: ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"],
            hostKeyAlias: undefined,
            connectTimeout: undefined,
            serverAliveInterval: 0,
            serverAliveCountMax: 3,
            notes: [],
        } satisfies SshHost);
    });

    const cases: [
        what: string,
        text: string,
        expected: Partial<SshHost>,
        name?: string,
        env?: Record<string, string>,
    ][] = [
        ["the first value wins", "Host edge-1\nPort 1\nHost *\nPort 2\nUser u", { port: 1, user: "u" }],
        ["keywords know no case", "hOsT edge-1\npORT 5", { port: 5 }],
        ["an equals sign", "Host=edge-1\nPort = 5\nUser=u", { port: 5, user: "u" }],
        ["tabs, CRLF, blanks", "\tHost\tedge-1\r\n   Port   5   \r\n", { port: 5 }],
        ["comments", "# a\nHost edge-1 # b\nPort 5 # c\n#Port 6", { port: 5 }],
        ["a # inside a word", "IdentityFile /keys/a#1", { identityFiles: ["/keys/a#1"] }],
        ["patterns", "Host web-* edge-?\nPort 5", { port: 5 }],
        ["a negated pattern", "Host edge-* !edge-1\nPort 5\nHost *\nPort 6", { port: 6 }],
        ["only a negated pattern", "Host !web-1\nPort 5", { port: 22 }],
        ["a quoted pattern", 'Host "edge-1"\nPort 5', { port: 5 }],
        ["HostName", "HostName %h.Example.org", { name: "edge-1", hostname: "edge-1.example.org" }],
        ["HostName, an address", "HostName 2001:DB8::1", { hostname: "2001:DB8::1" }],
        ["a name in capitals", "", { name: "Edge-1", hostname: "edge-1" }, "Edge-1"],
        [
            "IdentityFile, several, with tokens",
            'IdentityFile ~/.ssh/%n_%h_%p_%r_%u_%%\nIdentityFile "/my keys/%d"\nHostName h\nPort 5\nUser u',
            { identityFiles: ["/home/me/.ssh/edge-1_h_5_u_me_%", "/my keys//home/me"] },
        ],
        ["IdentityFile in single quotes", "IdentityFile '/my keys/a'", { identityFiles: ["/my keys/a"] }],
        [
            "IdentityFile with a variable",
            "IdentityFile ${KEYS}/a",
            { identityFiles: ["/k/a"] },
            "edge-1",
            { KEYS: "/k" },
        ],
        [
            "IdentityFile, local tokens",
            "IdentityFile /%i/%l/%L",
            { identityFiles: ["/1000/laptop.example.org/laptop"] },
        ],
        ["IdentityFile twice", "IdentityFile /a\nIdentityFile /b\nIdentityFile /a", { identityFiles: ["/a", "/b"] }],
        ["IdentityFile none", "IdentityFile none", { identityFiles: [] }],
        ["CertificateFile", "CertificateFile ~/a-cert.pub", { certificateFiles: ["/home/me/a-cert.pub"] }],
        ["IdentitiesOnly", "IdentitiesOnly yes", { identitiesOnly: true }],
        [
            "SSH_AUTH_SOCK",
            "",
            { identityAgent: { path: "/a", from: "SSH_AUTH_SOCK" } },
            "edge-1",
            { SSH_AUTH_SOCK: "/a" },
        ],
        [
            "IdentityAgent none",
            "IdentityAgent none",
            { identityAgent: { path: undefined, from: "IdentityAgent of /home/me/.ssh/config:1" } },
            "edge-1",
            { SSH_AUTH_SOCK: "/a" },
        ],
        ["IdentityAgent $V", "IdentityAgent $V", { identityAgent: { path: "/v", from: "V" } }, "edge-1", { V: "/v" }],
        [
            "IdentityAgent, a path",
            'IdentityAgent "~/my agent"',
            { identityAgent: { path: "/home/me/my agent", from: "IdentityAgent of /home/me/.ssh/config:1" } },
        ],
        [
            "ProxyJump",
            "ProxyJump a@b:22,c,ssh://d@[::1]:33",
            { jumps: [{ host: "b", user: "a", port: 22 }, { host: "c" }, { host: "::1", user: "d", port: 33 }] },
        ],
        ["ProxyJump none", "ProxyJump none\nProxyJump b", { jumps: [] }],
        ["ProxyJump before ProxyCommand", "ProxyJump b\nProxyCommand nc %h %p", { jumps: [{ host: "b" }] }],
        ["ProxyCommand none", "ProxyCommand none\nProxyJump b", { jumps: [] }],
        [
            "UserKnownHostsFile",
            'UserKnownHostsFile ~/a "/b c"\nUserKnownHostsFile /d',
            { userKnownHostsFiles: ["/home/me/a", "/b c"] },
        ],
        ["UserKnownHostsFile none", "UserKnownHostsFile none", { userKnownHostsFiles: [] }],
        ["GlobalKnownHostsFile", "GlobalKnownHostsFile /a", { globalKnownHostsFiles: ["/a"] }],
        ["HostKeyAlias", "HostKeyAlias a", { hostKeyAlias: "a" }],
        [
            "times",
            "ConnectTimeout 1m30s\nServerAliveInterval 15\nServerAliveCountMax 4",
            { connectTimeout: 90, serverAliveInterval: 15, serverAliveCountMax: 4 },
        ],
        ["ConnectTimeout none", "ConnectTimeout none", { connectTimeout: undefined }],
        ["AddressFamily", "AddressFamily inet6", { family: 6 }],
        ["Match all", "Host other\nPort 4\nMatch all\nPort 5", { port: 5 }],
        ["Match host, after HostName", "HostName h\nMatch host h\nPort 5", { port: 5 }],
        ["Match originalhost", "HostName h\nMatch originalhost edge-*\nPort 5", { port: 5 }],
        ["Match user", "User u\nMatch user x,u\nPort 5", { port: 5 }],
        ["Match localuser and more", "Match localuser me host edge-1\nPort 5", { port: 5 }],
        ["Match, negated", "Match !host edge-1\nPort 4\nMatch !user root\nPort 5", { port: 5 }],
        ["Match final", "Match final host h\nPort 5\nHost *\nHostName h", { port: 5 }],
        ["keywords of other releases", "Host *\nObscureKeystrokeTiming yes\nTag x", { port: 22 }],
    ];
    for (const [what, text, expected, name, env] of cases) {
        it(what, () => {
            const host = resolve(text, name, {}, env);
            const found = Object.fromEntries(Object.keys(expected).map((key) => [key, host[key as keyof SshHost]]));
            assert.deepEqual(found, expected);
        });
    }

    it("is overruled by what the stack's config says", () => {
        const text = "User u\nPort 5\nProxyJump a\nMatch user given\nHostName h";
        const host = resolve(text, "edge-1", { user: "given", port: 6, jump: "b,c" });
        assert.deepEqual([host.user, host.port, host.hostname], ["given", 6, "h"]);
        assert.deepEqual(host.jumps, [{ host: "b" }, { host: "c" }]);
        assert.deepEqual(resolve(text, "edge-1", { jump: "none" }).jumps, []);
    });

    it("is read before the machine's own", () => {
        const files = machine({ "/home/me/.ssh/config": "Port 5", "/etc/ssh/ssh_config": "Port 6\nUser u" });
        const { port, user } = resolveSshHost("edge-1", files);
        assert.deepEqual([port, user], [5, "u"]);
    });

    describe("notes what it does not obey", () => {
        for (const [what, text, said] of [
            ["StrictHostKeyChecking no", "StrictHostKeyChecking no", /:1: StrictHostKeyChecking no .*always checked/],
            ["StrictHostKeyChecking off", "StrictHostKeyChecking off", /always checked/],
            ["StrictHostKeyChecking accept-new", "StrictHostKeyChecking accept-new", /always checked/],
            ["Match exec", 'Match host edge-1 exec "true"\nPort 5', /:1: .*exec.*no command/],
            ["an unknown Match", "Match sessiontype x\nPort 5", /sessiontype/],
            ["CanonicalizeHostname", "CanonicalizeHostname yes", /not obeyed/],
        ] as const) {
            it(what, () => {
                const host = resolve(text);
                assert.equal(host.port, 22);
                assert.equal(host.notes.length, 1);
                assert.match(host.notes[0]!, said);
            });
        }

        it("but not what asks for more, nor what concerns other hosts", () => {
            assert.deepEqual(resolve("StrictHostKeyChecking ask").notes, []);
            assert.deepEqual(resolve('Match host web exec "true"\nPort 5').notes, []);
        });
    });

    describe("Include", () => {
        const files = machine({
            "/home/me/.ssh/config": "Include conf.d/*.conf\nHost edge-1\nInclude ~/only\nHost *\nUser last",
            "/home/me/.ssh/conf.d/a.conf": "Host web\nPort 5",
            "/home/me/.ssh/conf.d/b.conf": "Host edge-*\nPort 6",
            "/home/me/.ssh/conf.d/.c.conf": "Port 1",
            "/home/me/.ssh/conf.d/d.txt": "Port 2",
            "/home/me/only": "User only\nHost web\nHostName never",
        });

        it("takes a pattern, in order; a Host in a file ends with it", () => {
            const { port, user, hostname } = resolveSshHost("edge-1", files);
            assert.deepEqual([port, user, hostname], [6, "only", "edge-1"]);
        });

        it("counts only where its Host does", () => {
            const { port, user, hostname } = resolveSshHost("web", files);
            assert.deepEqual([port, user, hostname], [5, "last", "web"]);
        });

        it("of itself is an error", () => {
            assert.throws(
                () => resolve("Include config"),
                refuses("Invalid", /config:1: Include nests deeper than 16/),
            );
        });

        it("of nothing is nothing", () => assert.equal(resolve("Include none/*\nInclude /none\nPort 5").port, 5));
    });

    describe("which hosts it names", () => {
        const files = config(
            "Host edge-* !edge-9\nHost web\nHost *\nPort 5\nMatch originalhost sip\nMatch host *\nHost * !nobody\nHost ?*",
        );
        for (const [name, known] of Object.entries({
            "edge-1": true,
            "edge-9": false,
            web: true,
            sip: true,
            other: false,
        })) {
            it(`${name}: ${known}`, () => assert.equal(isKnownHost(name, files), known));
        }

        it("spelled out", () => assert.deepEqual(hostNames(files), ["web"]));
    });

    describe("ProxyJump", () => {
        const files = config(
            "Host a\nProxyJump z\nUser ua\nHost b\nProxyJump never\nPort 5\nHost target\nProxyJump a,me@b\nHost x\nProxyJump y\nHost y\nProxyJump x",
        );

        it("is a chain: the first by its own way, the others through the one before", () => {
            const chain = resolveJumps(resolveSshHost("target", files), files);
            assert.deepEqual(
                chain.map(({ name, user, port }) => `${user}@${name}:${port}`),
                ["me@z:22", "ua@a:22", "me@b:5"],
            );
        });

        it("with %h in it, which never comes back to a name, is an error", () => {
            for (const jump of ["x%h", "%h%h", "gw.%h"]) {
                const all = config(`Host *\nProxyJump ${jump}`);
                assert.throws(
                    () => resolveJumps(resolveSshHost("x", all), all),
                    refuses("Invalid", /ProxyJump of me@x:22 goes over more than 16 machines/),
                );
            }
        });

        it("in a circle is an error", () => {
            assert.throws(
                () => resolveJumps(resolveSshHost("x", files), files),
                refuses("Invalid", /circle: me@x:22 →/),
            );
        });

        for (const [text, jump] of [
            ["a", { host: "a" }],
            ["u@a", { host: "a", user: "u" }],
            ["u@x@a:1", { host: "a", user: "u@x", port: 1 }],
            ["ssh://u@a:1/", { host: "a", user: "u", port: 1 }],
            ["[::1]", { host: "::1" }],
        ] as const) {
            it(text, () => assert.deepEqual(parseJump(text, "here"), jump));
        }

        for (const text of ["", "a:", "a:0", "a:65536", "a:b", "@a", "::1", "[::1", "-oProxyCommand=x", "a b"]) {
            it(`${JSON.stringify(text)} is refused`, () =>
                assert.throws(() => parseJump(text, "here"), refuses("Invalid", /^here: /)));
        }
    });

    describe("refuses with file and line", () => {
        for (const [text, code, said] of [
            ["\nPort x", "Invalid", /^\/home\/me\/.ssh\/config:2: port is x/],
            ["Port 0", "Invalid", /from 1 to 65535/],
            ["Port", "Invalid", /:1: Port has no value/],
            ["Port\nUser u", "Invalid", /:1: Port has no value/],
            ["Port 1 2", "Invalid", /takes one value/],
            ["Host", "Invalid", /:1: /],
            ['User "u', "Invalid", /quote/],
            ["HostName %x", "Invalid", /%x is not known/],
            ["HostName -x", "Invalid", /:1: "-x" is not a host's name/],
            ["HostName a;b", "Invalid", /not a host's name/],
            ["IdentityFile %C", "Invalid", /%C/],
            ["IdentityFile ${NOT_SET}", "Invalid", /NOT_SET is not set/],
            ["IdentitiesOnly maybe", "Invalid", /yes or no/],
            ["ConnectTimeout soon", "Invalid", /seconds/],
            ["ServerAliveInterval 99999999999w", "Invalid", /seconds/],
            ["AddressFamily ipx", "Invalid", /inet/],
            ["Match host", "Invalid", /:1: Match host has no value/],
            ["ProxyJump a b", "Invalid", /takes one value/],
            ["ProxyJump a,", "Invalid", /jump host ""/],
            ["ProxyCommand nc %h %p", "Unsupported", /:1: .*ProxyJump/],
            ["Include [ab].conf", "Unsupported", /\* and \?/],
        ] as const) {
            it(JSON.stringify(text), () => assert.throws(() => resolve(text), refuses(code, said)));
        }

        it("a name that is none", () => {
            for (const name of ["", "-v", "a b", "a/b", "a\nb", "$(x)"]) {
                assert.throws(() => resolve("", name), refuses("Invalid", /not a host's name/));
            }
        });
    });

    describe("any bytes", () => {
        const words = fc.constantFrom(
            ..."Host Match Include HostName Port User IdentityFile ProxyJump ProxyCommand UserKnownHostsFile".split(
                " ",
            ),
            ..."StrictHostKeyChecking ConnectTimeout IdentityAgent all host user exec final none * !* edge-1 %h".split(
                " ",
            ),
            ..."~ ${HOME} $X a@b:1 [::1] 22 yes 1m \\".split(" "),
            ...[" ", "=", "\t", "\n", "\r\n", "#", '"', "'", ",", "/home/me/.ssh/config", "\u0000"],
        );
        const text = fc
            .array(
                fc.oneof(
                    { weight: 3, arbitrary: words },
                    { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 8 }) },
                ),
                {
                    maxLength: 40,
                },
            )
            .map((parts) => parts.join(""));

        it("are understood, or refused by an error of ours", () => {
            fc.assert(
                fc.property(text, fc.oneof(fc.constant("edge-1"), fc.string({ unit: "binary" })), (bytes, name) => {
                    const files = config(bytes, { HOME: "/home/me" });
                    for (const act of [
                        () => resolveJumps(resolveSshHost(name, files), files),
                        () => isKnownHost(name, files),
                        () => hostNames(files),
                    ]) {
                        try {
                            act();
                        } catch (thrown) {
                            assert.ok(thrown instanceof ContainerdError, String(thrown));
                        }
                    }
                }),
                { numRuns: 1_000 },
            );
        });

        it("take no exponential time", function () {
            this.timeout(20_000);
            resolve(`Host ${"*a".repeat(2_000)}*b\nPort 5`, "a".repeat(250));
            resolve(`${"Host *\nPort 5\n".repeat(20_000)}`);
            resolve(`User "${"a ".repeat(100_000)}"`);
            resolve(`IdentityFile ${"'".repeat(100_000)}`.replace(/'$/, ""));
            resolve(`IdentityFile ${"x#".repeat(100_000)}`);
            resolve(`Host ${"x ".repeat(100_000)}\nPort 5`);
            assert.throws(() => resolve(`ConnectTimeout ${"1".repeat(100_000)}x`), refuses("Invalid", /seconds/));
            assert.throws(() => resolve(`ProxyJump ${"@".repeat(100_000)}`), refuses("Invalid", /jump host/));
            assert.throws(() => resolve(`ProxyJump ${"a,".repeat(10_000)}`), refuses("Invalid", /jump host/));
        });

        it("of an Include that branches end soon", () => {
            const twice = "Include config\n".repeat(2);
            assert.throws(() => resolve(twice), refuses("Invalid", /deeper/));
        });
    });
});
