/** The node's script as text: nothing that is in the settings becomes anything but data in it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { ContainerdError } from "../../provider/errors";
import { cniLines } from "../../provider/network/cni";
import { networkScript, parseLook } from "../../provider/network/script";
import type { Attachment, NetworkSettings } from "../../provider/network/settings";
import { containerFolder } from "../../provider/node/folders";
import type { LinuxResources } from "../../provider/spec/types";

const bridge: Attachment & { driver: "bridge" } = {
    driver: "bridge",
    network: "bridge",
    bridge: "pulumi0",
    internal: false,
    masquerade: true,
    ip4: { address: "10.127.0.5", prefix: 16, gateway: "10.127.0.1" },
    ip6: { address: "fd7c:6f6e:7461::5", prefix: 64, gateway: "fd7c:6f6e:7461::1" },
    mac: "02:42:0a:7f:00:05",
};
const settings: NetworkSettings = {
    key: "web@default",
    folder: containerFolder("default", "web"),
    namespaces: ["net", "ipc", "uts"],
    hostname: "web",
    shm: 65536,
    attachment: bridge,
    ports: [{ protocol: "udp", host: [10000, 19999], container: [10000, 19999] }],
    predecessor: "old@default",
    names: ["web", "www.example"],
    hosts: { db: "192.0.2.1" },
    dns: { servers: ["192.0.2.53"], search: ["lan"], options: ["ndots:2"] },
};
const cni = (plugin: Record<string, unknown>): NetworkSettings => ({
    ...settings,
    ports: [],
    attachment: {
        driver: "cni",
        network: "lan@default",
        cniVersion: "1.0.0",
        plugins: [{ type: "bridge", ...plugin }],
    },
});
const on = (more: object): NetworkSettings => ({ ...settings, attachment: { ...bridge, ...more } });
const macvlan = (more: object): NetworkSettings => ({
    ...settings,
    ports: [],
    attachment: {
        driver: "macvlan",
        network: "lan@default",
        parent: "eth0",
        mode: "bridge",
        ip4: bridge.ip4,
        mac: bridge.mac,
        ...more,
    } as Attachment,
});

const limited = (limits: LinuxResources): NetworkSettings => ({
    ...settings,
    cgroup: { path: "/default/web", limits },
});

/** Every place of the settings in which a text can stand. */
const PLACES: Record<string, (text: string) => NetworkSettings> = {
    key: (text) => ({ ...settings, key: text }),
    "key and folder": (text) => ({
        ...settings,
        key: `${text}@default`,
        folder: `/var/lib/pulumi-containerd/${text}@default`,
    }),
    folder: (text) => ({ ...settings, folder: text }),
    hostname: (text) => ({ ...settings, hostname: text }),
    predecessor: (text) => ({ ...settings, predecessor: text }),
    names: (text) => ({ ...settings, names: ["web", text] }),
    "name in hosts": (text) => ({ ...settings, hosts: { [text]: "192.0.2.1" } }),
    "address in hosts": (text) => ({ ...settings, hosts: { db: text } }),
    "dns.servers": (text) => ({ ...settings, dns: { ...settings.dns, servers: [text] } }),
    "dns.search": (text) => ({ ...settings, dns: { ...settings.dns, search: [text] } }),
    "dns.options": (text) => ({ ...settings, dns: { ...settings.dns, options: [text] } }),
    network: (text) => on({ network: text }),
    bridge: (text) => on({ bridge: text }),
    mac: (text) => on({ mac: text }),
    ip4: (text) => on({ ip4: { ...bridge.ip4, address: text } }),
    gateway: (text) => on({ ip4: { ...bridge.ip4, gateway: text } }),
    ip6: (text) => on({ ip6: { ...bridge.ip6, address: text } }),
    mtu: (text) => on({ mtu: text }),
    prefix: (text) => on({ ip4: { ...bridge.ip4, prefix: text } }),
    hostIp: (text) => ({
        ...settings,
        ports: [{ protocol: "tcp", hostIp: text, host: [80, 80], container: [80, 80] }],
    }),
    protocol: (text) => ({ ...settings, ports: [{ protocol: text as "tcp", host: [80, 80], container: [80, 80] }] }),
    port: (text) => ({
        ...settings,
        ports: [{ protocol: "tcp", host: [text as never, text as never], container: [80, 80] }],
    }),
    shm: (text) => ({ ...settings, shm: text as never }),
    "cgroup's path": (text) => ({ ...settings, cgroup: { path: text, limits: {} } }),
    "cgroup's name": (text) => ({ ...settings, cgroup: { path: `/default/${text}`, limits: {} } }),
    "cgroup's cpuset": (text) => limited({ cpu: { cpus: text } }),
    "cgroup's shares": (text) => limited({ cpu: { shares: text as never } }),
    "cgroup's memory": (text) => limited({ memory: { limit: text as never } }),
    "cgroup's swap": (text) => limited({ memory: { swap: text as never } }),
    "cgroup's pids": (text) => limited({ pids: { limit: text as never } }),
    parent: (text) => macvlan({ parent: text }),
    mode: (text) => macvlan({ mode: text }),
    "cni network": (text) => ({ ...cni({}), attachment: { ...cni({}).attachment, network: text } as Attachment }),
    "cni type": (text) => cni({ type: text }),
    "cni version": (text) => ({ ...cni({}), attachment: { ...cni({}).attachment, cniVersion: text } as Attachment }),
    "cni key": (text) => cni({ [text]: 1 }),
    "cni value": (text) => cni({ value: text, deep: [{ text }] }),
};

