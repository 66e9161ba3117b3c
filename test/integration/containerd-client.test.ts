/** The client against real containerds: calls, streams, deadlines, cancelling, and a containerd that is not there. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startWorker, type Worker } from "../../playground/worker";
import { packAny, packJson, unpackAny, unpackJson } from "../../provider/containerd/anys";
import { Client } from "../../provider/containerd/client";
import { nodeFacts } from "../../provider/containerd/facts";
import { withLease } from "../../provider/containerd/leases";
import { ContainerdError, type ErrorCode } from "../../provider/errors";
import { unixTransport } from "../../provider/transport/unix";

/** For `assert.rejects`: an error of this package that says this. */
function says(code: ErrorCode, sentence: RegExp) {
    return (error: unknown): boolean => {
        assert.ok(error instanceof ContainerdError, String(error));
        assert.equal(error.code, code, error.message);
        assert.match(error.message, sentence);
        assert.equal(error.node, "edge-1");
        return true;
    };
}

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
    const found: T[] = [];
    for await (const item of stream) found.push(item);
    return found;
}

for (const version of ["1.6", "2"] as const) {
    describe(`client of containerd ${version}`, function () {
        this.timeout(120_000);
        let worker: Worker;
        let client: Client;

        before(async () => {
            worker = await startWorker({ version });
            client = await Client.connect(unixTransport("edge-1", worker.address), "client-test");
        });
        after(async () => {
            client?.close();
            await worker?.stop();
        });

        const container = (id: string) => ({
            container: {
                id,
                image: "none",
                runtime: { name: "io.containerd.runc.v2" },
                spec: packJson("spec", { ociVersion: "1.0.2" }),
            },
        });

        it("makes, finds, changes and removes a container", async () => {
            await client.containers.create(container("a"));
            await client.containers.update({
                container: { id: "a", labels: { x: "1" } },
                update_mask: { paths: ["labels.x"] },
            });
            const { container: found } = await client.containers.get({ id: "a" });
            assert.deepEqual(found?.labels, { x: "1" });
            assert.deepEqual(unpackJson("spec", found.spec), { ociVersion: "1.0.2" });
            assert.equal((await client.inNamespace("elsewhere").containers.list({})).containers.length, 0);
            assert.match(await worker.ctr("-n", "client-test", "containers", "ls", "-q"), /^a$/m);
            await assert.rejects(
                client.containers.create(container("a")),
                says("AlreadyExists", /containers\.create a: /),
            );
            await client.containers.delete({ id: "a" });
            await assert.rejects(
                client.containers.get({ id: "a" }),
                says("NotFound", /^node edge-1: containers\.get a: /),
            );
        });

        it("names the argument in an error", async () => {
            await assert.rejects(
                client.containers.create(container("not/an/id"), { property: "name" }),
                says("Invalid", /^node edge-1, name: containers\.create not\/an\/id: /),
            );
        });

        it("streams answers, and the error of a stream", async () => {
            await client.snapshots.prepare({
                snapshotter: "native",
                key: "s",
                labels: { "containerd.io/gc.root": "1" },
            });
            const lists = await all(client.snapshots.list({ snapshotter: "native" }));
            assert.deepEqual(
                lists.flatMap(({ info }) => info.map(({ name, kind }) => [name, kind])),
                [["s", "ACTIVE"]],
            );
            await client.snapshots.remove({ snapshotter: "native", key: "s" });
            const missing = client.content.read({ digest: `sha256:${"0".repeat(64)}` });
            await assert.rejects(all(missing), says("NotFound", /content\.read sha256:0/));
        });

        it("gives events as they come; leaving the loop ends the call", async () => {
            const events = client.events.subscribe({ filters: ['topic=="/namespaces/create"'] });
            const making = new AbortController();
            // A subscription counts from the moment containerd sees it, which nothing tells: namespaces are made until one is heard of.
            const made = (async () => {
                for (let n = 0; !making.signal.aborted; n++) {
                    await client.namespaces.create({ namespace: { name: `events-${n}` } });
                    await client.namespaces.delete({ name: `events-${n}` });
                }
            })();
            for await (const { topic } of events) {
                assert.equal(topic, "/namespaces/create");
                break;
            }
            making.abort();
            await made;
            assert.deepEqual(await all(events).catch((error: unknown) => error), []);
        });

        it("ends a call at its deadline and when it is cancelled", async () => {
            const waiting = client.events.subscribe({}, { timeout: 200 });
            await assert.rejects(
                all(waiting),
                says("Timeout", /events\.subscribe: containerd did not answer within 0\.2 s/),
            );
            const cancel = new AbortController();
            const listening = all(client.events.subscribe({}, { signal: cancel.signal }));
            cancel.abort(new Error("enough"));
            await assert.rejects(listening, says("Failed", /cancelled/));
            await assert.rejects(client.version.version({}, { signal: cancel.signal }), says("Failed", /cancelled/));
        });

        it("knows what this containerd is", async () => {
            const facts = await nodeFacts(client);
            assert.equal(facts, await nodeFacts(client.inNamespace("other")));
            assert.deepEqual([facts.major, facts.minor > 0], version === "1.6" ? [1, true] : [2, true]);
            assert.equal(facts.restartMonitor, true);
            assert.ok(
                facts.snapshotters.includes("overlayfs") && facts.snapshotters.includes("native"),
                facts.snapshotters.join(),
            );
            assert.match(facts.platform, /^linux\/(amd64|arm64)/);
            assert.equal(facts.plugins.includes("io.containerd.grpc.v1.transfer"), version === "2");
        });

        it("has the transfer service from 1.7 on", async () => {
            const source = await packAny("containerd.types.transfer.OCIRegistry", {
                reference: "127.0.0.1:1/none:latest",
                resolver: { default_scheme: "http" },
            });
            const destination = await packAny("containerd.types.transfer.ImageStore", { name: "none" });
            const expected =
                version === "1.6"
                    ? says("Unsupported", /this version of containerd does not have it/)
                    : says("Failed", /127\.0\.0\.1:1/);
            await assert.rejects(client.transfer.transfer({ source, destination }), expected);
        });

        it("sends and receives on a stream of its own", async function () {
            if (version === "1.6")
                return assert.rejects(all(client.streaming.stream()), says("Unsupported", /streaming\.stream/));
            const stream = client.streaming.stream();
            await stream.send(await packAny("containerd.services.streaming.v1.StreamInit", { id: "one" }));
            // containerd says by an empty message that the stream stands.
            const { value } = await stream[Symbol.asyncIterator]().next();
            assert.equal(value?.type_url, "google.protobuf.Empty");
            stream.cancel();
        });

        it("keeps by a lease, and ends it whatever happens", async () => {
            const prepare = (leased: Client, key: string) => leased.snapshots.prepare({ snapshotter: "native", key });
            const names = async () =>
                (await all(client.snapshots.list({ snapshotter: "native" }))).flatMap(({ info }) =>
                    info.map(({ name }) => name),
                );
            const id = await withLease(client, { owner: "me", labels: { y: "2" } }, async (leased) => {
                await prepare(leased, "kept");
                const [lease] = (await client.leases.list({ filters: ['labels."pulumi-containerd/owner"==me'] }))
                    .leases;
                assert.equal(lease?.labels["y"], "2");
                assert.ok(Date.parse(lease.labels["containerd.io/gc.expire"] ?? "") > Date.now());
                assert.deepEqual(await names(), ["kept"]);
                return lease.id;
            });
            assert.deepEqual(await names(), []);
            await assert.rejects(prepare(client.withLease(id), "late"), says("NotFound", /snapshots\.prepare late/));
            const failing = withLease(client, { owner: "me" }, async (leased) => {
                await prepare(leased, "failed");
                throw new Error("in the middle");
            });
            await assert.rejects(failing, /in the middle/);
            assert.deepEqual(await names(), []);
            assert.deepEqual((await client.leases.list({})).leases, []);
        });

        it("survives a restart of containerd", async () => {
            const lost = all(client.events.subscribe({}));
            const lostSays = assert.rejects(
                lost,
                says("Unreachable", /containerd's socket .* was closed in the middle of the call/),
            );
            await client.version.version({});
            await worker.stopContainerd();
            await lostSays;
            // Whether the socket is still there depends on how it ended: both are one clear sentence, at once, each time.
            for (let n = 0; n < 5; n++)
                await assert.rejects(
                    client.version.version({}),
                    says("Unreachable", /containerd's socket \S+ (refuses connections|does not exist)/),
                );
            await worker.startContainerd();
            assert.ok((await client.version.version({})).version);
            assert.deepEqual(await all(client.snapshots.list({ snapshotter: "native" })), []);
        });

        it("shares one connection, until the last one closes it", async () => {
            const transport = unixTransport("edge-1", worker.address);
            const [first, second] = await Promise.all([Client.connect(transport, "a"), Client.connect(transport, "b")]);
            assert.equal(first.connection, second.connection);
            first.close();
            assert.ok((await second.version.version({})).version);
            second.close();
            await assert.rejects(second.version.version({}), ContainerdError);
            const third = await Client.connect(transport, "a");
            assert.ok((await third.version.version({})).version);
            third.close();
        });
    });
}

describe("client without a containerd", () => {
    let folder: string;
    const open: (Client | Server)[] = [];

    before(async () => {
        folder = await mkdtemp(join(tmpdir(), "pulumi-containerd-client-"));
    });
    after(async () => {
        for (const item of open) item.close();
        await rm(folder, { recursive: true });
    });

    async function clientOf(path: string): Promise<Client> {
        const client = await Client.connect(unixTransport("edge-1", path), "default");
        open.push(client);
        return client;
    }

    async function listen(path: string, accept: (socket: Socket) => void): Promise<void> {
        const server = createServer(accept).listen(path);
        open.push(server);
        await once(server, "listening");
    }

    it("says that there is no socket, each time", async () => {
        const path = join(folder, "none.sock");
        const client = await clientOf(path);
        const expected = says(
            "Unreachable",
            /version\.version: containerd's socket \S+none\.sock does not exist: is containerd running\?$/,
        );
        for (let n = 0; n < 3; n++) await assert.rejects(client.version.version({}), expected);
        await assert.rejects(
            all(client.events.subscribe({})),
            says("Unreachable", /events\.subscribe: .*does not exist/),
        );
        await assert.rejects(
            client.streaming.stream().send({ type_url: "x", value: Buffer.alloc(0) }),
            says("Unreachable", /does not exist/),
        );
    });

    it("says that it is no socket", async () => {
        const path = join(folder, "file");
        await writeFile(path, "");
        const client = await clientOf(path);
        await assert.rejects(client.version.version({}), says("Unreachable", /refuses connections/));
    });

    it("says that the connection was closed in the middle", async () => {
        const path = join(folder, "closes.sock");
        await listen(path, (socket) => socket.once("data", () => socket.destroy()));
        const client = await clientOf(path);
        await assert.rejects(client.version.version({}), says("Unreachable", /containerd's socket \S+closes\.sock/));
    });

    it("gives up what never answers", async () => {
        const path = join(folder, "silent.sock");
        const sockets: Socket[] = [];
        await listen(path, (socket) => void sockets.push(socket));
        const client = await clientOf(path);
        await assert.rejects(client.version.version({}, { timeout: 300 }), says("Timeout", /within 0\.3 s/));
        for (const socket of sockets) socket.destroy();
    });

    it("reads an event of a task", async () => {
        assert.equal(
            await unpackAny("containerd.events.TaskOOM", {
                type_url: "containerd.events.TaskExit",
                value: Buffer.alloc(0),
            }),
            undefined,
        );
        const value = Buffer.from([0x0a, 0x01, 0x61, 0x18, 0x07, 0x20, 0x89, 0x01]);
        const exit = await unpackAny("containerd.events.TaskExit", { type_url: "containerd.events.TaskExit", value });
        assert.deepEqual([exit?.container_id, exit?.pid, exit?.exit_status], ["a", 7, 137]);
    });
});

describe("transport to this machine", () => {
    it("dials, and says when nobody listens", async () => {
        const transport = unixTransport("edge-1", "/nowhere");
        const server = createServer((socket) => socket.end("hello")).listen(0, "127.0.0.1");
        await once(server, "listening");
        const address = server.address();
        assert.ok(address && typeof address === "object");
        const connection = await transport.dial("127.0.0.1", address.port, 2_000);
        assert.equal(Buffer.concat((await all(connection)) as Buffer[]).toString(), "hello");
        server.close();
        await once(server, "close");
        await assert.rejects(
            transport.dial("127.0.0.1", address.port, 2_000),
            says("Unreachable", /refuses the connection/),
        );
        await transport.close();
        await transport.close();
    });
});
