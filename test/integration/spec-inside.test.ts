/**
 * Runs real containers from our spec by plain `runc`, and looks from inside: what is confined, what is given, what is seen.
 * The root file system is Debian's static busybox alone. Nothing is left: state, cgroups and files are removed.
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
    chownSync,
    copyFileSync,
    existsSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    rmdirSync,
    rmSync,
    symlinkSync,
    writeFileSync,
} from "node:fs";
import { release, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "mocha";
import { buildSpec } from "../../provider/spec/build";
import type { ImageConfig } from "../../provider/spec/context";
import { filePaths } from "../../provider/spec/files";
import type { ContainerInputs } from "../../provider/spec/inputs";
import { updatedResources } from "../../provider/spec/resources";
import { environment } from "../../playground/environment";
import { READY_MARK } from "../../provider/node/gate.sh";
import { REVISION } from "../../provider/spec/revision";
import type { Spec } from "../../provider/spec/types";

const BUSYBOX = environment().busybox;
const NAMESPACE = `spec-test-${randomBytes(4).toString("hex")}`;
const IMAGE: ImageConfig = { architecture: goArchitecture(), os: "linux", config: { Env: ["FROM_IMAGE=yes"] } };
const PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/home/app:/bin/sh\n";
const GROUP = "root:x:0:root\napp:x:1001:\nvideo:x:44:app\n";

/** The lines of `/proc/PID/status` that tell; Docker's 14 capabilities are a80425fb (docs.docker.com, "Runtime privilege"). */
const DOCKER_CAPABILITIES = "00000000a80425fb";

