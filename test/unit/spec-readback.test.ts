/** From a changed spec back to the argument and its value. */
import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { buildSpec } from "../../provider/spec/build";
import type { ImageConfig } from "../../provider/spec/context";
import type { ContainerInputs } from "../../provider/spec/inputs";
import { readBack } from "../../provider/spec/readback";
import { REVISION } from "../../provider/spec/revision";
import type { Spec } from "../../provider/spec/types";

const IMAGE: ImageConfig = {
    architecture: "amd64",
    os: "linux",
    config: { Entrypoint: ["/entry"], Cmd: ["serve"], Env: ["LANG=C"] },
};

function inputs(some: Partial<ContainerInputs> = {}): ContainerInputs {
    return {
        uid: "0123456789abcdef",
        owner: "urn:pulumi:dev::site::containerd:Container::web",
        revision: REVISION,
        node: "",
        namespace: "default",
        name: "web-1",
        image: "docker.io/library/nginx:1.27",
        network: "host",
        log: { driver: "none", maxSize: 1 << 20, maxFiles: 2 },
        ...some,
    };
}

function build(some: Partial<ContainerInputs> = {}): Spec {
    return buildSpec({ inputs: inputs(some), image: IMAGE, users: { passwd: "", group: "" }, folder: "/f" });
}

/** The container was made with `some`; on the node it is as `change` left it. */
function drift(some: Partial<ContainerInputs>, change: (spec: Spec) => void): Partial<ContainerInputs> {
    const actual = JSON.parse(JSON.stringify(build(some))) as Spec;
    change(actual);
    return readBack(actual, build(some), inputs(some));
}

