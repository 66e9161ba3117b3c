/** Files on a node and blobs in its content store, through containerd's socket alone. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { lstat, mkdir, readdir, readFile, readlink, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startWorker, type Worker } from "../../playground/worker";
import { hasBlob, labelBlob, readBlob, streamBlob, writeBlob } from "../../provider/containerd/blobs";
import { Client } from "../../provider/containerd/client";
import { withLease } from "../../provider/containerd/leases";
import { readFiles, removeTree, writeFiles } from "../../provider/containerd/node-files";
import { readImageFiles, readSnapshotFiles } from "../../provider/containerd/snapshot-files";
import { unixTransport } from "../../provider/transport/unix";
import { census } from "../helpers/census";
import { failsWith } from "../helpers/image";

const digestOf = (bytes: Buffer) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** The bytes in pieces of an odd size. */
function pieces(bytes: Buffer, size = 70_001) {
    return async function* (offset: number) {
        for (let at = offset; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    };
}

for (const version of ["1.6", "2"] as const) {
    describe(`blobs and files of containerd ${version}`, function () {
        this.timeout(120_000);
        let worker: Worker;
        let client: Client;

        before(async () => {
            worker = await startWorker({ version });
            client = await Client.connect(unixTransport("edge-1", worker.address), "files-test");
            // A namespace comes with the first write: it is not what these tests leave behind.
            await client.namespaces.create({ namespace: { name: "files-test" } });
        });
        after(async () => {
            client?.close();
            await worker?.stop();
        });

        /** What the work leaves on the worker: nothing but `/var/lib/pulumi-containerd`. */
        async function leavesNothing(work: () => Promise<void>): Promise<void> {
            const look = async () => ({ ...(await census(worker)), files: [] });
            const before = await look();
            await work();
            assert.deepEqual(await look(), before);
        }

        describe("blobs", () => {
            it("are written, found, labelled, read", () =>
                leavesNothing(() =>
                    withLease(client, { owner: "test" }, async (leased) => {
                        const bytes = randomBytes(5_000_000);
                        const target = {
                            ref: "one",
                            digest: digestOf(bytes),
                            size: bytes.length,
                            labels: { a: "1", b: "2" },
                        };
                        const progress: number[] = [];
                        assert.equal(await hasBlob(leased, target.digest), false);
                        assert.deepEqual(await writeBlob(leased, target, pieces(bytes), (n) => progress.push(n)), {
                            existed: false,
                        });
                        assert.deepEqual([progress[0], progress.at(-1)], [0, bytes.length]);
                        assert.deepEqual(
                            progress,
                            [...progress].sort((a, b) => a - b),
                        );
                        assert.ok(await hasBlob(leased, target.digest));
                        assert.deepEqual(await readBlob(leased, target.digest), bytes);
                        const unread = () => assert.fail("the source was asked for what is there");
                        assert.deepEqual(await writeBlob(leased, { ...target, labels: { b: "3" } }, unread), {
                            existed: true,
                        });
                        await labelBlob(leased, target.digest, { c: "4" });
                        const { info } = await leased.content.info({ digest: target.digest });
                        assert.deepEqual(info?.labels, { a: "1", b: "3", c: "4" });
                        const rest: Buffer[] = [];
                        for await (const piece of streamBlob(leased, target.digest, { offset: 4_999_990 }))
                            rest.push(piece);
                        assert.deepEqual(Buffer.concat(rest), bytes.subarray(4_999_990));
                    }),
                ));

            it("are kept by the lease of who finds them there", async () => {
                const bytes = Buffer.from("shared");
                const target = { ref: "shared", digest: digestOf(bytes), size: bytes.length };
                await withLease(client, { owner: "second" }, async (second) => {
                    await withLease(client, { owner: "first" }, async (first) => {
                        await writeBlob(first, target, pieces(bytes));
                        await writeBlob(second, target, pieces(bytes));
                    });
                    assert.ok(await hasBlob(client, target.digest));
                });
                assert.equal(await hasBlob(client, target.digest), false);
            });

            it("may be empty", () =>
                withLease(client, { owner: "test" }, async (leased) => {
                    const digest = digestOf(Buffer.alloc(0));
                    await writeBlob(leased, { ref: "empty", digest, size: 0 }, pieces(Buffer.alloc(0)));
                    assert.equal((await readBlob(leased, digest)).length, 0);
                }));

            it("go on where an earlier attempt stopped", () =>
                withLease(client, { owner: "test" }, async (leased) => {
                    const bytes = randomBytes(6 << 20);
                    const target = { ref: "resumed", digest: digestOf(bytes), size: bytes.length };
                    const broken = async function* () {
                        yield bytes.subarray(0, 3 << 20);
                        throw new Error("the registry hung up");
                    };
                    await assert.rejects(writeBlob(leased, target, broken), /the registry hung up/);
                    const asked: number[] = [];
                    // The first attempt may still hold the ref for a moment.
                    for (;;) {
                        try {
                            await writeBlob(leased, target, (offset) => (asked.push(offset), pieces(bytes)(offset)));
                            break;
                        } catch (error) {
                            assert.ok(failsWith("Conflict", /another process is writing it/)(error));
                        }
                    }
                    assert.equal(asked.length, 1);
                    assert.ok(asked[0]! > 0 && asked[0]! <= 3 << 20, String(asked));
                    assert.deepEqual(await readBlob(leased, target.digest), bytes);
                }));

            it("stop when cancelled", () =>
                withLease(client, { owner: "test" }, async (leased) => {
                    const bytes = randomBytes(8 << 20);
                    const cancel = new AbortController();
                    const target = {
                        ref: "cancelled",
                        digest: digestOf(bytes),
                        size: bytes.length,
                        signal: cancel.signal,
                    };
                    const source = async function* () {
                        yield bytes.subarray(0, 2 << 20);
                        cancel.abort();
                        yield bytes.subarray(2 << 20);
                    };
                    await assert.rejects(
                        writeBlob(leased, target, source),
                        failsWith("Failed", /content\.write: cancelled/),
                    );
                    assert.equal(await hasBlob(leased, target.digest), false);
                }));

            it("are refused while somebody else writes them", () =>
                withLease(client, { owner: "test" }, async (leased) => {
                    const bytes = randomBytes(100);
                    const target = { ref: "locked", digest: digestOf(bytes), size: bytes.length };
                    const busy = async function* () {
                        yield bytes.subarray(0, 50);
                        await assert.rejects(
                            writeBlob(leased, target, pieces(bytes)),
                            failsWith("Conflict", /another process is writing it/),
                        );
                        yield bytes.subarray(50);
                    };
                    await writeBlob(leased, target, busy);
                }));

            const wrong: [string, (bytes: Buffer) => Buffer, RegExp][] = [
                ["too short", (bytes) => bytes.subarray(1), /ended after 1999 of 2000 bytes/],
                ["too long", (bytes) => Buffer.concat([bytes, Buffer.from("x")]), /is longer than the 2000 bytes/],
                ["others", (bytes) => Buffer.from(bytes).fill(0, 0, 9), /does not have that digest/],
            ];
            for (const [name, change, sentence] of wrong) {
                it(`are refused when the bytes are ${name}`, () =>
                    leavesNothing(() =>
                        withLease(client, { owner: "test" }, async (leased) => {
                            const bytes = randomBytes(2000);
                            const target = { ref: name, digest: digestOf(bytes), size: bytes.length };
                            await assert.rejects(
                                writeBlob(leased, target, pieces(change(bytes))),
                                failsWith("Failed", sentence),
                            );
                            assert.equal(await hasBlob(leased, target.digest), false);
                        }),
                    ));
            }

            it("are not read whole when they are large", () =>
                withLease(client, { owner: "test" }, async (leased) => {
                    const bytes = randomBytes((8 << 20) + 1);
                    await writeBlob(
                        leased,
                        { ref: "large", digest: digestOf(bytes), size: bytes.length },
                        pieces(bytes),
                    );
                    await assert.rejects(
                        readBlob(leased, digestOf(bytes)),
                        failsWith("Failed", /larger than 8388608 bytes/),
                    );
                    await assert.rejects(
                        readBlob(leased, digestOf(Buffer.from("none"))),
                        failsWith("NotFound", /content\.read/),
                    );
                }));
        });

        describe("files", () => {
            const folder = "/var/lib/pulumi-containerd/files-test/one";
            const here = (path: string) => join(worker.varLib, path.slice("/var/lib/".length));

            it("are written with their modes and owners, read, replaced, removed", () =>
                leavesNothing(async () => {
                    const files = [
                        { path: `${folder}/secrets/key`, content: "s3cret", mode: 0o400, uid: 0, gid: 0 },
                        {
                            path: `${folder}/files/a b/ü.bin`,
                            content: randomBytes(3_000_000),
                            mode: 0o644,
                            uid: 101,
                            gid: 102,
                        },
                    ];
                    await writeFiles(client, folder, files);
                    assert.equal(await readFile(here(files[0]!.path), "utf8"), "s3cret");
                    assert.deepEqual(await readFile(here(files[1]!.path)), files[1]!.content);
                    const { mode, uid, gid } = await lstat(here(files[1]!.path));
                    assert.deepEqual([mode & 0o7777, uid, gid], [0o644, 101, 102]);
                    assert.equal((await lstat(here(files[0]!.path))).mode & 0o7777, 0o400);
                    assert.equal((await lstat(here(folder))).mode & 0o7777, 0o700);

                    await writeFiles(client, folder, [{ ...files[0]!, content: "new" }]);
                    const read = await readFiles(client, folder);
                    assert.deepEqual(read.map(({ path }) => path).sort(), ["files/a b/ü.bin", "secrets/key"]);
                    assert.equal(read.find(({ path }) => path === "secrets/key")?.content.toString(), "new");
                    assert.deepEqual(
                        (await readFiles(client, folder, (path) => path.startsWith("files/"))).map(({ path }) => path),
                        ["files/a b/ü.bin"],
                    );

                    await removeTree(client, folder, "secrets");
                    assert.deepEqual(await readdir(here(folder)), ["files"]);
                    await removeTree(client, "/var/lib/pulumi-containerd", "files-test");
                    assert.deepEqual(await readdir(here("/var/lib/pulumi-containerd")), []);
                }));

            it("that are not there are none, and are removed", () =>
                leavesNothing(async () => {
                    assert.deepEqual(await readFiles(client, "/var/lib/pulumi-containerd/nobody"), []);
                    await removeTree(client, "/var/lib/pulumi-containerd", "nobody/nothing");
                    await removeTree(client, "/var/lib/pulumi-containerd", "nothing");
                }));

            it("do not leave their folder by a symbolic link", async () => {
                await mkdir(here(folder), { recursive: true });
                const outside = join(worker.varLib, "outside");
                await mkdir(outside, { recursive: true });
                await writeFile(join(outside, "kept"), "kept");
                await symlink(outside, join(here(folder), "link"));
                await removeTree(client, folder, "link");
                assert.deepEqual(await readdir(outside), ["kept"]);
                assert.equal(await readlink(join(here(folder), "link")).catch(() => "gone"), "gone");
            });
        });

        describe("files of snapshots", () => {
            /** Stacks snapshots, each made by a shell script that is given its root as $1. Returns the top one's name. */
            async function stack(snapshotter: string, name: string, scripts: readonly string[]): Promise<string> {
                let parent = "";
                for (const [index, script] of scripts.entries()) {
                    const key = `${name}-${index}`;
                    const labels = { "containerd.io/gc.root": "1" };
                    await client.snapshots.prepare({ snapshotter, key: `${key}-active`, parent, labels });
                    const mounts = (
                        await worker.ctr(
                            "-n",
                            "files-test",
                            "snapshots",
                            "--snapshotter",
                            snapshotter,
                            "mounts",
                            "/mnt",
                            `${key}-active`,
                        )
                    ).trim();
                    await worker.run(`${mounts} && set -- /mnt && trap 'umount /mnt' EXIT && { ${script}\n}`);
                    await client.snapshots.commit({ snapshotter, key: `${key}-active`, name: key, labels });
                    parent = key;
                }
                return parent;
            }

            const base =
                'mkdir $1/etc $1/bin; echo "root:x:0:0" > $1/etc/passwd; echo "root:x:0:" > $1/etc/group; head -c 1000000 /dev/zero > $1/bin/sh';
            const cases: [name: string, scripts: string[], passwd: string | undefined, group: string | undefined][] = [
                ["one layer", [base], "root:x:0:0\n", "root:x:0:\n"],
                [
                    "a layer without /etc on top",
                    [base, "mkdir $1/app; echo x > $1/app/x"],
                    "root:x:0:0\n",
                    "root:x:0:\n",
                ],
                [
                    "a changed passwd",
                    [base, 'echo "app:x:1:1" >> $1/etc/passwd', "echo y > $1/bin/y"],
                    "root:x:0:0\napp:x:1:1\n",
                    "root:x:0:\n",
                ],
                ["a removed group", [base, "rm $1/etc/group"], "root:x:0:0\n", undefined],
                ["/etc made anew", [base, "rm -r $1/etc; mkdir $1/etc; echo new > $1/etc/passwd"], "new\n", undefined],
                ["no /etc any more", [base, "rm -r $1/etc"], undefined, undefined],
                ["no /etc at all", ["mkdir $1/app"], undefined, undefined],
                [
                    "links",
                    [
                        base,
                        "mkdir -p $1/nix/store; echo far > $1/nix/store/p; ln -sf ../nix/store/p $1/etc/passwd; ln -sf loop $1/etc/group; ln -s group $1/etc/loop",
                    ],
                    "far\n",
                    undefined,
                ],
                [
                    "/etc a link that would lead out",
                    ["mkdir -p $1/else; echo here > $1/else/passwd; ln -s /else $1/etc"],
                    "here\n",
                    undefined,
                ],
                ["a hard link", [base, "ln -f $1/etc/group $1/etc/passwd"], "root:x:0:\n", "root:x:0:\n"],
            ];
            for (const snapshotter of ["overlayfs", "native"]) {
                for (const [name, scripts, passwd, group] of cases) {
                    it(`${snapshotter}: ${name}`, async () => {
                        const key = `${snapshotter}-${name.replace(/\W+/g, "-")}`;
                        const top = await stack(snapshotter, key, scripts);
                        await leavesNothing(async () => {
                            const files = await readImageFiles(client, top, ["/etc/passwd", "/etc/group"], snapshotter);
                            assert.equal(files.get("/etc/passwd")?.toString(), passwd);
                            assert.equal(files.get("/etc/group")?.toString(), group);
                        });
                    });
                }
            }

            it("of a container's own, written by it", async () => {
                const top = await stack("overlayfs", "own", [base]);
                const { mounts } = await client.snapshots.prepare({
                    snapshotter: "overlayfs",
                    key: "own",
                    parent: top,
                    labels: { "containerd.io/gc.root": "1" },
                });
                const mount = (await worker.ctr("-n", "files-test", "snapshots", "mounts", "/mnt", "own")).trim();
                await worker.run(`${mount} && echo changed > /mnt/etc/passwd; umount /mnt`);
                const files = await readSnapshotFiles(client, "overlayfs", mounts, [
                    "/etc/passwd",
                    "/etc/group",
                    "/etc/shadow",
                ]);
                assert.deepEqual([...files].map(([path, content]) => [path, content.toString()]).sort(), [
                    ["/etc/group", "root:x:0:\n"],
                    ["/etc/passwd", "changed\n"],
                ]);
            });

            it("of an image that is not unpacked are NotFound", () =>
                assert.rejects(
                    readImageFiles(client, digestOf(Buffer.from("none")), ["/etc/passwd"]),
                    failsWith("NotFound", /snapshots\.view/),
                ));
        });
    });
}