describe("a container made from our spec, from inside", function () {
    this.timeout(120_000);
    let folder: string;
    let counter = 0;

    before(function () {
        if (process.getuid?.() !== 0) throw new Error("needs root: runc makes namespaces and cgroups");
        folder = mkdtempSync(join(tmpdir(), "spec-inside-"));
    });

    after(() => {
        rmSync(folder, { recursive: true, force: true });
        assert.deepEqual(cgroups(), [], "cgroups are left");
    });

    interface Run {
        /** Arguments of the container beside its script. */
        given?: Partial<ContainerInputs>;
        /** A shell script, run inside. */
        script: string;
        /** Prepares the root file system. */
        prepare?: (rootfs: string) => void;
        /** Changes the bundle's spec to prove that a test sees the difference. */
        change?: (spec: Spec) => void;
    }

    function bundle({ given = {}, script, prepare, change }: Run) {
        const inputs: ContainerInputs = {
            uid: "0123456789abcdef",
            owner: "urn:pulumi:dev::site::containerd:Container::inside",
            revision: REVISION,
            node: "",
            namespace: NAMESPACE,
            name: `inside-${++counter}`,
            image: "docker.io/library/busybox:1",
            network: "none",
            log: { driver: "none", maxSize: 1 << 20, maxFiles: 2 },
            entrypoint: ["/bin/sh", "-c", script],
            ...given,
        };
        const own = join(folder, inputs.name);
        const rootfs = join(own, "rootfs");
        mkdirSync(join(rootfs, "bin"), { recursive: true });
        // No logger runs here, which would have said that all is ready.
        writeFileSync(join(own, READY_MARK), "");
        copyFileSync(BUSYBOX, join(rootfs, "bin/busybox"));
        symlinkSync("busybox", join(rootfs, "bin/sh"));
        for (const name of ["etc", "root", "tmp"]) mkdirSync(join(rootfs, name));
        writeFileSync(join(rootfs, "etc/passwd"), PASSWD);
        writeFileSync(join(rootfs, "etc/group"), GROUP);
        prepare?.(rootfs);
        const node = { kernel: release(), capabilities: nodeCapabilities() };
        const spec = buildSpec({ inputs, image: IMAGE, users: { passwd: PASSWD, group: GROUP }, folder: own, node });
        for (const file of filePaths(inputs, own)) {
            mkdirSync(dirname(file.path), { recursive: true });
            writeFileSync(file.path, file.content, { mode: file.mode });
            chownSync(file.path, file.uid, file.gid);
        }
        change?.(spec);
        writeFileSync(join(own, "config.json"), JSON.stringify(spec));
        return { inputs, own };
    }

    const runc = (...args: string[]) => ["--root", join(folder, "state"), ...args];

    /** Runs the script to its end and gives what it printed. */
    function inside(run: Run): string {
        const { inputs, own } = bundle(run);
        // A terminal: runc takes ours, so it needs one; script(1) makes it.
        const plain = ["runc", ...runc("run", "--bundle", own, inputs.name)];
        const command = inputs.tty ? ["script", "-qec", plain.join(" "), "/dev/null"] : plain;
        const { status, stdout, stderr } = spawnSync(command[0] ?? "", command.slice(1), {
            encoding: "utf8",
            timeout: 30_000,
            stdio: [inputs.tty ? "pipe" : "ignore", "pipe", "pipe"],
        });
        assert.equal(status, 0, `runc: ${stderr}${stdout}`);
        return stdout.replaceAll("\r", "").trim();
    }

    /** Runs the script and gives its output as `NAME: value` lines. */
    function facts(run: Run): Record<string, string> {
        const lines = inside(run).split("\n");
        return Object.fromEntries(
            lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]),
        );
    }

    const STATUS = "busybox cat /proc/self/status";
    /** A shell snippet that says whether a command works, by name. */
    const can = (name: string, command: string) =>
        `if ( ${command} ) >/dev/null 2>&1; then echo ${name}: yes; else echo ${name}: no; fi\n`;

    /** Writes to a file of the kernel what it says already: harmless where it works. (busybox's `test -w` only looks at modes.) */
    const rewrite = (path: string) => `value=$(busybox cat ${path}) && echo $value >${path}`;

    describe("as confined as Docker's default", () => {
        it("has Docker's 14 capabilities, no new privileges, and a seccomp filter", () => {
            const status = facts({ script: STATUS });
            for (const set of ["CapBnd", "CapEff", "CapPrm"]) assert.equal(status[set], DOCKER_CAPABILITIES, set);
            for (const set of ["CapInh", "CapAmb"]) assert.equal(status[set], "0000000000000000", set);
            assert.equal(status.NoNewPrivs, "1");
            assert.equal(status.Seccomp, "2");
        });

        it("cannot do what seccomp denies, and can without it", () => {
            // unshare of a user namespace needs no capability, so it is seccomp alone that stops it.
            const script = can("unshare", "busybox unshare -U busybox true") + can("date", "busybox date");
            assert.deepEqual(facts({ script }), { unshare: "no", date: "yes" });
            const unconfined = facts({ script, given: { security: { seccomp: "unconfined" } } });
            assert.deepEqual(unconfined, { unshare: "yes", date: "yes" });
        });

        it("hides and protects what Docker hides and protects", () => {
            const script =
                "echo interrupts: $(busybox wc -c </proc/interrupts)\n" +
                "echo keys: $(busybox wc -c </proc/keys)\n" +
                "echo firmware: $(busybox ls /sys/firmware | busybox wc -l)\n" +
                can("sysctl", rewrite("/proc/sys/vm/swappiness")) +
                can("sysrq", "echo h >/proc/sysrq-trigger") +
                // On cgroup v1 runc keeps the tmpfs above the controllers writable; it is the container's own.
                can("cgroup", "cd /sys/fs/cgroup/pids || cd /sys/fs/cgroup; busybox mkdir x") +
                can("sys", rewrite("/sys/kernel/mm/ksm/run")) +
                can("remount", "busybox mount -o remount,rw /sys");
            const no = { sysctl: "no", sysrq: "no", cgroup: "no", sys: "no", remount: "no" };
            assert.deepEqual(facts({ script }), { interrupts: "0", keys: "0", firmware: "0", ...no });
        });

        it("opens the usual devices and no others", () => {
            const script =
                ["null", "zero", "full", "random", "urandom"]
                    .map((name) => can(name, `busybox head -c 0 /dev/${name}`))
                    .join("") +
                // Making the node is allowed (as in Docker), opening it is not: kmsg, and the first loop device.
                "busybox mknod /dev/kmsg c 1 11 && echo made: yes\n" +
                can("kmsg", "busybox head -c 0 /dev/kmsg") +
                "busybox mknod /dev/disk b 7 0\n" +
                can("disk", "busybox head -c 0 /dev/disk");
            const usual = { null: "yes", zero: "yes", full: "yes", random: "yes", urandom: "yes" };
            assert.deepEqual(facts({ script }), { ...usual, made: "yes", kmsg: "no", disk: "no" });
        });

        it("has mounts of its own, and sees no others", () => {
            const lines = inside({ script: "busybox cat /proc/self/mountinfo" }).split("\n");
            const mounts = new Map(lines.map((line) => [line.split(" ")[4] ?? "", line]));
            for (const path of [
                "/proc",
                "/dev",
                "/dev/pts",
                "/dev/shm",
                "/dev/mqueue",
                "/sys",
                "/sys/fs/cgroup",
                "/proc/interrupts",
            ]) {
                assert.ok(mounts.has(path), path);
            }
            assert.match(mounts.get("/sys") ?? "", / ro,nosuid,nodev,noexec,relatime /);
            // On cgroup v1 a tmpfs with the controllers below it, on v2 the tree itself.
            const controllers = mounts.get("/sys/fs/cgroup/pids") ?? mounts.get("/sys/fs/cgroup") ?? "";
            assert.match(controllers, / ro,nosuid,nodev,noexec,relatime /);
            assert.match(mounts.get("/proc/sys") ?? "", / ro,/);
            assert.match(mounts.get("/dev/shm") ?? "", /size=65536k/);
            assert.ok(!mounts.has("/run"), "/run");
            assert.ok(
                lines.every((line) => !line.includes(" shared:")),
                "no mount is shared with the node",
            );
        });

        it("is in namespaces of its own", () => {
            const kinds = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];
            const script = kinds.map((kind) => `echo ${kind}: $(busybox readlink /proc/self/ns/${kind})\n`).join("");
            const seen = facts({
                script: `${script}echo self: $(busybox sed s/.*:// /proc/self/cgroup | busybox sort -u)`,
            });
            for (const kind of kinds) {
                const ours = execFileSync("readlink", [`/proc/self/ns/${kind}`], { encoding: "utf8" }).trim();
                assert.notEqual(seen[kind], ours, kind);
            }
            assert.equal(seen.self, "/");
        });
    });

    describe("each argument", () => {
        it("capabilities", () => {
            const capabilities = { drop: ["ALL"], add: ["NET_ADMIN", "CHOWN"] };
            const status = facts({ script: STATUS, given: { capabilities } });
            assert.equal(BigInt(`0x${status.CapEff}`), (1n << 12n) | 1n);
            assert.equal(BigInt(`0x${status.CapBnd}`), (1n << 12n) | 1n);
        });

        it("security.noNewPrivileges: false", () => {
            assert.equal(facts({ script: STATUS, given: { security: { noNewPrivileges: false } } }).NoNewPrivs, "0");
        });

        it("privileged", () => {
            const script =
                `${STATUS}\n` +
                "busybox mknod /dev/kmsg c 1 11\n" +
                can("kmsg", "busybox head -c 0 /dev/kmsg") +
                can("interrupts", "busybox grep -q . /proc/interrupts") +
                can("remount", "busybox mount -t tmpfs none /tmp") +
                "echo sys: $(busybox sed -n 's,.* /sys \\([a-z]*\\).*,\\1,p' /proc/self/mountinfo)\n" +
                "echo cgroup: $(busybox sed -n 's,.* /sys/fs/cgroup \\([a-z]*\\).*,\\1,p' /proc/self/mountinfo)\n" +
                can("sysctl", rewrite("/proc/sys/vm/swappiness"));
            const seen = facts({ script, given: { privileged: true } });
            assert.deepEqual([seen.NoNewPrivs, seen.Seccomp], ["0", "0"]);
            assert.equal(BigInt(`0x${seen.CapEff}`), nodeBounding(), "all that the node has");
            assert.deepEqual([seen.kmsg, seen.interrupts, seen.remount, seen.sysctl], ["yes", "yes", "yes", "yes"]);
            assert.deepEqual([seen.sys, seen.cgroup], ["rw", "rw"]);
        });

        it("user by name, with its groups; a process that is not root has no capabilities", () => {
            const status = facts({ script: `${STATUS}\necho HOME: $HOME`, given: { user: "app" } });
            assert.deepEqual(status.Uid?.split("\t"), ["1000", "1000", "1000", "1000"]);
            assert.deepEqual(status.Gid?.split("\t"), ["1001", "1001", "1001", "1001"]);
            assert.deepEqual(status.Groups?.split(" "), ["44", "1001"]);
            assert.deepEqual([status.CapEff, status.CapBnd], ["0000000000000000", DOCKER_CAPABILITIES]);
            assert.equal(status.HOME, "/home/app");
        });

        it("user by number", () => {
            const status = facts({ script: STATUS, given: { user: "7:8" } });
            assert.deepEqual([status.Uid?.split("\t")[0], status.Gid?.split("\t")[0], status.Groups], ["7", "8", "8"]);
        });

        it("env, workdir, hostname", () => {
            const script =
                "echo cwd: $(busybox pwd)\necho host: $(busybox hostname)\necho file: $(busybox cat /etc/hostname)\nbusybox env";
            const seen = inside({
                script,
                given: { env: { A: "x y=z", LAST: "" }, workdir: "/made/here", hostname: "edge" },
            });
            const lines = seen.split("\n");
            for (const line of [
                "cwd: /made/here",
                "host: edge",
                "file: edge",
                "A=x y=z",
                "LAST=",
                "FROM_IMAGE=yes",
                "HOSTNAME=edge",
            ]) {
                assert.ok(lines.includes(line), `${line} in ${seen}`);
            }
        });

        it("network none: loopback alone, up; any user may bind ports below 1024 and ping", () => {
            const script =
                "echo links: $(busybox ls /sys/class/net)\n" +
                can("up", "busybox ifconfig lo | busybox grep -q 127.0.0.1") +
                // httpd goes to the background once it has its port, and fails otherwise.
                can("port", "busybox httpd -p 127.0.0.1:80 -h /tmp") +
                "echo ping: $(busybox cat /proc/sys/net/ipv4/ping_group_range)\n" +
                "echo hosts: $(busybox grep -c inside /etc/hosts)";
            const seen = facts({ script, given: { hostname: "inside", user: "7:8" } });
            assert.ok(!seen.links?.split(" ").includes("eth0"), seen.links);
            assert.deepEqual([seen.up, seen.port, seen.ping, seen.hosts], ["yes", "yes", "0 2147483647", "1"]);
        });

        it("network host: the node's network and names; its host name, in a UTS namespace that cannot change it", () => {
            const script =
                "echo net: $(busybox readlink /proc/self/ns/net)\necho uts: $(busybox readlink /proc/self/ns/uts)\n" +
                "echo name: $(busybox hostname)\necho hosts: $(busybox md5sum </etc/hosts)\necho resolv: $(busybox md5sum </etc/resolv.conf)\n" +
                can("write", "echo >>/etc/hosts") +
                can("sys", rewrite("/sys/class/net/lo/mtu"));
            const seen = facts({ script, given: { network: "host" } });
            const node = (command: string) => execFileSync("sh", ["-c", command], { encoding: "utf8" }).trim();
            assert.equal(seen.net, node("readlink /proc/self/ns/net"));
            assert.notEqual(seen.uts, node("readlink /proc/self/ns/uts"));
            assert.equal(seen.name, node("uname -n"));
            assert.equal(seen.hosts, node("echo $(md5sum </etc/hosts)"));
            assert.equal(seen.resolv, node("echo $(md5sum </etc/resolv.conf)"));
            assert.deepEqual([seen.write, seen.sys], ["no", "no"]);
        });

        it("readOnly: the root, and not what is mounted on it", () => {
            const script = can("root", "echo >/x") + can("shm", "echo >/dev/shm/x") + can("data", "echo >/data/x");
            const mounts = { "/data": { tmpfs: {} } };
            assert.deepEqual(facts({ script, given: { mounts, readOnly: true } }), {
                root: "no",
                shm: "yes",
                data: "yes",
            });
            assert.equal(facts({ script, given: { mounts } }).root, "yes");
        });

        it("mounts: bind, read-only, tmpfs with size and mode", () => {
            const source = join(folder, "source");
            mkdirSync(source, { recursive: true });
            writeFileSync(join(source, "there"), "");
            const script =
                can("rw", "echo >/rw/from-inside") +
                can("ro", "echo >/ro/x") +
                can("there", "busybox test -e /ro/there") +
                "echo size: $(busybox df -k /tmp2 | busybox awk 'NR==2 {print $2}')\n" +
                "echo mode: $(busybox stat -c %a /tmp2)\n" +
                "echo flags: $(busybox sed -n 's,.* /tmp2 \\([^ ]*\\).*,\\1,p' /proc/self/mountinfo)";
            const mounts = {
                "/rw": { bind: source },
                "/ro": { bind: source, readOnly: true },
                "/tmp2": { tmpfs: { size: 1 << 20, mode: "0700" } },
            };
            const seen = facts({ script, given: { mounts } });
            assert.deepEqual(seen, {
                rw: "yes",
                ro: "no",
                there: "yes",
                size: "1024",
                mode: "700",
                flags: "rw,nosuid,nodev,noexec,relatime",
            });
            assert.ok(existsSync(join(source, "from-inside")));
        });

        it("files and secrets: content, mode, owner, read-only", () => {
            const script =
                "echo conf: $(busybox cat /etc/app/app.conf) $(busybox stat -c %a:%u:%g /etc/app/app.conf)\n" +
                "echo pw: $(busybox cat /run/secrets/pw) $(busybox stat -c %a:%u:%g /run/secrets/pw)\n" +
                can("write", "echo >/etc/app/app.conf") +
                can("add", "echo >/run/secrets/x");
            const given = {
                files: { "/etc/app/app.conf": { content: "a = 1", mode: "0640", uid: 7, gid: 8 } },
                secrets: { pw: "hunter2" },
            };
            const expected = { conf: "a = 1 640:7:8", pw: "hunter2 400:0:0", write: "no", add: "no" };
            assert.deepEqual(facts({ script, given }), expected);
            const other = can("read", "busybox cat /run/secrets/pw");
            assert.deepEqual(facts({ script: other, given: { ...given, user: "7:8" } }), { read: "no" });
        });

        it("tty", () => {
            const script = "echo; busybox tty; echo $TERM; busybox test -c /dev/console && echo console";
            assert.deepEqual(
                inside({ script, given: { tty: true } })
                    .split("\n")
                    // script(1) passes the end of its own input on to the terminal, which shows it.
                    .filter((line) => line !== "^@")
                    .slice(-3),
                ["/dev/pts/0", "xterm", "console"],
            );
            assert.match(inside({ script: "busybox tty || true" }), /not a tty/);
        });

        it("memory, cpu, pidsLimit: in the cgroup, also after an update of a running container", function () {
            const given = {
                memory: { limit: 64 << 20, reservation: 32 << 20 },
                cpu: { cpus: 0.5, shares: 512, cpuset: "0" },
                pidsLimit: 50,
            };
            const { inputs, own } = bundle({ script: "busybox sleep 60", given });
            const run = (...args: string[]) =>
                execFileSync("runc", runc(...args), {
                    timeout: 20_000,
                    // Not pipes: the container would hold them open, and waiting for runc would be waiting for it.
                    stdio: "ignore",
                });
            run("run", "--detach", "--bundle", own, inputs.name);
            try {
                assert.deepEqual(limits(inputs), {
                    memory: String(64 << 20),
                    reservation: String(32 << 20),
                    quota: "50000 100000",
                    cpuset: "0",
                    pids: "50",
                });
                const update = (resources: object) =>
                    execFileSync("runc", runc("update", "--resources", "-", inputs.name), {
                        input: JSON.stringify(resources),
                        timeout: 20_000,
                        stdio: ["pipe", "ignore", "pipe"],
                    });
                const more = { memory: { limit: 96 << 20 }, cpu: { cpus: 1.5 } };
                update(updatedResources(inputs, more));
                const after = limits(inputs);
                assert.deepEqual([after.memory, after.quota, after.pids], [String(96 << 20), "150000 100000", "max"]);
                update(updatedResources(more, {}));
                assert.match(limits(inputs).quota, /^(-1|max) /);
                assert.ok(limits(inputs).memory === "max" || Number(limits(inputs).memory) > 2 ** 60);
            } finally {
                run("delete", "--force", inputs.name);
            }
        });
    });

    it("these tests see it when a spec confines less", () => {
        const change = (spec: Spec) => {
            spec.linux.maskedPaths = [];
            spec.process.noNewPrivileges = false;
            spec.mounts.forEach((mount) => (mount.options = mount.options?.filter((option) => option !== "ro")));
        };
        const script = `${STATUS}\n${can("interrupts", "busybox grep -q . /proc/interrupts")}${can("sys", rewrite("/sys/kernel/mm/ksm/run"))}`;
        const seen = facts({ script, change });
        assert.deepEqual([seen.NoNewPrivs, seen.interrupts, seen.sys], ["0", "yes", "yes"]);
    });
});

