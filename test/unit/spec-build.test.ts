/** What `buildSpec` makes of arguments and image, table by table. */
import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { ContainerdError } from "../../provider/errors";
import { buildSpec } from "../../provider/spec/build";
import { ALL_CAPABILITIES, containerCapabilities, DEFAULT_CAPABILITIES } from "../../provider/spec/capabilities";
import type { ImageConfig, NodeFacts } from "../../provider/spec/context";
import { filePaths } from "../../provider/spec/files";
import type { ContainerInputs } from "../../provider/spec/inputs";
import { REVISION } from "../../provider/spec/revision";
import type { Mount, Spec } from "../../provider/spec/types";
import { needsUsers, resolveUser } from "../../provider/spec/user";

const FOLDER = "/var/lib/pulumi-containerd/default/web-1234567";

const PASSWD =
    "root:x:0:0:root:/root:/bin/sh\nnginx:x:101:102:nginx:/var/cache/nginx:/sbin/nologin\n1000:x:77:78::/:\n";
const GROUP = "root:x:0:root\nnginx:x:102:\ntty:x:5:\nvideo:x:44:root,nginx\naudio:x:29:nginx\n";

function inputs(some: Partial<ContainerInputs> = {}): ContainerInputs {
    return {
        uid: "0123456789abcdef",
        owner: "urn:pulumi:dev::site::containerd:Container::web",
        revision: REVISION,
        node: "",
        namespace: "default",
        name: "web-1234567",
        image: "docker.io/library/nginx:1.27",
        network: "none",
        log: { driver: "none", maxSize: 1 << 20, maxFiles: 2 },
        ...some,
    };
}

function image(config: ImageConfig["config"] = { Entrypoint: ["/entry"], Cmd: ["serve"] }): ImageConfig {
    return { architecture: "amd64", os: "linux", config };
}

function build(some: Partial<ContainerInputs> = {}, from = image(), node?: NodeFacts): Spec {
    return buildSpec({
        inputs: inputs(some),
        image: from,
        users: { passwd: PASSWD, group: GROUP },
        folder: FOLDER,
        node,
    });
}

function mountAt(spec: Spec, destination: string): Mount | undefined {
    const found = spec.mounts.filter((mount) => mount.destination === destination);
    assert.ok(found.length <= 1, `${destination} is mounted ${found.length} times`);
    return found[0];
}

function refused(property: string, code = "Invalid") {
    return (thrown: unknown) => {
        assert.ok(thrown instanceof ContainerdError, String(thrown));
        assert.deepEqual([thrown.code, thrown.property], [code, property]);
        return true;
    };
}

