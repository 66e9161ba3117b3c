/** Which machines are logged in at on the way to a node, and which nodes share a connection. Nothing is connected to. */
import assert from "node:assert/strict";
import { ContainerdError } from "../../provider/errors";
import { SshPool } from "../../provider/transport/ssh/pool";
import type { ConnectionSettings } from "../../provider/transport/ssh/settings";
import { resolveTargets } from "../../provider/transport/ssh/target";
import { failsWith } from "../helpers/image";
import { sshFiles } from "../helpers/ssh-files";

const CONFIG = "/home/ann/.ssh/config";
const PIN = `SHA256:${"A".repeat(43)}`;

/** `user@host:port` of each target, in order, as the node or machine that it is called. */
function way(
    node: string,
    settings: ConnectionSettings,
    nodes: Record<string, ConnectionSettings> = {},
    config = "",
): string[] {
    return resolveTargets(node, settings, sshFiles({ [CONFIG]: config }), (name) => nodes[name]).map(
        (target) => `${target.node} = ${target.user}@${target.host}:${target.port}`,
    );
}

describe("what is wrong with a node's key", () => {
    for (const [origin, property] of [
        ["config", "config containerd:nodes.a.identityFile"],
        ["connection", "connection.identityFile"],
    ] as const) {
        it(`is said under the name that it has in the ${origin}`, async () => {
            const settings = { host: "x", identityFile: "/nowhere" };
            const [target] = resolveTargets("a", settings, sshFiles(), () => undefined, origin);
            await assert.rejects(
                async () => target?.authentication(),
                (error: Error) => error instanceof ContainerdError && error.property === property,
            );
        });
    }
});

describe("ssh: the machines on the way to a node", () => {
    it("is the node alone, as the user who runs this, on port 22", () => {
        assert.deepEqual(way("a", { host: "192.0.2.1" }), ["a = ann@192.0.2.1:22"]);
        assert.deepEqual(way("a", { host: "192.0.2.1", user: "root", port: 2222 }), ["a = root@192.0.2.1:2222"]);
    });

    it("takes from ssh_config what the stack's config does not say", () => {
        const config = "Host edge\n  HostName 192.0.2.9\n  Port 2022\n  User ops\n";
        assert.deepEqual(way("a", { host: "edge" }, {}, config), ["a = ops@192.0.2.9:2022"]);
        assert.deepEqual(way("a", { host: "edge", user: "root" }, {}, config), ["a = root@192.0.2.9:2022"]);
    });

    it("goes through machines by name, address or user@host:port, several in their order", () => {
        assert.deepEqual(way("a", { host: "192.0.2.1", jump: "ops@gate:2022,192.0.2.3" }), [
            "gate = ops@gate:2022",
            "192.0.2.3 = ann@192.0.2.3:22",
            "a = ann@192.0.2.1:22",
        ]);
    });

    it("reaches a machine on the way that is a node itself as that node is, with what is on its way", () => {
        const nodes = {
            gate: { host: "192.0.2.2", user: "jumper", port: 2022, jump: "outer" },
            outer: { host: "192.0.2.3", user: "root" },
        };
        assert.deepEqual(way("a", { host: "192.0.2.1", jump: "gate" }, nodes), [
            "outer = root@192.0.2.3:22",
            "gate = jumper@192.0.2.2:2022",
            "a = ann@192.0.2.1:22",
        ]);
    });

    it("takes the jump of ssh_config, unless the stack's config says `none`", () => {
        const config = "Host edge\n  HostName 192.0.2.9\n  ProxyJump gate\n";
        assert.deepEqual(way("a", { host: "edge" }, {}, config), ["gate = ann@gate:22", "a = ann@192.0.2.9:22"]);
        assert.deepEqual(way("a", { host: "edge", jump: "none" }, {}, config), ["a = ann@192.0.2.9:22"]);
    });

    it("refuses a way that leads back to itself, and says which", () => {
        const nodes = { a: { host: "x", jump: "b" }, b: { host: "y", jump: "c" }, c: { host: "z", jump: "a" } };
        const loop = failsWith("Invalid", /^node a, jump: the way leads back to itself: a -> b -> c -> a$/);
        assert.throws(() => way("a", nodes.a, nodes), loop);
        const own = failsWith("Invalid", /leads back to itself: a -> a$/);
        assert.throws(() => way("a", { host: "x", jump: "a" }, { a: { host: "x", jump: "a" } }), own);
    });

    it("counts seconds as ssh_config says, else 15 to connect and 15 of silence", () => {
        const [usual] = resolveTargets("a", { host: "x" }, sshFiles(), () => undefined);
        assert.deepEqual(
            [usual!.connectTimeout, usual!.keepaliveInterval, usual!.keepaliveCountMax],
            [15_000, 15_000, 3],
        );
        const text = "Host *\n  ConnectTimeout 4\n  ServerAliveInterval 5\n  ServerAliveCountMax 2\n";
        const [said] = resolveTargets("a", { host: "x" }, sshFiles({ [CONFIG]: text }), () => undefined);
        assert.deepEqual([said!.connectTimeout, said!.keepaliveInterval, said!.keepaliveCountMax], [4_000, 5_000, 2]);
    });

    it("keeps secrets out of what tells connections apart", () => {
        const settings = { host: "x", password: "hush-hush", passphrase: "hush-hush", privateKey: "hush-hush" };
        const [target] = resolveTargets("a", settings, sshFiles(), () => undefined);
        assert.doesNotMatch(target!.key, /hush/);
    });
});

describe("ssh: which nodes share a connection", () => {
    const key = (node: string, settings: ConnectionSettings) =>
        resolveTargets(node, settings, sshFiles(), () => undefined).at(-1)!.key;

    it("those of one name that are reached alike; not those behind another jump, or with another pinned key", () => {
        const settings = { host: "192.0.2.1", user: "root" };
        assert.equal(key("a", settings), key("a", { ...settings }));
        const others = [{ port: 2222 }, { user: "ops" }, { jump: "gate" }, { hostKey: PIN }, { host: "192.0.2.2" }];
        const keys = [key("a", settings), ...others.map((other) => key("a", { ...settings, ...other }))];
        assert.equal(new Set(keys).size, keys.length);
    });

    it("a pool refuses what cannot be reached before anybody connects, and closes twice", async () => {
        const nodes: Record<string, ConnectionSettings> = { a: { host: "x", jump: "b" }, b: { host: "y", jump: "a" } };
        const pool = new SshPool(sshFiles(), (name) => nodes[name]);
        assert.throws(() => pool.transport("a", nodes.a!), failsWith("Invalid", /leads back to itself/));
        const transport = pool.transport("c", { host: "192.0.2.1", socket: "/run/x.sock" });
        assert.deepEqual([transport.node, transport.socket, transport.failure], ["c", "/run/x.sock", undefined]);
        await transport.close();
        await transport.close();
        await assert.rejects(transport.containerdAddress(), failsWith("Failed", /closed before this call/));
    });

    it("one that goes through a machine outlives another that goes there too", async () => {
        const nodes: Record<string, ConnectionSettings> = { gate: { host: "127.0.0.1", port: 1 } };
        const pool = new SshPool(sshFiles(), (name) => nodes[name]);
        const gate = pool.transport("gate", nodes.gate!);
        const behind = pool.transport("behind", { host: "192.0.2.1", jump: "gate" });
        await gate.close();
        // The gate's port is closed: it was tried, so it was not given up with the first one.
        await assert.rejects(behind.containerdAddress(), failsWith("Unreachable", /node gate: .*refuses connections/));
        await behind.close();
    });
});
