/** What a doctor finds, decided from what was learned of a node: a table of each thing that can be wrong. */
import assert from "node:assert/strict";
import { diagnose } from "../../provider/cli/diagnosis";
import { notesOn } from "../../provider/cli/doctor";
import { type Examination, sshCommand } from "../../provider/cli/examination";
import type { NodeFacts } from "../../provider/containerd/facts";
import { ContainerdError } from "../../provider/errors";
import type { Survey } from "../../provider/node/survey";

const GIB = 2 ** 30;
const facts: NodeFacts = {
    version: "1.7.24",
    major: 1,
    minor: 7,
    plugins: [],
    snapshotters: ["overlayfs"],
    restartMonitor: true,
    platform: "linux/amd64",
};
const survey: Survey = {
    user: "root",
    isRoot: true,
    hasSudo: false,
    kernel: "6.12.0",
    architecture: "x86_64",
    cgroupVersion: 2,
    os: { id: "debian", version: "13", name: "Debian GNU/Linux 13 (trixie)" },
    containerdVersion: "1.7.24",
    runcVersion: "1.1.15",
    containerdConfig: "/etc/containerd/config.toml",
    containerdRoot: "/var/lib/containerd",
    restartInterval: 1_000,
    socket: "open",
    boot: "enabled",
    active: "active",
    cni: { folder: "/usr/lib/cni", plugins: ["bridge", "host-local", "loopback", "static"] },
    tools: {
        ip: "/usr/sbin/ip",
        ss: "/usr/bin/ss",
        nft: "/usr/sbin/nft",
        conntrack: "/usr/sbin/conntrack",
        unshare: "/usr/bin/unshare",
        nsenter: "/usr/bin/nsenter",
        timeout: "/usr/bin/timeout",
        flock: "/usr/bin/flock",
        awk: "/usr/bin/awk",
    },
    sshd: {
        allowStreamLocalForwarding: "yes",
        allowTcpForwarding: "yes",
        disableForwarding: false,
        maxSessions: 10,
        maxStartups: "10:30:100",
    },
    clockSkew: 0,
    disks: { "/var/lib/containerd": { size: 100 * GIB, free: 50 * GIB }, "/run": { size: GIB, free: GIB } },
    memory: 8 * GIB,
    cpus: 4,
};
const silent: Examination = {
    node: "edge-1",
    ssh: "ssh root@192.0.2.7",
    socket: "/run/containerd/containerd.sock",
};
const well: Examination = { ...silent, survey, facts, belongings: [] };
const sshd = (change: Partial<NonNullable<Survey["sshd"]>>): Partial<Survey> => ({
    sshd: { ...survey.sshd!, ...change },
});
const unreachable = new ContainerdError("Unreachable", "root@192.0.2.7:22 did not answer within 15 s", {
    node: "edge-1",
});
const foreignSystem = { id: "fedora", version: "41", name: "Fedora" };

/** All that is not well, as `check status text -> where: command`. */
function complaints(seen: Examination): string[] {
    return diagnose(seen)
        .filter(({ status }) => status !== "ok")
        .map(
            ({ check, status, text, remedy }) =>
                `${check} ${status} ${text}${remedy ? ` -> ${remedy.where}: ${remedy.command}` : ""}`,
        );
}