describe("spec: process", () => {
    const lines: [string, Partial<ContainerInputs>, ImageConfig["config"], string[]][] = [
        ["nothing given: the image's", {}, { Entrypoint: ["e"], Cmd: ["c"] }, ["e", "c"]],
        ["an image with a cmd alone", {}, { Cmd: ["c", "d"] }, ["c", "d"]],
        ["an image whose JSON has null", {}, { Entrypoint: null, Cmd: ["c"] }, ["c"]],
        ["args replace the cmd", { args: ["a"] }, { Entrypoint: ["e"], Cmd: ["c"] }, ["e", "a"]],
        ["empty args drop the cmd", { args: [] }, { Entrypoint: ["e"], Cmd: ["c"] }, ["e"]],
        ["an entrypoint drops entrypoint and cmd", { entrypoint: ["x"] }, { Entrypoint: ["e"], Cmd: ["c"] }, ["x"]],
        ["both given", { entrypoint: ["x"], args: ["a"] }, { Entrypoint: ["e"], Cmd: ["c"] }, ["x", "a"]],
        ["an empty entrypoint leaves the args", { entrypoint: [], args: ["a"] }, { Entrypoint: ["e"] }, ["a"]],
    ];
    for (const [title, given, config, expected] of lines) {
        it(`args: ${title}`, () => assert.deepEqual(build(given, image(config)).process.args, expected));
    }

    it("args: nothing to run is refused", () => {
        for (const config of [{}, null, undefined]) {
            assert.throws(() => build({}, { ...image(), config }), refused("args"));
        }
        assert.throws(() => build({ entrypoint: [] }), refused("args"));
    });

    const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    const environments: [string, Partial<ContainerInputs>, string[], string[]][] = [
        ["the defaults", {}, [], [PATH, "HOSTNAME=web-1234567"]],
        ["TERM with a tty", { tty: true }, [], [PATH, "HOSTNAME=web-1234567", "TERM=xterm"]],
        ["no HOSTNAME on the node's network", { network: "host" }, [], [PATH]],
        ["the image's PATH stays in its place", {}, ["PATH=/x", "A=1"], ["PATH=/x", "HOSTNAME=web-1234567", "A=1"]],
        [
            "the program's replace the image's by name, new ones follow sorted",
            { env: { Z: "z", A: "2=2", B: "" } },
            ["A=1", "C=3"],
            [PATH, "HOSTNAME=web-1234567", "A=2=2", "C=3", "B=", "Z=z"],
        ],
    ];
    for (const [title, given, Env, expected] of environments) {
        it(`env: ${title}`, () => {
            assert.deepEqual(build(given, image({ Cmd: ["c"], Env })).process.env, expected);
        });
    }

    it("workdir: the program's, the image's, /", () => {
        assert.equal(build({ workdir: "/srv" }, image({ Cmd: ["c"], WorkingDir: "/app" })).process.cwd, "/srv");
        assert.equal(build({}, image({ Cmd: ["c"], WorkingDir: "/app" })).process.cwd, "/app");
        assert.equal(build({}, image({ Cmd: ["c"], WorkingDir: "app" })).process.cwd, "/app");
        assert.equal(build({}, image({ Cmd: ["c"], WorkingDir: "" })).process.cwd, "/");
        assert.throws(() => build({ workdir: "srv" }), refused("workdir"));
    });

    it("tty", () => {
        assert.equal(build({ tty: true }).process.terminal, true);
        assert.equal(build({}).process.terminal, undefined);
    });
});

describe("spec: user", () => {
    const users: [string, number, number, number[]][] = [
        ["", 0, 0, [0, 44]],
        ["root", 0, 0, [0, 44]],
        ["nginx", 101, 102, [102, 44, 29]],
        ["101", 101, 102, [102, 44, 29]],
        ["nginx:tty", 101, 5, [5]],
        ["nginx:9", 101, 9, [9]],
        ["1000", 77, 78, [78]], // a *name* of digits comes before a number, as in Docker
        ["1001", 1001, 0, [0]],
        ["1001:1002", 1001, 1002, [1002]],
        ["nginx:", 101, 102, [102, 44, 29]],
        [":tty", 0, 5, [5]],
    ];
    for (const [text, uid, gid, additionalGids] of users) {
        it(`${JSON.stringify(text)} is ${uid}:${gid}`, () => {
            assert.deepEqual(resolveUser(text, { passwd: PASSWD, group: GROUP }), { uid, gid, additionalGids });
        });
    }

    it("unknown names and nonsense are refused on user", () => {
        for (const user of ["nobody", "nginx:wheel", "a:b:c", "4294967295", "-1", "nginx:-1"]) {
            assert.throws(() => build({ user }), refused("user"), user);
        }
    });

    it("the image's user, unless the program says one", () => {
        const own = image({ Cmd: ["c"], User: "nginx" });
        assert.equal(build({}, own).process.user.uid, 101);
        assert.equal(build({ user: "5:6" }, own).process.user.uid, 5);
    });

    it("says whether the image's files are needed, and does not look at them otherwise", () => {
        for (const user of [undefined, "", "0", "root", "root:root", "0:0", "1000:1000", ":0"]) {
            assert.equal(needsUsers(inputs({ user }), image()), false, user);
        }
        for (const user of ["nginx", "1000", "0:tty", "nginx:0", "1:nginx"]) {
            assert.equal(needsUsers(inputs({ user }), image()), true, user);
        }
        assert.deepEqual(build({ user: "root" }).process.user, { uid: 0, gid: 0, additionalGids: [0] });
        const context = { inputs: inputs({ user: "nginx" }), image: image(), folder: FOLDER };
        assert.throws(() => buildSpec(context), refused("user", "Failed"));
        // An image without these files: numbers do, names do not.
        const bare = { ...context, users: { passwd: "", group: "" } };
        assert.throws(() => buildSpec(bare), refused("user"));
        assert.equal(buildSpec({ ...bare, inputs: inputs({ user: "1000" }) }).process.user.uid, 1000);
    });
});

