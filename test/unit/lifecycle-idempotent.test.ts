/**
 * What `check` gave can be given to it again and comes back the same: the engine does so with `ignoreChanges`, and compares
 * the one with the other at each `up`. Random arguments, with values that are not known yet among them.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { container } from "../../provider/lifecycle/container";
import { image } from "../../provider/lifecycle/image";
import type { Lifecycle } from "../../provider/lifecycle/lifecycle";
import { network } from "../../provider/lifecycle/network";
import { pod } from "../../provider/lifecycle/pod";
import { Run } from "../../provider/lifecycle/run";
import { task } from "../../provider/lifecycle/task";
import { UNKNOWN } from "../../provider/lifecycle/unknown";
import { localSshFiles } from "../../provider/transport/ssh/ssh-files";

const SEED = Number(process.env.TEST_SEED ?? 1);
const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;
const owner = (kind: string): string => `urn:pulumi:dev::p::pulumi-nodejs:dynamic/containerd:${kind}::web`;

function newRun(): Run {
    const settings = {
        nodes: { here: { socket: "/nowhere" } },
        defaultNode: "here",
        defaultNamespace: "default",
        registries: {},
        isSshHost: () => false,
    };
    return Run.start(settings, { progress: () => undefined, warn: () => undefined }, localSshFiles());
}

/** A value, seldom one that is not known yet. */
const known = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | string> =>
    fc.oneof({ weight: 12, arbitrary: value }, { weight: 1, arbitrary: fc.constant(UNKNOWN) });
/** A map with some of these arguments. */
const some = (model: Record<string, fc.Arbitrary<unknown>>, requiredKeys: string[] = []) =>
    fc.record(Object.fromEntries(Object.entries(model).map(([key, value]) => [key, known(value)])), { requiredKeys });
const word = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
const path = fc.stringMatching(/^\/[a-z]{1,6}(?:\/[a-z]{1,6})?$/);
const byName = (key: fc.Arbitrary<string>, value: fc.Arbitrary<unknown>) =>
    fc.dictionary(key, value, { maxKeys: 3, noNullPrototype: true });
const size = fc.oneof(
    fc.integer({ min: 32 << 20, max: 2 ** 40 }),
    fc.constantFrom("64MiB", "1.5g", "96m", "200 MB", "33554432"),
);
const duration = fc.oneof(
    fc.constantFrom("90s", "1m30s", "1500ms", "0.5s", "36h", "1d", "60m"),
    fc.integer({ min: 0, max: 10 ** 7 }).map((milliseconds) => `${milliseconds}ms`),
);
const scalar = fc.oneof(word, fc.integer(), fc.boolean());
const capabilities = fc.array(fc.constantFrom("NET_ADMIN", "cap_chown", "sys_Time", "ALL"), { maxLength: 4 });
const pinned = fc.constantFrom(
    `nginx@${DIGEST}`,
    `nginx:1.27@${DIGEST}`,
    `Registry.example:5000/team/app:v1@${DIGEST}`,
);

const common = { node: fc.constantFrom("here", "later"), namespace: word, labels: byName(word, scalar) };

/** What a Container and a member of a Pod have in common. */
const processArguments = {
    image: pinned,
    entrypoint: fc.array(fc.string({ minLength: 1 }).map((text) => text.replaceAll("\0", ""))),
    args: fc.array(word),
    env: byName(word, known(scalar)),
    files: byName(
        path,
        fc.oneof(
            fc.string(),
            some({ content: fc.string(), mode: fc.constantFrom("0644", "600"), uid: fc.nat() }, ["content"]),
            some({ base64: fc.base64String(), onChange: fc.constantFrom("restart", "none") }, ["base64"]),
        ),
    ),
    secrets: byName(word, known(fc.string())),
    workdir: path,
    user: fc.constantFrom("www-data", "1000", "1000:1000"),
    tty: fc.boolean(),
    readOnly: fc.boolean(),
    capabilities: some({ add: capabilities, drop: capabilities }),
    memory: some({ limit: size }),
    cpu: some({ cpus: fc.constantFrom(0.5, 1, 2), shares: fc.integer({ min: 2, max: 1024 }) }),
    pidsLimit: fc.integer({ min: -1, max: 1000 }),
    security: some({ noNewPrivileges: fc.boolean(), seccomp: fc.constantFrom("default", "unconfined") }),
    log: some({ driver: fc.constantFrom("file", "none"), maxSize: size, maxFiles: fc.integer({ min: 1, max: 9 }) }),
};

const ports = fc.constantFrom(
    ["8080:80"],
    ["9090:90/tcp", "8080:80", 7000],
    ["7000/udp", "127.0.0.1::7000", { container: 7000 }],
    [{ container: 53, protocol: "udp", hostIp: "127.0.0.1", host: 53 }, "[fd00::1]:53:53/udp"],
    ["10000-19999:10000-19999/udp", { container: "20000-20009", host: "20000-20009", protocol: "udp" }],
    [],
);
const networked = {
    ports,
    hosts: byName(word, fc.constantFrom("10.0.0.1", "fd00::1")),
    hostname: word,
    domainname: word,
    publishAll: fc.boolean(),
    dns: some({ servers: fc.array(fc.constantFrom("10.0.0.53", "fd00::53")), search: fc.array(word) }),
    sysctls: fc.constantFrom({ "net.core.somaxconn": 1024 }, { "kernel.shmmax": "1" }),
};

