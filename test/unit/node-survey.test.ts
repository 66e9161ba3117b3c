/** What the survey's script prints, read: whole, in parts, and none of it. */
import assert from "node:assert/strict";
import { parseGoDuration, parseSurvey } from "../../provider/node/survey";

const WHOLE = `clock.start=1000
user=root
uid=0
kernel=6.1.0-28-amd64
architecture=x86_64
cgroup=2
os.name="Debian GNU/Linux 12 (bookworm)"
os.version="12"
os.id=debian
cpus=4
memory=8024000
tool.nft=/usr/sbin/nft
tool.timeout=/usr/bin/timeout
cni=/usr/lib/cni
cni.plugins=static bridge 
socket=open
containerd=1.6.20~ds1
containerd.config=/etc/containerd/config.toml
containerd.root=/var/lib/containerd
restart.interval=10s
runc=1.1.5+ds1
boot=enabled
active=active
sshd.maxstartups=10:30:100
sshd.maxsessions=10
sshd.allowtcpforwarding=yes
sshd.allowstreamlocalforwarding=no
sshd.disableforwarding=no
disk./var/lib/containerd=1000 400
disk./run=10 5
clock.end=1001
`;

describe("survey of a node", () => {
    it("reads all that the script prints", () => {
        assert.deepEqual(parseSurvey(WHOLE, { before: 999.5, after: 1001.5 }), {
            user: "root",
            isRoot: true,
            hasSudo: false,
            kernel: "6.1.0-28-amd64",
            architecture: "x86_64",
            cgroupVersion: 2,
            os: { id: "debian", version: "12", name: "Debian GNU/Linux 12 (bookworm)" },
            containerdVersion: "1.6.20~ds1",
            runcVersion: "1.1.5+ds1",
            containerdConfig: "/etc/containerd/config.toml",
            containerdRoot: "/var/lib/containerd",
            restartInterval: 10_000,
            socket: "open",
            boot: "enabled",
            active: "active",
            cni: { folder: "/usr/lib/cni", plugins: ["bridge", "static"] },
            tools: { nft: "/usr/sbin/nft", timeout: "/usr/bin/timeout" },
            sshd: {
                allowStreamLocalForwarding: "no",
                allowTcpForwarding: "yes",
                disableForwarding: false,
                maxSessions: 10,
                maxStartups: "10:30:100",
            },
            clockSkew: 0,
            disks: {
                "/var/lib/containerd": { size: 1000 * 1024, free: 400 * 1024 },
                "/run": { size: 10 * 1024, free: 5 * 1024 },
            },
            memory: 8_024_000 * 1024,
            cpus: 4,
        });
    });

    it("says nothing about what was not printed", () => {
        const nothing = parseSurvey("Welcome to my machine\n\n= \nuid=\n");
        assert.equal(nothing.user, undefined);
        assert.equal(nothing.isRoot, false);
        assert.equal(nothing.sshd, undefined);
        assert.equal(nothing.cni, undefined);
        assert.equal(nothing.clockSkew, undefined);
        assert.deepEqual(nothing.tools, {});
        assert.deepEqual(nothing.disks, {});
    });

    it("takes nothing that is not what it should be", () => {
        const odd = parseSurvey(
            "cgroup=3\nmemory=lots\ncpus=-1\nsocket=maybe\nrestart.interval=soon\ndisk./run=10\ndisk.x=1 2\nuid=00\n",
        );
        for (const key of ["cgroupVersion", "memory", "cpus", "socket", "restartInterval"] as const)
            assert.equal(odd[key], undefined, key);
        assert.deepEqual(odd.disks, {});
        assert.equal(odd.isRoot, false);
    });

    it("takes away what a terminal would obey", () => {
        const { os, kernel } = parseSurvey("os.name='\u001b[31mred\u0007\u202e'\nkernel=6.1\r\n");
        assert.equal(os.name, "[31mred");
        assert.equal(kernel, "6.1");
    });

    it("knows a clock to be off only by what cannot be the way's time", () => {
        const skew = (start: number, end: number, before: number, after: number) =>
            parseSurvey(`clock.start=${start}\nclock.end=${end}\n`, { before, after }).clockSkew;
        assert.equal(skew(1000, 1001, 990, 1010), 0); // a slow connection
        assert.equal(skew(1000, 1000, 1000.9, 1001.2), 0); // the seconds' fraction
        assert.equal(skew(1100, 1101, 990, 1010), 91);
        assert.equal(skew(900, 901, 990, 1010), -89);
    });

    for (const [text, milliseconds] of [
        ["1s", 1_000],
        ["1m30s", 90_000],
        ["1h0m0s", 3_600_000],
        ["500ms", 500],
        ["1.5s", 1_500],
        ["", undefined],
        ["10", undefined],
        ["10s later", undefined],
    ] as const) {
        it(`reads Go's duration ${JSON.stringify(text)}`, () => assert.equal(parseGoDuration(text), milliseconds));
    }
});