describe("spec: namespaces and network", () => {
    const types = (spec: Spec) => spec.linux.namespaces.map(({ type }) => type).sort();

    it("none: a network of its own, with Docker's sysctls", () => {
        const spec = build({ network: "none" });
        assert.deepEqual(types(spec), ["cgroup", "ipc", "mount", "network", "pid", "uts"]);
        assert.equal(spec.linux.sysctl?.["net.ipv4.ip_unprivileged_port_start"], "0");
        assert.equal(mountAt(spec, "/etc/resolv.conf"), undefined);
        assert.ok(mountAt(spec, "/etc/hosts")?.source?.startsWith(`${FOLDER}/files/`));
    });

    it("host: the node's network, names and name servers, and no sysctl of the node's", () => {
        const spec = build({ network: "host" });
        assert.deepEqual(types(spec), ["cgroup", "ipc", "mount", "pid", "uts"]);
        assert.equal(spec.linux.sysctl, undefined);
        for (const path of ["/etc/hosts", "/etc/resolv.conf"]) {
            const expected = { destination: path, type: "bind", source: path, options: ["rbind", "rprivate", "ro"] };
            assert.deepEqual(mountAt(spec, path), expected);
        }
        assert.equal(mountAt(spec, "/etc/hostname"), undefined);
    });

    const hostnames: [Partial<ContainerInputs>, string | undefined][] = [
        [{ network: "none" }, "web-1234567"],
        [{ network: "host" }, undefined],
        [{ network: "host", hostname: "edge" }, "edge"],
        [{ network: "none", hostname: "edge" }, "edge"],
        [{ network: "none", name: `${"a".repeat(62)}.${"b".repeat(13)}` }, "a".repeat(62)],
    ];
    it("domainname is a sysctl, which every runc knows, and goes with others", () => {
        const { linux, hostname } = build({ domainname: "a.test", sysctls: { "net.core.somaxconn": "9" } });
        assert.equal(linux.sysctl?.["kernel.domainname"], "a.test");
        assert.equal(linux.sysctl["net.core.somaxconn"], "9");
        assert.equal(hostname, "web-1234567");
        assert.equal(build().linux.sysctl?.["kernel.domainname"], undefined);
    });

    for (const [given, hostname] of hostnames) {
        it(`hostname of ${JSON.stringify(given)}`, () => {
            const spec = build(given);
            assert.equal(spec.hostname, hostname);
            assert.equal(mountAt(spec, "/etc/hostname") !== undefined, hostname !== undefined);
        });
    }

    it("what the program puts in /etc stays", () => {
        const spec = build({
            network: "host",
            files: { "/etc/hosts": { content: "" } },
            mounts: { "/etc/resolv.conf": { bind: "/srv/resolv.conf" } },
        });
        assert.ok(mountAt(spec, "/etc/hosts")?.source?.startsWith(FOLDER));
        assert.equal(mountAt(spec, "/etc/resolv.conf")?.source, "/srv/resolv.conf");
    });
});