const containers = fc.oneof(
    some({ ...common, ...processArguments, name: word, network: fc.constantFrom("host", "none") }, [
        "image",
        "network",
    ]),
    some({ ...common, ...processArguments, ...networked, name: word, network: fc.constant("bridge") }, ["image"]),
);

const images = some(
    {
        ...common,
        ref: fc.oneof(pinned, fc.constantFrom("nginx", "nginx:1.27", "registry.example/app")),
        platform: fc.constantFrom("linux/amd64", "linux/arm64/v8"),
        snapshotter: word,
        auth: some({ username: word, password: fc.string() }, ["username", "password"]),
    },
    ["ref"],
    // What needs no registry: a digest in the reference, or `never`.
).map((args) => ({ ...args, ...(String(args["ref"]).includes("@") ? {} : { pull: "never" }) }));

const healthTimes = { interval: duration, timeout: duration, startPeriod: duration, retries: fc.integer({ min: 1 }) };
const probes = fc.oneof(
    some({ ...healthTimes, exec: fc.array(word, { minLength: 1 }) }, ["exec"]),
    some({ ...healthTimes, tcp: some({ port: fc.integer({ min: 1, max: 65535 }) }, ["port"]) }, ["tcp"]),
    some({ ...healthTimes, http: some({ port: fc.integer({ min: 1, max: 65535 }), path }, ["port"]) }, ["http"]),
);
const ofTask = { container: fc.constant("default/web-0123abc/0123"), node: common.node, triggers: fc.array(scalar) };
const tasks = fc.oneof(
    some({ ...ofTask, once: fc.constant(true) }, ["container", "once"]),
    some(
        {
            ...ofTask,
            restart: fc.constantFrom("no", "always", "unless-stopped", "on-failure", "on-failure:3"),
            health: fc.oneof(probes, fc.constant(false)),
            stop: some({ signal: fc.constantFrom("TERM", "SIGUSR1", "9"), timeout: duration }),
            desired: fc.constantFrom("running", "stopped"),
            generation: word,
        },
        ["container"],
    ),
);

const members = byName(
    fc.constantFrom("media", "proxy", "a-b"),
    some(
        {
            ...processArguments,
            restart: fc.constantFrom("no", "always", "on-failure:3"),
            health: fc.oneof(probes, fc.constant(false)),
            stop: some({ signal: fc.constantFrom("TERM", "SIGUSR1", "9"), timeout: duration }),
        },
        ["image"],
    ),
).filter((all) => Object.keys(all).length > 0);
const pods = some(
    {
        ...common,
        ...networked,
        name: word,
        network: fc.constantFrom("bridge"),
        initContainers: byName(fc.constantFrom("one", "two"), some(processArguments, ["image"])),
        containers: members,
        restart: fc.constantFrom("always", "on-failure"),
        triggers: fc.array(scalar),
    },
    ["containers"],
);

const networks = fc.oneof(
    some({
        ...common,
        name: word,
        subnet: fc.constantFrom("10.9.0.0/24", "192.168.7.0/28"),
        subnet6: fc.constantFrom("fd00:9::/64", ""),
        mtu: fc.integer({ min: 68, max: 9000 }),
        internal: fc.boolean(),
        masquerade: fc.boolean(),
    }),
    some({ ...common, driver: fc.constant("macvlan"), parent: word, subnet: fc.constant("10.9.0.0/24") }, [
        "driver",
        "parent",
        "subnet",
    ]),
    some({ ...common, driver: fc.constant("cni"), plugins: fc.constant([{ type: "ptp" }]) }, ["driver", "plugins"]),
);

describe("lifecycle: check of what check gave", () => {
    /** As the adapter hands it on. */
    const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

    async function comesBack<Inputs extends object, State extends Inputs>(
        life: Lifecycle<Inputs, State>,
        args: object,
    ): Promise<void> {
        const first = await life.check(newRun(), undefined, args);
        assert.deepEqual(first.failures, []);
        const inputs = plain(first.inputs) as Inputs;
        const second = await life.check(newRun(), inputs, inputs);
        assert.deepEqual(second.failures, []);
        assert.deepEqual(plain(second.inputs), inputs);
        // And so do the arguments themselves: the next `up` finds nothing changed.
        assert.deepEqual(plain((await life.check(newRun(), inputs, args)).inputs), inputs);
    }

    const kinds = [
        ["Image", images, (args: object) => comesBack(image, args)],
        ["Container", containers, (args: object) => comesBack(container, args)],
        ["Task", tasks, (args: object) => comesBack(task, args)],
        ["Pod", pods, (args: object) => comesBack(pod, args)],
        ["Network", networks, (args: object) => comesBack(network, args)],
    ] as const;
    for (const [kind, arbitrary, property] of kinds) {
        it(`is the same: ${kind} (TEST_SEED=${SEED})`, async () => {
            const all = fc.asyncProperty(arbitrary, (args) => property({ ...args, owner: owner(kind) }));
            await fc.assert(all, { seed: SEED, numRuns: 300 });
        });
    }
});