/** The limits of a container's cgroup, on cgroup v1 or v2. */
function limits({ namespace, name }: ContainerInputs) {
    const v2 = existsSync("/sys/fs/cgroup/cgroup.controllers");
    const read = (controller: string, file: string) =>
        readFileSync(join("/sys/fs/cgroup", v2 ? "" : controller, namespace, name, file), "utf8").trim();
    return {
        memory: v2 ? read("", "memory.max") : read("memory", "memory.limit_in_bytes"),
        reservation: v2 ? read("", "memory.low") : read("memory", "memory.soft_limit_in_bytes"),
        quota: v2 ? read("", "cpu.max") : `${read("cpu", "cpu.cfs_quota_us")} ${read("cpu", "cpu.cfs_period_us")}`,
        cpuset: read("cpuset", "cpuset.cpus"),
        pids: read("pids", "pids.max"),
    };
}

/** Removes the (empty) parent cgroups of this run, which runc leaves, and gives those that could not go. */
function cgroups(): string[] {
    const roots = ["", ...readdirSync("/sys/fs/cgroup")].map((name) => join("/sys/fs/cgroup", name, NAMESPACE));
    return roots.filter((path) => {
        if (!existsSync(path)) return false;
        try {
            rmdirSync(path);
        } catch {
            return true;
        }
        return false;
    });
}

/** What this process may have at most, and so what it can give: on a machine that is itself confined, not everything. */
function nodeBounding(): bigint {
    const [, mask = "0"] = /^CapBnd:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    return BigInt(`0x${mask}`);
}

/** The same by name: the kernel's numbers, from `linux/capability.h`. */
function nodeCapabilities(): string[] {
    const byNumber = (
        "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE " +
        "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN " +
        "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE " +
        "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
    ).split(" ");
    return byNumber.filter((_, number) => (nodeBounding() >> BigInt(number)) & 1n);
}

function goArchitecture(): string {
    return process.arch === "x64" ? "amd64" : process.arch;
}
