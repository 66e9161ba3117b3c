/** What `check` says of wrong arguments: each row one sentence with the argument's path. And of right ones: how they are kept. */
import assert from "node:assert/strict";
import { containerSchema, contradictions, withDefaults } from "../../provider/lifecycle/check/container";
import * as s from "../../provider/lifecycle/check/schema";
import { taskSchema } from "../../provider/lifecycle/check/task";
import { formatPath, validate } from "../../provider/lifecycle/check/validate";
import { UNKNOWN } from "../../provider/lifecycle/unknown";

const owner = "urn:pulumi:dev::p::t::web";
const SECRET = "hush-hush-value";

/** `path: reason` of all that is wrong. */
function problems(schema: s.Schema, input: unknown): string[] {
    return validate(schema, input).failures.map(({ property, reason }) => `${property}: ${reason}`);
}

describe("lifecycle: wrong arguments of a Container", () => {
    const rows: [args: Record<string, unknown>, says: RegExp][] = [
        [{ imgae: "x" }, /^imgae: is not an argument of this resource: did you mean `image`\?$/],
        [{ zzzzzzzz: 1 }, /^zzzzzzzz: is not an argument of this resource\. There are: .*entrypoint/],
        [{ command: ["x"] }, /^command: .*`entrypoint`.*`args`/],
        [{ image: undefined }, /^image: is missing: it must be an Image or a reference like "nginx:1.27"$/],
        [{ image: 5 }, /^image: must be an Image or a reference.*, not a number$/],
        [{ name: "a/b" }, /^name: may hold letters, digits/],
        [{ name: "x".repeat(77) }, /^name: must be at most 76 characters long, and has 77$/],
        [{ namespace: "-" }, /^namespace: may hold/],
        [{ args: "x" }, /^args: must be a list, not a text$/],
        [{ args: ["a", 5] }, /^args\[1\]: must be a text, not a number$/],
        [{ args: ["a\0b"] }, /^args\[0\]: must not hold a NUL character$/],
        [{ env: { "A=B": "1" } }, /^env\["A=B"\]: the name of an environment variable must not hold "="$/],
        [{ env: { "": "1" } }, /^env\[""\]: an environment variable needs a name$/],
        [{ env: { A: {} } }, /^env\.A: must be a text, number or boolean, not a map$/],
        [{ env: ["A=1"] }, /^env: must be a map, not a list$/],
        [{ files: { "a.txt": "x" } }, /^files\["a\.txt"\]: must be an absolute path$/],
        [{ files: { "/a/../../b": "x" } }, /^files\["\/a\/\.\.\/\.\.\/b"\]: must not hold "\.\."$/],
        [{ files: { "/a": {} } }, /^files\["\/a"\]: needs exactly one of `content` and `base64`$/],
        [{ files: { "/a": { content: "x", base64: "eA==" } } }, /^files\["\/a"\]: needs exactly one of/],
        [{ files: { "/a": { base64: "?" } } }, /^files\["\/a"\]\.base64: is not base64$/],
        [
            { files: { "/a": { content: "x", mode: "rw" } } },
            /^files\["\/a"\]\.mode: must be an octal mode like "0644"$/,
        ],
        [{ files: { "/a": { content: "x", uid: -1 } } }, /^files\["\/a"\]\.uid: must be at least 0, not -1$/],
        [
            { files: { "/a": { content: "x", onChange: "reload" } } },
            /^files\["\/a"\]\.onChange: must be one of "restart", "none", not "reload"$/,
        ],
        [{ secrets: { "../pw": "x" } }, /^secrets\["\.\.\/pw"\]: a secret's name may hold/],
        [{ mounts: { "/m": { bind: "srv" } } }, /^mounts\["\/m"\]\.bind: must be an absolute path$/],
        [{ mounts: { "/m": {} } }, /^mounts\["\/m"\]: needs exactly one of `bind`, `tmpfs`, `scratch` and `volume`$/],
        [{ mounts: { "/m": { tmpfs: { size: "lots" } } } }, /^mounts\["\/m"\]\.tmpfs\.size: is not a size/],
        [{ mounts: { "/m": { bind: "/s", propagation: "shared" } } }, /^mounts\["\/m"\]\.propagation: must be one of/],
        [{ workdir: "srv" }, /^workdir: must be an absolute path$/],
        [{ user: "a:b:c" }, /^user: must be like "www-data"/],
        [{ hostname: "-" }, /^hostname: must be at most 63/],
        [{ domainname: "a b" }, /^domainname: must be at most 63/],
        [{ publishAll: "yes" }, /^publishAll: must be true or false, not a text$/],
        [{ tty: "yes" }, /^tty: must be true or false, not a text$/],
        [{ capabilities: { add: ["FLY"] } }, /^capabilities\.add\[0\]: is no capability of Linux/],
        [{ network: "hots" }, /^network: must be one of "bridge", "host", "none", not "hots"$/],
        [{ memory: { limit: -1 } }, /^memory\.limit: must not be negative, and is -1$/],
        [{ memory: { limit: "1k" } }, /^memory\.limit: must be at least 6291456 bytes$/],
        [
            { memory: { limit: "much" } },
            /^memory\.limit: is not a size: write bytes as a number, or like "512MiB" or "2g"$/,
        ],
        [{ memory: { swap: -2 } }, /^memory\.swap: must not be negative, and is -2$/],
        [{ memory: "64MiB" }, /^memory: must be a map, not a text$/],
        [{ cpu: { cpus: 0 } }, /^cpu\.cpus: must be at least 0\.01, not 0$/],
        [{ cpu: { shares: 1 } }, /^cpu\.shares: must be from 2 to 262144, not 1$/],
        [{ cpu: { cpuset: "a" } }, /^cpu\.cpuset: must be a list of processors like "0-1,3"$/],
        [{ pidsLimit: 1.5 }, /^pidsLimit: must be a whole number, not 1\.5$/],
        [{ labels: { "containerd.io/x": "1" } }, /^labels\["containerd\.io\/x"\]: labels that begin like this/],
        [{ log: { driver: "syslog" } }, /^log\.driver: must be one of "file", "none", not "syslog"$/],
        [{ log: { maxSize: 1 } }, /^log\.maxSize: must be at least 4096 bytes$/],
        [{ log: { maxFiles: 0 } }, /^log\.maxFiles: must be from 1 to 1000, not 0$/],
        [{ security: { seccomp: "off" } }, /^security\.seccomp: must be one of "default", "unconfined", not "off"$/],
    ];
    for (const [args, says] of rows) {
        it(JSON.stringify(args).slice(0, 70), () => {
            const found = problems(containerSchema, { owner, image: "x", network: "none", ...args });
            assert.equal(found.length, 1, found.join("\n"));
            assert.match(found[0]!, says);
        });
    }

    it("says all that is wrong at once", () => {
        const found = problems(containerSchema, { owner, image: 5, env: { "A=": 1 }, memory: { limit: -1 }, nope: 1 });
        assert.equal(found.length, 4, found.join("\n"));
    });

    it("does not repeat what could be a secret", () => {
        const found = problems(containerSchema, {
            owner,
            image: [SECRET],
            args: { a: SECRET },
            env: { A: { a: SECRET } },
            files: { "/a": { base64: `?${SECRET}` } },
            secrets: { pw: [SECRET], "a b": SECRET },
            memory: { limit: SECRET },
            user: `a b ${SECRET}`,
        });
        assert.ok(found.length >= 8, found.join("\n"));
        assert.equal(found.join("\n").includes(SECRET), false, found.join("\n"));
    });
});

describe("lifecycle: arguments of a Container that do not go together", () => {
    const rows: [args: object, says: RegExp][] = [
        [{ ports: ["80:80"] }, /^ports: can't be published without a network/],
        [{ publishAll: true }, /^publishAll: can't be published without a network/],
        [{ network: "host", publishAll: true }, /^publishAll: say nothing with network "host"/],
        [{ network: "bridge", ports: ["80", "80/tcp"] }, /^ports\[1\]: 80\/tcp is there twice$/],
        [{ network: "host", domainname: "a.test" }, /^domainname: is the node's own with network "host"$/],
        [
            { network: { container: "default/a/1" }, domainname: "a.test" },
            /^domainname: belongs to the Container whose network it is$/,
        ],
        [
            { domainname: "a.test", sysctls: { "kernel.domainname": "b" } },
            /^sysctls\["kernel\.domainname"\]: is what `domainname` says/,
        ],
        [{ network: "host", ports: ["80:80"] }, /^ports: say nothing with network "host"/],
        [
            { network: { container: "default/a/1" }, ports: ["80:80"] },
            /^ports: belong to the Container whose network it is$/,
        ],
        [{ network: "bridge", ports: ["80:80", "9:1:2:3"] }, /^ports\[1\]: /],
        [
            { network: { definition: { key: "a@b", driver: "bridge", internal: true } }, ports: ["80:80"] },
            /^ports: can't be published on an internal Network$/,
        ],
        [
            { network: { definition: { key: "a@b", driver: "macvlan", parent: "eth0" } }, ports: ["80:80"] },
            /^ports: are not needed on a macvlan/,
        ],
        [{ network: "host", hosts: { db: "10.0.0.1" } }, /^hosts: is the node's own with network "host"$/],
        [
            { network: "host", sysctls: { "net.core.somaxconn": "1" } },
            /^sysctls\["net\.core\.somaxconn"\]: is the node's with/,
        ],
        [{ sysctls: { "vm.swappiness": "1" } }, /^sysctls\["vm\.swappiness"\]: is the whole node's/],
        [{ memory: { swap: 1 << 26 } }, /^memory\.swap: needs `memory\.limit` beside it/],
        [{ memory: { limit: 1 << 27, swap: 1 << 26 } }, /^memory\.swap: is less than `memory\.limit`/],
        [{ memory: { limit: 1 << 26, reservation: 1 << 27 } }, /^memory\.reservation: is more than `memory\.limit`$/],
        [
            { files: { "/a": { content: "" } }, mounts: { "/a": { bind: "/s" } } },
            /^mounts\["\/a"\]: is a file of `files` already$/,
        ],
        [
            { privileged: true, security: { seccomp: "default" } },
            /^security\.seccomp: has no effect on a privileged container/,
        ],
        [
            { labels: { big: "x".repeat(4096) } },
            /^labels\.big: has 4099 bytes with its name, and containerd takes 4096/,
        ],
    ];
    for (const [args, says] of rows) {
        it(JSON.stringify(args).slice(0, 70), () => {
            const found = contradictions({ network: "none", ...args });
            assert.equal(found.length, 1);
            assert.match(`${found[0]!.property}: ${found[0]!.reason}`, says);
        });
    }

    it("finds nothing in what is well", () => {
        assert.deepEqual(
            contradictions({ network: "host", memory: { limit: 1 << 26, swap: -1, reservation: 1 << 25 } }),
            [],
        );
    });
});

describe("lifecycle: wrong arguments of a Task", () => {
    const rows: [args: Record<string, unknown>, says: RegExp][] = [
        [{ container: undefined }, /^container: is missing: it must be a Container$/],
        [{ restart: "sometimes" }, /^restart: must be "no", "always"/],
        [{ restart: "on-failure:0" }, /^restart: must be/],
        [{ health: {} }, /^health: needs exactly one of `exec`, `http` and `tcp`, and has none$/],
        [{ health: { tcp: { port: 1 }, exec: ["x"] } }, /^health: needs exactly one of .*, and has 2$/],
        [{ health: { exec: [] } }, /^health: `exec` names no command$/],
        [{ health: { tcp: { port: 0 } } }, /^health\.tcp\.port: must be from 1 to 65535, not 0$/],
        [{ health: { tcp: {} } }, /^health\.tcp\.port: is missing/],
        [{ health: { http: { port: 80, path: "x" } } }, /^health\.http\.path: must begin with "\/"$/],
        [{ health: { http: { port: 80, status: 42 } } }, /^health\.http\.status: must be from 100 to 599, not 42$/],
        [{ health: { tcp: { port: 1 }, interval: "10" } }, /^health\.interval: is not a duration/],
        [{ health: { tcp: { port: 1 }, timeuot: "10s" } }, /^health\.timeuot: .*did you mean `timeout`\?$/],
        [{ stop: { signal: "SIGNONE" } }, /^stop\.signal: is no signal of Linux/],
        [{ desired: "paused" }, /^desired: must be one of "running", "stopped", not "paused"$/],
    ];
    for (const [args, says] of rows) {
        it(JSON.stringify(args).slice(0, 70), () => {
            const found = problems(taskSchema, { owner, container: "default/web/0123", ...args });
            assert.equal(found.length, 1, found.join("\n"));
            assert.match(found[0]!, says);
        });
    }
});

describe("lifecycle: right arguments", () => {
    const full = {
        owner,
        image: "nginx",
        network: "host",
        env: { A: 1, B: true, C: "x", D: undefined, E: null },
        files: { "/a": "text", "/b": { base64: "eA==", mode: "0600" } },
        capabilities: { add: ["CAP_SYS_TIME", "net_admin", "NET_ADMIN"] },
        memory: { limit: "64m", swap: -1 },
        mounts: { "/m": { tmpfs: { size: "1MiB" } } },
        log: { maxSize: "1m" },
        labels: { a: 5 },
        tty: undefined,
    };

    it("resolves units and short forms, and drops what is absent", () => {
        const { value, failures } = validate(containerSchema, full);
        assert.deepEqual(failures, []);
        assert.deepEqual(JSON.parse(JSON.stringify(withDefaults(value as object))), {
            owner,
            image: "nginx",
            network: "host",
            env: { A: "1", B: "true", C: "x" },
            files: { "/a": { content: "text" }, "/b": { base64: "eA==", mode: "0600" } },
            capabilities: { add: ["NET_ADMIN", "SYS_TIME"] },
            memory: { limit: 64 << 20, swap: -1 },
            mounts: { "/m": { tmpfs: { size: 1 << 20 } } },
            log: { driver: "file", maxSize: 1 << 20, maxFiles: 3 },
            labels: { a: "5" },
        });
    });

    it("takes what it gave once more and leaves it as it is: ignoreChanges and a replacement's second check do that", () => {
        const once = withDefaults(validate(containerSchema, full).value as object);
        const kept = JSON.parse(JSON.stringify(once)) as object;
        const twice = validate(containerSchema, kept);
        assert.deepEqual(twice.failures, []);
        assert.deepEqual(JSON.parse(JSON.stringify(withDefaults(twice.value as object))), kept);
        const task = validate(taskSchema, {
            owner,
            container: "a/b/c",
            health: { tcp: { port: 1 }, interval: "90s", timeout: "0.5s" },
            stop: { timeout: "1.5m" },
        }).value;
        assert.deepEqual(validate(taskSchema, task).value, task);
    });

    it("takes a value that is not known yet anywhere", () => {
        const { failures } = validate(containerSchema, {
            owner,
            image: UNKNOWN,
            env: { A: UNKNOWN },
            args: [UNKNOWN],
            files: { "/a": UNKNOWN, "/b": { content: UNKNOWN } },
            memory: { limit: UNKNOWN },
            secrets: UNKNOWN,
            capabilities: { add: [UNKNOWN] },
            network: UNKNOWN,
            node: UNKNOWN,
        });
        assert.deepEqual(failures, []);
        assert.deepEqual(
            validate(taskSchema, { owner, container: UNKNOWN, health: UNKNOWN, restart: UNKNOWN }).failures,
            [],
        );
    });

    it("takes health: false as none", () => {
        const { value, failures } = validate(taskSchema, { owner, container: "a/b/c", health: false });
        assert.deepEqual(failures, []);
        assert.equal((value as { health?: unknown }).health, undefined);
    });

    it("writes paths as TypeScript does", () => {
        assert.equal(formatPath(["files", "/etc/x", "mode"]), 'files["/etc/x"].mode');
        assert.equal(formatPath(["args", 0]), "args[0]");
        assert.equal(formatPath([]), "");
        assert.equal(formatPath(['a"b']), '["a\\"b"]');
    });
});