const HOSTILE = [
    "'",
    "''",
    "'\\''",
    '"',
    "`touch injected`",
    "$(touch injected)",
    "${IFS}",
    "\\",
    "\\n",
    "\n",
    "\r\n",
    "\ntouch injected\n",
    "'; touch injected; '",
    "';touch injected;:'",
    '"; touch injected; "',
    "&& touch injected",
    "| touch injected",
    "> injected",
    "*",
    "?",
    "[a-z]*",
    "~",
    "#",
    "%s%n",
    "%b\\0",
    "-n",
    "-e",
    "--",
    "\u0007\u001b[31m",
    "é",
    "日本",
    "\u202e",
    "\ud800",
    "\uffff",
    "END",
    "\nEND\n",
    "==",
    "\n==\n",
    "} ; flush ruleset; {",
    "a b",
    "\t",
    "web\n10.0.0.1 bank",
    "a".repeat(65536),
    "'".repeat(4096),
    "../../etc",
    "/",
    ".",
    "..",
    "@",
    "a@b@c",
    "eth0;reboot",
];
const hostile = fc.oneof(
    fc.constantFrom(...HOSTILE),
    fc
        .array(fc.oneof(fc.constantFrom(...HOSTILE.filter((one) => one.length < 100)), fc.string({ unit: "binary" })), {
            maxLength: 4,
        })
        .map((parts) => parts.join("")),
);

