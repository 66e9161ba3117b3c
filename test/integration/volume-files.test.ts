/** What volumes and files that change in place stand on: folders of a node looked at and made, files whose inode is kept. */
import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { startWorker, type Worker } from "../../playground/worker";
import { Client } from "../../provider/containerd/client";
import {
    knowsFileSystem,
    listFolder,
    makeFolders,
    pathExists,
    removeTree,
    writeFiles,
} from "../../provider/containerd/node-files";
import { runOnNode } from "../../provider/node/command";
import { OVERWRITE } from "../../provider/node/overwrite.sh";
import { unixTransport } from "../../provider/transport/unix";
import { type Census, census } from "../helpers/census";
import { failsWith } from "../helpers/image";

const FOLDER = "/var/lib/pulumi-containerd/volumes";

for (const version of ["1.6", "2"] as const) {
    describe(`folders and files of a node with containerd ${version}`, function () {
        this.timeout(120_000);
        let worker: Worker;
        let client: Client;
        let empty: Census;

        before(async () => {
            worker = await startWorker({ version });
            client = await Client.connect(unixTransport("edge-1", worker.address), "default");
            await client.namespaces.create({ namespace: { name: "default" } }).catch(() => undefined);
            empty = await census(worker);
        });
        after(async () => {
            client?.close();
            await worker?.stop();
        });
        afterEach(async () => {
            await removeTree(client, "/var/lib/pulumi-containerd", "volumes");
            const now = await census(worker);
            assert.deepEqual({ ...now, files: [] }, { ...empty, files: [] });
        });

        const root = { uid: 0, gid: 0 };
        const owners = (path: string) => worker.run('stat -c "%a %u:%g" "$1"', path);

        it("makes folders with owner and mode, and leaves what they hold", async () => {
            const data = `${FOLDER}/a@default/data`;
            await writeFiles(client, FOLDER, [{ path: data, mode: 0o750, uid: 70, gid: 71 }]);
            assert.equal(await owners(data), "750 70:71\n");
            assert.equal(await owners(FOLDER), "700 0:0\n");
            await worker.run('echo kept >"$1/file"', data);
            await writeFiles(client, FOLDER, [{ path: data, mode: 0o700, uid: 1, gid: 2 }]);
            assert.equal(await worker.run('cat "$1/file"; stat -c "%a %u:%g" "$1"', data), "kept\n700 1:2\n");
            await makeFolders(client, FOLDER, [
                { path: data, mode: 0o755, ...root },
                { path: `${data}/sub`, mode: 0o1777, ...root },
            ]);
            assert.equal(
                await worker.run('cat "$1/file"; stat -c "%a %u:%g" "$1" "$1/sub"', data),
                "kept\n755 0:0\n1777 0:0\n",
            );
            await assert.rejects(
                makeFolders(client, `${data}/none`, [{ path: `${data}/none/x`, mode: 0o755, ...root }]),
                failsWith("NotFound", /the node has no .*data\/none$/),
            );
        });

        it("sees what is there, without reading it", async () => {
            await writeFiles(client, FOLDER, [{ path: `${FOLDER}/full/data`, mode: 0o755, ...root }]);
            assert.deepEqual(await listFolder(client, `${FOLDER}/full/data`), []);
            await worker.run(
                'cd "$1" && mkdir -p a/b && echo x >a/b/c && echo y >.hidden && ln -s nowhere "with space" && truncate -s 1T huge',
                `${FOLDER}/full/data`,
            );
            assert.deepEqual(await listFolder(client, `${FOLDER}/full/data`), [".hidden", "a", "huge", "with space"]);
            assert.equal(await listFolder(client, `${FOLDER}/none`), undefined);
            assert.deepEqual(
                await Promise.all(
                    [`${FOLDER}/full/data`, `${FOLDER}/full/data/.hidden`, `${FOLDER}/none`].map((path) =>
                        pathExists(client, path),
                    ),
                ),
                [true, true, false],
            );
        });

        it("knows which file systems the kernel has", async () => {
            const known = (await worker.run("cat /proc/filesystems")).split(/\s+/);
            assert.ok(known.includes("tmpfs"));
            for (const type of ["tmpfs", "overlay", "ext4", "nosuchfs", "nfs", "cifs"]) {
                const has = await knowsFileSystem(client, type);
                // A module that the kernel loads when it is asked is seen afterwards.
                const now = (await worker.run("cat /proc/filesystems")).split(/\s+/);
                assert.equal(has, now.includes(type), type);
            }
        });

        it("overwrites files in place: inode kept, content, owner and mode new, new files made", async () => {
            const write = (files: Record<string, string>, mode: number, at = "") =>
                writeFiles(
                    client,
                    FOLDER,
                    Object.entries(files).map(([name, content]) => ({
                        path: `${FOLDER}${at}/${name}`,
                        content,
                        mode,
                        uid: 3,
                        gid: 4,
                    })),
                );
            const inodes = () =>
                worker.run('cd "$1" && stat -c "%n %i" files/long files/short files/same files/emptied', FOLDER);
            await write(
                { "files/long": "one", "files/short": "a long one\n", "files/same": "same", "files/emptied": "x" },
                0o644,
            );
            const before = await inodes();
            const changed = {
                "files/long": "x".repeat(300_000),
                "files/short": "short",
                "files/same": "same",
                "files/emptied": "",
                "files/it's $(new)": "new",
            };
            await write(changed, 0o600, "/staged");
            await runOnNode(client, OVERWRITE, [FOLDER, ...Object.keys(changed)]);
            assert.equal(await inodes(), before);
            for (const [name, content] of Object.entries(changed)) {
                assert.equal(await worker.run('cat "$1"', `${FOLDER}/${name}`), content, name);
                assert.equal(await owners(`${FOLDER}/${name}`), "600 3:4\n");
            }
            assert.equal((await worker.run('ls "$1"', FOLDER)).trim(), "files");
        });
    });
}