describe("spec: mounts and files", () => {
    it("the default file systems", () => {
        const paths = build({ network: "host" }).mounts.map(({ destination }) => destination);
        const kernel = ["/proc", "/dev", "/sys", "/dev/pts", "/dev/shm", "/dev/mqueue"];
        assert.deepEqual(paths, [...kernel, "/etc/hosts", "/etc/resolv.conf", "/sys/fs/cgroup"]);
        assert.ok(mountAt(build(), "/dev/shm")?.options?.includes("size=67108864"));
    });

    const NEW: NodeFacts = { kernel: "6.1.0-18-amd64" };
    const OLD: NodeFacts = { kernel: "5.4.0" };
    const TMPFS = ["noexec", "nosuid", "nodev"];
    const mounts: [string, NonNullable<ContainerInputs["mounts"]>[string], NodeFacts | undefined, string[]][] = [
        ["bind", { bind: "/srv" }, undefined, ["rbind", "rprivate"]],
        ["read-only", { bind: "/srv", readOnly: true }, undefined, ["rbind", "rprivate", "ro"]],
        ["read-only, old kernel", { bind: "/srv", readOnly: true }, OLD, ["rbind", "rprivate", "ro"]],
        ["read-only, new kernel", { bind: "/srv", readOnly: true }, NEW, ["rbind", "rprivate", "ro", "rro"]],
        ["rslave", { bind: "/srv", propagation: "rslave" }, undefined, ["rbind", "rslave"]],
        ["private", { bind: "/srv", propagation: "private" }, undefined, ["rbind", "rprivate"]],
        ["tmpfs", { tmpfs: {} }, undefined, TMPFS],
        [
            "tmpfs, all",
            { tmpfs: { size: 4096, mode: "0700" }, readOnly: true },
            undefined,
            [...TMPFS, "ro", "mode=0700", "size=4096"],
        ],
    ];
    for (const [title, mount, node, options] of mounts) {
        it(`mounts: ${title}`, () => {
            assert.deepEqual(mountAt(build({ mounts: { "/data": mount } }, image(), node), "/data")?.options, options);
        });
    }

    it("mounts: one at a default's place replaces it, one at /dev all below", () => {
        const shm = build({ mounts: { "/dev/shm": { tmpfs: { size: 1 } } } });
        assert.ok(mountAt(shm, "/dev/shm")?.options?.includes("size=1"));
        const dev = build({ mounts: { "/dev": { bind: "/dev" } } }).mounts.map(({ destination }) => destination);
        assert.deepEqual(
            dev.filter((path) => path.startsWith("/dev")),
            ["/dev"],
        );
    });

    it("mounts: what lies below comes after", () => {
        const spec = build({
            mounts: { "/a/b/c": { tmpfs: {} }, "/a": { tmpfs: {} }, "/run": { tmpfs: {} } },
            files: { "/a/b/c/file": { content: "" } },
            secrets: { pw: "s" },
        });
        const at = (path: string) => spec.mounts.findIndex(({ destination }) => destination === path);
        const order = [at("/a"), at("/a/b/c"), at("/a/b/c/file")];
        assert.deepEqual(
            order,
            [...order].sort((a, b) => a - b),
        );
        assert.ok(at("/run") < at("/run/secrets") && at("/run") >= 0);
    });

    it("mounts: nonsense is refused by path", () => {
        const bad: [string, NonNullable<ContainerInputs["mounts"]>[string], string][] = [
            ["data", { bind: "/srv" }, 'mounts["data"]'],
            ["/", { bind: "/srv" }, 'mounts["/"]'],
            ["/a/../b", { bind: "/srv" }, 'mounts["/a/../b"]'],
            ["/data", {}, 'mounts["/data"]'],
            ["/data", { bind: "/srv", tmpfs: {} }, 'mounts["/data"]'],
            ["/data", { bind: "srv" }, 'mounts["/data"].bind'],
        ];
        for (const [target, mount, property] of bad) {
            assert.throws(() => build({ mounts: { [target]: mount } }), refused(property), target);
        }
        const both = { mounts: { "/x": { tmpfs: {} } }, files: { "/x": { content: "" } } };
        assert.throws(() => build(both), refused('mounts["/x"]'));
        const secrets = { mounts: { "/run/secrets": { tmpfs: {} } }, secrets: { a: "b" } };
        assert.throws(() => build(secrets), refused('mounts["/run/secrets"]'));
    });

    it("files and secrets: what is written is what is mounted", () => {
        const given = inputs({
            files: {
                "/etc/app.conf": { content: "a = 1\n" },
                "/etc/key": { base64: "AP8=", mode: "0600", uid: 101, gid: 102 },
            },
            secrets: { pw: "hunter2" },
        });
        const written = filePaths(given, FOLDER);
        const spec = build(given);
        const find = (target: string) => written.find(({ path }) => path === mountAt(spec, target)?.source);
        assert.equal(Buffer.from(find("/etc/app.conf")?.content ?? []).toString(), "a = 1\n");
        assert.equal(find("/etc/app.conf")?.mode, 0o644);
        const { content, mode, uid, gid } = find("/etc/key") ?? assert.fail("/etc/key is not written");
        assert.deepEqual([[...content], mode, uid, gid], [[0, 255], 0o600, 101, 102]);
        assert.equal(Buffer.from(find("/etc/hostname")?.content ?? []).toString(), "web-1234567\n");
        assert.match(Buffer.from(find("/etc/hosts")?.content ?? []).toString(), /^127\.0\.0\.1\tweb-1234567$/m);
        const secret = written.find(({ path }) => path === `${FOLDER}/secrets/pw`);
        assert.equal(secret?.mode, 0o400);
        assert.equal(mountAt(spec, "/run/secrets")?.source, `${FOLDER}/secrets`);
        for (const target of ["/etc/app.conf", "/run/secrets"])
            assert.ok(mountAt(spec, target)?.options?.includes("ro"));
        assert.ok(!JSON.stringify(spec).includes("hunter2"));
    });

    it("files: a path keeps its place when others come and go", () => {
        const one = filePaths(inputs({ files: { "/b": {} } }), FOLDER).map(({ path }) => path);
        const two = filePaths(inputs({ files: { "/a": {}, "/b": {} } }), FOLDER).map(({ path }) => path);
        assert.ok(one.every((path) => two.includes(path)));
        assert.equal(new Set(two).size, two.length);
    });

    it("readOnly", () => {
        assert.equal(build({ readOnly: true }).root.readonly, true);
        assert.equal(build().root.readonly, undefined);
    });
});