describe("spec: readBack", () => {
    /** Every argument that has a say in the spec, in use. */
    const FULL: Partial<ContainerInputs> = {
        entrypoint: ["/bin/x"],
        args: ["a", "b"],
        env: { A: "1" },
        files: { "/etc/x": { content: "x" } },
        secrets: { pw: "s" },
        mounts: {
            "/data": { bind: "/srv", readOnly: true, propagation: "rslave" },
            "/tmp": { tmpfs: { size: 4096, mode: "1777" } },
        },
        workdir: "/srv",
        user: "5:6",
        hostname: "edge",
        domainname: "example.test",
        tty: true,
        readOnly: true,
        capabilities: { add: ["NET_ADMIN"], drop: ["CHOWN"] },
        network: "none",
        memory: { limit: 1 << 20, swap: -1 },
        cpu: { cpus: 1.5, shares: 512, cpuset: "0" },
        pidsLimit: 7,
        security: { noNewPrivileges: false, seccomp: "unconfined" },
    };

    it("equal is {}, also through JSON, with annotations, and with empty parts added", () => {
        for (const some of [{}, FULL, { privileged: true }]) {
            const same = drift(some, (spec) => {
                spec.annotations = { script: "…" };
                spec.process.rlimits = [];
                spec.linux.devices = [];
            });
            assert.deepEqual(same, {});
        }
    });

    it("gives every argument back as it was given", () => {
        const { files, secrets, args, network, ...rest } = FULL;
        const plain: Partial<ContainerInputs> = { files, secrets, network };
        // Files and secrets are the same in both; and a spec cannot say where the entrypoint ends.
        const expected = { ...rest, entrypoint: [...(rest.entrypoint ?? []), ...(args ?? [])] };
        assert.deepEqual(readBack(build(FULL), build(plain), inputs(plain)), expected);
    });

    const rows: [string, Partial<ContainerInputs>, (spec: Spec) => void, Partial<ContainerInputs>][] = [
        [
            "args, entrypoint given",
            { entrypoint: ["e"], args: ["a"] },
            (s) => (s.process.args = ["e", "z"]),
            { args: ["z"] },
        ],
        ["args, the image's entrypoint", { args: ["a"] }, (s) => (s.process.args = ["/entry"]), { args: [] }],
        ["entrypoint", { entrypoint: ["e"], args: ["a"] }, (s) => (s.process.args = ["f", "a"]), { entrypoint: ["f"] }],
        ["the image's whole line", {}, (s) => (s.process.args = ["sh"]), { entrypoint: ["sh"] }],
        [
            "both",
            { entrypoint: ["e"], args: ["a"] },
            (s) => (s.process.args = ["sh"]),
            { entrypoint: ["sh"], args: [] },
        ],
        ["env changed", { env: { A: "1" } }, (s) => replace(s.process.env, "A=1", "A=2"), { env: { A: "2" } }],
        ["env added", {}, (s) => s.process.env.push("B=1"), { env: { B: "1" } }],
        ["env gone", { env: { A: "1" } }, (s) => replace(s.process.env, "A=1"), { env: {} }],
        ["the image's env gone", {}, (s) => replace(s.process.env, "LANG=C"), { env: { LANG: "" } }],
        ["workdir", {}, (s) => (s.process.cwd = "/x"), { workdir: "/x" }],
        ["user", {}, (s) => (s.process.user = { uid: 1, gid: 2 }), { user: "1:2" }],
        ["tty", { tty: true }, (s) => delete s.process.terminal, { tty: false }],
        ["hostname", {}, (s) => (s.hostname = "x"), { hostname: "x" }],
        [
            "domainname",
            { domainname: "a.test" },
            (s) => (s.linux.sysctl = { "kernel.domainname": "b.test" }),
            { domainname: "b.test" },
        ],
        [
            "the domain's sysctl",
            { sysctls: { "kernel.domainname": "a" } },
            (s) => (s.linux.sysctl = { "kernel.domainname": "b" }),
            { revision: 0 },
        ],
        ["readOnly", {}, (s) => (s.root.readonly = true), { readOnly: true }],
        [
            "a mount more",
            { mounts: { "/a": { tmpfs: {} } } },
            (s) => s.mounts.push({ destination: "/b", type: "bind", source: "/x", options: ["rbind", "ro"] }),
            { mounts: { "/a": { tmpfs: {} }, "/b": { bind: "/x", readOnly: true } } },
        ],
        ["a mount less", { mounts: { "/a": { tmpfs: {} } } }, (s) => unmount(s, "/a"), { mounts: {} }],
        ["a file less", { files: { "/a": { content: "x" } } }, (s) => unmount(s, "/a"), { files: {} }],
        ["no secrets", { secrets: { a: "b" } }, (s) => unmount(s, "/run/secrets"), { secrets: {} }],
        [
            "capabilities",
            {},
            (s) => (s.process.capabilities = { bounding: ["CAP_NET_ADMIN"] }),
            {
                capabilities: {
                    add: ["NET_ADMIN"],
                    drop: "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT".split(
                        " ",
                    ),
                },
            },
        ],
        ["network", {}, (s) => s.linux.namespaces.push({ type: "network" }), { network: "none" }],
        [
            "memory",
            { memory: { limit: 5 } },
            (s) => (s.linux.resources = { ...s.linux.resources, memory: { limit: 6 } }),
            { memory: { limit: 6 } },
        ],
        ["memory gone", { memory: { limit: 5 } }, (s) => delete s.linux.resources?.memory, { memory: {} }],
        [
            "cpu",
            { cpu: { cpus: 2 } },
            (s) => (s.linux.resources = { ...s.linux.resources, cpu: { quota: 50_000, period: 100_000 } }),
            { cpu: { cpus: 0.5 } },
        ],
        ["pidsLimit", { pidsLimit: 5 }, (s) => delete s.linux.resources?.pids, { pidsLimit: -1 }],
        ["noNewPrivileges", {}, (s) => (s.process.noNewPrivileges = false), { security: { noNewPrivileges: false } }],
        ["seccomp", {}, (s) => delete s.linux.seccomp, { security: { seccomp: "unconfined" } }],
    ];
    for (const [title, some, change, expected] of rows) {
        it(title, () => assert.deepEqual(drift(some, change), expected));
    }

    it("privileged, and nothing that goes with it", () => {
        assert.deepEqual(readBack(build({ privileged: true }), build(), inputs()), { privileged: true });
        const confined = readBack(build(), build({ privileged: true }), inputs({ privileged: true }));
        assert.equal(confined.privileged, false);
    });

    it("what no argument can say is an unknown revision", () => {
        const changes: ((spec: Spec) => void)[] = [
            (spec) => spec.linux.maskedPaths?.pop(),
            (spec) => spec.linux.seccomp?.syscalls?.pop(),
            (spec) => (spec.linux.cgroupsPath = "/elsewhere"),
            (spec) => unmount(spec, "/proc"),
            (spec) => spec.linux.resources?.devices?.push({ allow: true, type: "b", major: 8, access: "rwm" }),
            (spec) => (spec.process.rlimits = [{ type: "RLIMIT_NOFILE", soft: 1, hard: 1 }]),
        ];
        for (const change of changes) assert.deepEqual(drift({}, change), { revision: 0 }, String(change));
    });

    it("an older revision is not compared", () => {
        const old = inputs({ revision: REVISION - 1 });
        assert.deepEqual(readBack(build({ tty: true }), build(), old), {});
    });

    it("a spec without the parts that are taken for granted does not break it", () => {
        const bare = { ociVersion: "1.0.0", process: { args: ["/entry", "serve"] } } as unknown as Spec;
        assert.notDeepEqual(readBack(bare, build(), inputs()), {});
    });
});

function replace(list: string[], item: string, ...by: string[]): void {
    const index = list.indexOf(item);
    assert.ok(index >= 0, `${item} is not there`);
    list.splice(index, 1, ...by);
}

function unmount(spec: Spec, destination: string): void {
    const before = spec.mounts.length;
    spec.mounts = spec.mounts.filter((mount) => mount.destination !== destination);
    assert.equal(spec.mounts.length, before - 1, `${destination} is not mounted`);
}