describe("doctor's diagnosis", () => {
    it("finds nothing to complain about on a node that is well", () => {
        assert.deepEqual(complaints(well), []);
        assert.deepEqual(
            diagnose(well).map(({ check }) => check),
            [
                "connection",
                "containerd",
                "restart monitor",
                "boot",
                "runc",
                "network",
                "conntrack",
                "CNI plugins",
                "sshd",
                "clock",
                "disk",
                "disk",
                "machine",
            ],
        );
    });

    const tools = (...absent: (keyof Survey["tools"])[]): Partial<Survey> => ({
        tools: Object.fromEntries(Object.entries(survey.tools).filter(([tool]) => !absent.some((one) => one === tool))),
    });
    const cases: [what: string, change: Partial<Survey>, expected: RegExp[]][] = [
        [
            "a slow monitor",
            { restartInterval: 10_000 },
            [/^restart monitor warning looks every 10s.*-> here: npx pulumi-containerd bootstrap edge-1 --run$/],
        ],
        [
            "a slow monitor that we may not mend",
            { restartInterval: 10_000, isRoot: false },
            [/-> here: npx pulumi-containerd bootstrap edge-1$/],
        ],
        [
            "a slow monitor elsewhere",
            { restartInterval: 10_000, os: foreignSystem },
            [/\[plugins\."io\.containerd\.internal\.v1\.restart"\].*-> node: systemctl restart containerd$/],
        ],
        [
            "containerd not started at boot",
            { boot: "disabled" },
            [/^boot problem .*-> node: systemctl enable containerd$/],
        ],
        ["a masked unit", { boot: "masked" }, [/^boot problem .*unmask/]],
        ["no unit", { boot: "not-found" }, [/^boot warning /]],
        ["no runc", { runcVersion: undefined }, [/^runc problem .*-> node: apt-get install -y runc$/]],
        ["no runc elsewhere", { runcVersion: undefined, os: foreignSystem }, [/^runc problem [^>]*$/]],
        ["no CNI plugins, which hardly anybody needs", { cni: undefined }, []],
        ["no nft", tools("nft"), [/^network warning lacks nft: containers with a network other.*install -y nftables$/]],
        [
            "little of what networks need",
            tools("ip", "unshare", "nsenter", "awk"),
            [/^network warning lacks ip, unshare, nsenter, awk: .*install -y iproute2 util-linux mawk$/],
        ],
        ["no ss", tools("ss"), [/^ports warning .*install -y iproute2$/]],
        ["no conntrack", tools("conntrack"), [/^conntrack warning .*install -y conntrack$/]],
        ["no timeout", tools("timeout"), [/^tools problem timeout .*install -y coreutils$/]],
        ["a clock that drifts", { clockSkew: -30 }, [/^clock warning is 30 s behind/]],
        ["a clock that is wrong", { clockSkew: 4_000 }, [/^clock problem is 4000 s ahead of/]],
        [
            "little room",
            { disks: { "/var/lib/containerd": { size: 100 * GIB, free: GIB } } },
            [/^disk warning \/var\/lib\/containerd: 1GB of 100GB free/],
        ],
        ["no room", { disks: { "/run": { size: GIB, free: 0 } } }, [/^disk problem \/run: 0B of 1GB free/]],
        [
            "no forwarding to sockets",
            sshd({ allowStreamLocalForwarding: "no" }),
            [/^sshd problem AllowStreamLocalForwarding no: .*bootstrap edge-1 --run$/],
        ],
        [
            "the other forwarding alone",
            sshd({ allowStreamLocalForwarding: "remote" }),
            [/^sshd problem AllowStreamLocalForwarding remote/],
        ],
        [
            "no forwarding elsewhere",
            { ...sshd({ disableForwarding: true }), os: foreignSystem },
            [/^sshd problem DisableForwarding yes.*-> node: printf 'DisableForwarding no/],
        ],
        ["no forwarding to ports", sshd({ allowTcpForwarding: "no" }), [/^sshd warning AllowTcpForwarding no/]],
        ["no sessions", sshd({ maxSessions: 0 }), [/^sshd warning MaxSessions 0/]],
        [
            "what is not known",
            { boot: undefined, restartInterval: undefined, sshd: undefined, clockSkew: undefined, disks: {} },
            [],
        ],
    ];
    for (const [what, change, expected] of cases) {
        it(`finds ${what}`, () => {
            const found = complaints({ ...well, survey: { ...survey, ...change } });
            assert.equal(found.length, expected.length, found.join("\n"));
            for (const [index, pattern] of expected.entries()) assert.match(found[index] ?? "", pattern);
        });
    }

    it("finds a monitor that is not loaded, and a containerd that is too old", () => {
        assert.match(
            complaints({ ...well, facts: { ...facts, restartMonitor: false } })[0] ?? "",
            /^restart monitor problem is not loaded/,
        );
        assert.match(
            complaints({ ...well, facts: { ...facts, version: "1.5.9", minor: 5 } })[0] ?? "",
            /^containerd problem 1\.5\.9 is too old/,
        );
    });

    it("misses perl where containerd 1.6 alone would use it", () => {
        const old = { ...facts, version: "1.6.20~ds1", minor: 6 };
        assert.deepEqual(complaints({ ...well, facts: old }), [
            'tools warning perl not found on PATH: restart: "on-failure" needs it on containerd 1.6.20~ds1 -> node: apt-get install -y perl-base',
        ]);
        const withPerl = { ...survey, tools: { ...survey.tools, perl: "/usr/bin/perl" } };
        assert.deepEqual(complaints({ ...well, facts: old, survey: withPerl }), []);
    });

    it("says why nothing can be learned, and how to look closer", () => {
        const seen: Examination = {
            node: "edge-1",
            ssh: "ssh -p 2222 root@192.0.2.7",
            socket: "/s",
            surveyError: unreachable,
            containerdError: unreachable,
        };
        assert.deepEqual(complaints(seen), [
            "connection problem root@192.0.2.7:22 did not answer within 15 s -> here: ssh -v -p 2222 root@192.0.2.7",
        ]);
    });

    it("does not send people to `ssh` with a host key that is not believed", () => {
        const changed = new ContainerdError("Unauthorized", "THE HOST KEY OF a HAS CHANGED", { node: "edge-1" });
        assert.deepEqual(complaints({ node: "a", ssh: "ssh a", socket: "/s", surveyError: changed }), [
            "connection problem THE HOST KEY OF a HAS CHANGED",
        ]);
        const first = new ContainerdError(
            "Unauthorized",
            "the host key of a is not known. Add by\nmkdir -p -m 700 /k && printf '%s\\n' 'a ssh-ed25519 AA' >> /k\nor pin it",
        );
        assert.match(
            complaints({ node: "a", ssh: "ssh a", socket: "/s", surveyError: first })[0] ?? "",
            /-> here: mkdir -p -m 700 \/k && printf '%s\\n' 'a ssh-ed25519 AA' >> \/k # only after/,
        );
    });

    it("says what is wrong with a node's settings", () => {
        const unknown = new ContainerdError("NotFound", "no node edge-9", { node: "edge-9", property: "node" });
        assert.deepEqual(complaints({ node: "edge-9", socket: "", settingsError: unknown }), [
            "connection problem no node edge-9 -> here: pulumi config set --path containerd:nodes.edge-9.host HOST",
        ]);
    });

    for (const [what, change, expected] of [
        [
            "not installed",
            { containerdVersion: undefined },
            /is not installed.*-> node: apt-get install -y containerd && systemctl enable --now containerd$/,
        ],
        [
            "not running, without a systemd that says so",
            { boot: undefined, active: undefined },
            /-> node: systemctl start containerd \|\| service containerd start$/,
        ],
        ["not running", { active: "inactive" }, /-> node: systemctl enable --now containerd$/],
        ["running and silent", {}, /-> node: ctr -a \/run\/containerd\/containerd\.sock version; journalctl/],
        ["not ours to open", { socket: "denied" }, /^containerd problem may not open[^>]*$/],
    ] as [string, Partial<Survey>, RegExp][]) {
        it(`finds a containerd that is ${what}`, () => {
            const containerdError = new ContainerdError("Unreachable", "may not open");
            const found = complaints({ ...silent, survey: { ...survey, ...change }, containerdError });
            assert.equal(found.length, 1, found.join("\n"));
            assert.match(found[0] ?? "", expected);
        });
    }

    it("says in words what a call failed with", () => {
        const failure = (reason: string) => new ContainerdError("Unreachable", reason, { node: "edge-1" });
        const containerdError = failure(
            "version.version: nobody listens on containerd's socket /s: is containerd running?",
        );
        const belongingsError = failure("images.list docker.io/a: containerd did not answer within 30 s");
        assert.match(
            complaints({ ...silent, survey, containerdError })[0] ?? "",
            /^containerd problem nobody listens on containerd's socket/,
        );
        assert.match(
            complaints({ ...silent, surveyError: containerdError })[0] ?? "",
            /^connection problem nobody listens/,
        );
        assert.deepEqual(complaints({ ...well, belongingsError }), [
            "ours warning what of ours is there cannot be listed: containerd did not answer within 30 s",
        ]);
    });

    it("tells what of ssh_config is not obeyed", () => {
        assert.deepEqual(complaints({ ...well, notes: ["~/.ssh/config:2: RemoteCommand top is not obeyed"] }), [
            "ssh_config warning ~/.ssh/config:2: RemoteCommand top is not obeyed",
        ]);
    });

    it("goes on without scripts where containerd answers", () => {
        const surveyError = new ContainerdError("Unsupported", "sshd forbids commands");
        const rest: Examination = { ...silent, facts };
        const found = complaints({ ...rest, surveyError });
        assert.deepEqual(found, [
            "commands warning the node runs no script for us, so its packages, disks and settings are not known: sshd forbids commands",
        ]);
        assert.ok(
            diagnose({ ...rest, surveyError }).some(({ check, status }) => check === "containerd" && status === "ok"),
        );
    });

    it("judges a node with `dial` by what dial needs", () => {
        const dial = "sudo -n socat - UNIX-CONNECT:/run/containerd/containerd.sock";
        const closed = { ...survey, ...sshd({ allowStreamLocalForwarding: "no" }) };
        assert.deepEqual(complaints({ ...well, dial, survey: closed }), [
            "dial problem socat, which `dial` calls, is not found on PATH -> node: apt-get install -y socat",
        ]);
        const withSocat = { ...closed, tools: { ...survey.tools, socat: "/usr/bin/socat" } };
        assert.deepEqual(complaints({ ...well, dial, survey: withSocat }), []);
    });

    it("says why it examined this machine, and which nodes it cannot know", () => {
        const cwd = "/srv/web";
        const none = { named: [], configured: [], inProject: true, cwd, connected: [] };
        assert.deepEqual(notesOn({ ...none, configured: ["a"] }), []);
        const how = "doctor knows them once they are in containerd:nodes too";
        const nobody = "the stack config containerd:nodes has no node, so this machine was examined";
        assert.deepEqual(notesOn(none), [`${nobody}. Nodes with a \`connection\` in the program: ${how}`]);
        assert.deepEqual(notesOn({ ...none, inProject: false }), [
            "no Pulumi project here (/srv/web), so no node is configured: run it in a project's folder, or say --cwd",
            "this machine was examined",
        ]);
        const own = (...names: string[]) =>
            `not examined, because how they are reached stands in the program alone (\`connection\`): ${names.join(", ")}; ${how}`;
        assert.deepEqual(notesOn({ ...none, connected: ["vm"] }), [nobody, own("vm")]);
        assert.deepEqual(notesOn({ ...none, configured: ["a"], connected: ["a", "vm"] }), [own("vm")]);
        assert.deepEqual(notesOn({ ...none, configured: ["a"], connected: ["vm", "b"], named: ["a", "vm"] }), [
            own("vm"),
        ]);
        assert.deepEqual(notesOn({ ...none, configured: ["a"], connected: ["vm"], named: ["a"] }), []);
    });

    it("gives the command by which a person logs in", () => {
        assert.equal(sshCommand({ host: "192.0.2.7" }), "ssh 192.0.2.7");
        assert.equal(
            sshCommand({ host: "192.0.2.7", port: 2222, user: "deploy", identityFile: "my keys/id", jump: "gate" }),
            "ssh -p 2222 -i 'my keys/id' -J gate deploy@192.0.2.7",
        );
    });
});