describe("spec: security", () => {
    const without = (...names: string[]) => DEFAULT_CAPABILITIES.filter((name) => !names.includes(name));
    const sets: [ContainerInputs["capabilities"], readonly string[]][] = [
        [undefined, DEFAULT_CAPABILITIES],
        [{ add: ["NET_ADMIN"] }, [...DEFAULT_CAPABILITIES, "NET_ADMIN"]],
        [{ drop: ["CHOWN"] }, without("CHOWN")],
        [{ drop: ["ALL"] }, []],
        [{ drop: ["ALL"], add: ["NET_RAW"] }, ["NET_RAW"]],
        [{ add: ["ALL"] }, ALL_CAPABILITIES],
        [{ add: ["ALL"], drop: ["SYS_ADMIN"] }, ALL_CAPABILITIES.filter((name) => name !== "SYS_ADMIN")],
        [{ add: ["CHOWN"], drop: ["CHOWN"] }, DEFAULT_CAPABILITIES],
    ];
    for (const [capabilities, expected] of sets) {
        it(`capabilities ${JSON.stringify(capabilities)}`, () => {
            assert.deepEqual(containerCapabilities(inputs({ capabilities })), [...expected].sort());
        });
    }

    it("capabilities: 14 by default, of 41, none inheritable; an unknown one is refused", () => {
        assert.equal(DEFAULT_CAPABILITIES.length, 14);
        assert.equal(new Set(ALL_CAPABILITIES).size, 41);
        const { bounding, effective, permitted, inheritable, ambient } = build().process.capabilities ?? {};
        assert.equal(bounding?.[0], "CAP_AUDIT_WRITE");
        assert.deepEqual([effective, permitted, inheritable, ambient], [bounding, bounding, undefined, undefined]);
        assert.throws(() => build({ capabilities: { add: ["NET_RAW", "FLY"] } }), refused("capabilities.add[1]"));
        assert.throws(() => build({ capabilities: { drop: ["CAP_CHOWN"] } }), refused("capabilities.drop[0]"));
    });

    it("capabilities: all is all that the node has to give", () => {
        const node = { capabilities: ["CHOWN", "SYS_ADMIN"] };
        assert.deepEqual(containerCapabilities(inputs({ privileged: true }), node), ["CHOWN", "SYS_ADMIN"]);
        const all = inputs({ capabilities: { add: ["ALL"], drop: ["CHOWN"] } });
        assert.deepEqual(containerCapabilities(all, node), ["SYS_ADMIN"]);
    });

    it("noNewPrivileges: on, unless switched off or privileged", () => {
        assert.equal(build().process.noNewPrivileges, true);
        assert.equal(build({ security: { noNewPrivileges: false } }).process.noNewPrivileges, false);
        assert.equal(build({ privileged: true }).process.noNewPrivileges, false);
        const both = build({ privileged: true, security: { noNewPrivileges: true } });
        assert.equal(both.process.noNewPrivileges, true);
    });

    it("seccomp: by default, for the container's capabilities and the node's architecture", () => {
        const calls = (spec: Spec) => spec.linux.seccomp?.syscalls?.[0]?.names ?? [];
        assert.ok(calls(build()).includes("chroot") && !calls(build()).includes("mount"));
        assert.ok(calls(build({ capabilities: { add: ["SYS_ADMIN"] } })).includes("mount"));
        assert.ok(!calls(build({ capabilities: { drop: ["ALL"] } })).includes("chroot"));
        assert.ok(!calls(build({}, image(), { kernel: "4.4.0" })).includes("ptrace"));
        const arm = build({}, { ...image(), architecture: "arm64" });
        assert.ok(arm.linux.seccomp?.architectures?.includes("SCMP_ARCH_AARCH64"));
        const emulated = build({}, { ...image(), architecture: "arm64" }, { architecture: "amd64" });
        assert.ok(emulated.linux.seccomp?.architectures?.includes("SCMP_ARCH_X86_64"));
        assert.equal(build({ security: { seccomp: "unconfined" } }).linux.seccomp, undefined);
        const other = { ...image(), architecture: "s390x" };
        assert.throws(() => build({}, other), refused("security.seccomp", "Unsupported"));
        assert.ok(build({ security: { seccomp: "unconfined" } }, other));
    });

    it("masked and read-only paths are Docker's, and the CPUs' where they are known", () => {
        const { linux } = build({}, image(), { cpus: 2 });
        for (const path of ["/proc/kcore", "/proc/keys", "/proc/interrupts", "/sys/firmware"]) {
            assert.ok(linux.maskedPaths?.includes(path), path);
        }
        assert.ok(linux.maskedPaths?.includes("/sys/devices/system/cpu/cpu1/thermal_throttle"));
        assert.deepEqual(linux.readonlyPaths, [
            "/proc/bus",
            "/proc/fs",
            "/proc/irq",
            "/proc/sys",
            "/proc/sysrq-trigger",
        ]);
    });

    it("devices: all denied, then the usual ones", () => {
        const rules = build().linux.resources?.devices ?? [];
        assert.deepEqual(rules[0], { allow: false, access: "rwm" });
        assert.ok(rules.slice(1).every(({ allow, access, major }) => allow && (access === "m" || major !== undefined)));
    });

    it("privileged: everything", () => {
        const device = { type: "b" as const, path: "/dev/vda", major: 254, minor: 0 };
        const spec = build({ privileged: true }, image(), { devices: [device] });
        assert.equal(spec.process.capabilities?.bounding?.length, 41);
        assert.deepEqual(
            [spec.linux.seccomp, spec.linux.maskedPaths, spec.linux.readonlyPaths],
            [undefined, undefined, undefined],
        );
        assert.deepEqual(spec.linux.resources?.devices, [{ allow: true, access: "rwm" }]);
        assert.deepEqual(spec.linux.devices, [device]);
        for (const path of ["/sys", "/sys/fs/cgroup"]) assert.ok(!mountAt(spec, path)?.options?.includes("ro"), path);
    });
});

describe("spec: as a whole", () => {
    it("is the same for the same inputs, whatever the order of their keys, and changes none of them", () => {
        const given = inputs({ env: { B: "1", A: "2" } });
        const frozen = JSON.stringify(given);
        const again = { ...given, env: { A: "2", B: "1" } };
        const context = { image: image(), folder: FOLDER };
        assert.equal(
            JSON.stringify(buildSpec({ ...context, inputs: given })),
            JSON.stringify(buildSpec({ ...context, inputs: again })),
        );
        assert.equal(JSON.stringify(given), frozen);
    });

    it("does not share its lists between containers", () => {
        const first = build();
        first.linux.maskedPaths?.push("/x");
        first.linux.resources?.devices?.push({ allow: true });
        assert.ok(!build().linux.maskedPaths?.includes("/x"));
        assert.ok(build().linux.resources?.devices?.every(({ type, allow }) => !allow || type !== undefined));
    });

    it("places the container in a cgroup of its own", () => {
        assert.equal(build({ namespace: "prod" }).linux.cgroupsPath, "/prod/web-1234567");
    });
});