/** What the head of a script sets, as dash sees it: by name. */
function seen(scripts: readonly string[], folder: string): Map<string, string>[] {
    const show = scripts.map((script) => {
        const head = script.slice(0, script.indexOf("\nset -uf\n"));
        const names = [...head.matchAll(/^([a-z_0-9]+)='/gm)].map((match) => match[1] ?? "");
        // Texts may contain what looks like an assignment: such a name is not set, or is one of ours.
        return `(${head}\n${[...new Set(names)].map((name) => `printf '%s=%s\\0' ${name} "\${${name}-}"`).join("\n")})\nprintf '\\0'`;
    });
    const { stdout, stderr, status } = spawnSync("dash", [], {
        cwd: folder,
        input: show.join("\n"),
        encoding: "utf8",
        maxBuffer: 1 << 28,
    });
    assert.deepEqual({ status, stderr }, { status: 0, stderr: "" });
    return stdout
        .split("\0\0")
        .slice(0, scripts.length)
        .map(
            (text) =>
                new Map(
                    text
                        .split("\0")
                        .filter(Boolean)
                        .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
                ),
        );
}

describe("network: the node's script", () => {
    it("holds texts as data only, or refuses them: 1,000 hostile ones in every place", function () {
        this.timeout(120_000);
        const folder = mkdtempSync(path.join(tmpdir(), "network-script-"));
        try {
            const texts = [...HOSTILE, ...fc.sample(hostile, { numRuns: 1000, seed: 1 })];
            const made: { script: string; settings: NetworkSettings }[] = [];
            let refused = 0;
            for (const [place, put] of Object.entries(PLACES)) {
                for (const text of texts) {
                    const settings = put(text);
                    try {
                        made.push({ script: networkScript(settings), settings });
                    } catch (error) {
                        assert.ok(
                            error instanceof ContainerdError && error.code === "Invalid",
                            `${place} ${JSON.stringify(text)}: ${String(error)}`,
                        );
                        refused += 1;
                    }
                }
                // JSON has an escape for it.
                if (!/^cni (key|value)$/.test(place))
                    assert.throws(() => networkScript(put("\0")), { code: "Invalid" }, place);
            }
            // Both ends are met: what is refused, and what passes.
            assert.ok(refused > 1000 && made.length > 1000, `${refused} refused, ${made.length} made`);
            for (let from = 0; from < made.length; from += 200) {
                const some = made.slice(from, from + 200);
                const found = seen(
                    some.map(({ script }) => script),
                    folder,
                );
                some.forEach(({ settings }, index) => {
                    const variables = found[index];
                    assert.equal(variables?.get("key"), settings.key);
                    assert.equal(variables?.get("folder"), settings.folder);
                    assert.equal(variables?.get("names"), settings.names.join(" "));
                    assert.equal(variables?.get("dns_search"), settings.dns.search.join(" "));
                    assert.equal(variables?.get("cni_plugins"), cniLines(settings));
                    assert.equal(variables?.get("driver"), settings.attachment.driver);
                    assert.equal(variables?.get("cgroup"), settings.cgroup?.path ?? "");
                });
            }
            assert.deepEqual(readdirSync(folder), [], "a text was run as a command");
        } finally {
            rmSync(folder, { recursive: true });
        }
    });

    it("is one that dash reads, and short enough for an argument", () => {
        const ports = Array.from({ length: 500 }, (_, index) => ({
            protocol: "udp" as const,
            hostIp: `192.0.2.${index % 5}`,
            host: [1000 + index, 1000 + index] as [number, number],
            container: [9, 9] as [number, number],
        }));
        for (const one of [settings, { ...settings, ports }, macvlan({}), cni({}), on({ ip6: undefined })]) {
            const script = networkScript(one);
            assert.deepEqual(spawnSync("dash", ["-n"], { input: script, encoding: "utf8" }).stderr, "");
            assert.ok(Buffer.byteLength(script) < 128 * 1024, String(Buffer.byteLength(script)));
        }
    });

    it("is not made of what no node can give", () => {
        const port = { protocol: "tcp", host: [80, 80], container: [80, 80] } as const;
        const ports = [{ ...port, host: [80, 80] as [number, number], container: [80, 80] as [number, number] }];
        for (const [wrong, property, reason] of [
            [{ ...on({ internal: true }), ports }, "ports", /internal network/],
            [{ ...macvlan({}), ports }, "ports", /macvlan network: its address is reached directly/],
            [{ ...settings, ports, attachment: { driver: "none" } }, "ports", /without a network/],
            [{ ...on({ ip6: undefined }), ports: [{ ...ports[0], hostIp: "::" }] }, "ports", /the network has no IPv6/],
            [{ ...cni({}), ports }, "ports", /no plugin of this CNI network publishes ports: add portmap/],
            [{ ...settings, ports: [{ ...port, host: [1, 2], container: [3, 4] }] }, "ports", /shifted/],
            [on({ ip4: undefined, ip6: undefined }), "network.ip", /is needed/],
            [{ ...settings, hostname: undefined }, "hostname", /is needed/],
            [{ ...settings, cgroup: { path: "/default/other", limits: {} } }, "cgroup", /is not the pod's/],
            [limited({ cpu: { cpus: "0-1 3" } }), "cpu.cpuset", /is no list of processors/],
            [limited({ memory: { limit: 1.5 } }), "memory.limit", /1\.5 is no whole number/],
        ] as [NetworkSettings, string, RegExp][]) {
            assert.throws(() => networkScript(wrong), { code: "Invalid", property, message: reason });
        }
        const script = networkScript(
            limited({ cpu: { cpus: "0-1,3" }, memory: { limit: 1 << 30 }, pids: { limit: 9 } }),
        );
        assert.match(script, /^2 cpuset cpuset\.cpus 0-1,3'?$/m);
        const portMappings: unknown = {
            ...cni({ capabilities: { portMappings: true } }),
            ports: [{ ...ports[0], host: [1, 1001], container: [1, 1001] }],
        };
        assert.throws(() => networkScript(portMappings as NetworkSettings), {
            message: /1001 ports: a CNI plugin makes a rule for each/,
        });
    });

    it("is understood in what it says of what it saw", () => {
        assert.deepEqual(parseLook("looked\n"), []);
        assert.deepEqual(parseLook("wrong eth0 is not there\nwrong a\nwrong a\nlooked\n"), ["eth0 is not there", "a"]);
        for (const cut of ["", "wrong a\n", "nft list did not answer in time"]) {
            assert.throws(() => parseLook(cut), { code: "Failed", message: /could not be looked at/ });
        }
    });
});
