/** Snapshots of a containerd that was killed while it made one: the folder that it left refuses nobody for ever. */
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { startWorker, type Worker } from "../../playground/worker";
import { Client } from "../../provider/containerd/client";
import { withLease } from "../../provider/containerd/leases";
import { findSnapshot, prepareSnapshot, removeSnapshot, viewSnapshot } from "../../provider/containerd/snapshots";
import { unixTransport } from "../../provider/transport/unix";
import { failsWith } from "../helpers/image";

for (const version of ["1.6", "2"] as const) {
    describe(`snapshots of containerd ${version}`, function () {
        this.timeout(60_000);
        let worker: Worker;
        let client: Client;

        before(async () => {
            worker = await startWorker({ version });
            client = await Client.connect(unixTransport("edge-1", worker.address), "default");
        });
        after(async () => {
            client?.close();
            await worker?.stop();
        });

        for (const snapshotter of ["overlayfs", "native"]) {
            /** Where the snapshotter's folders are, seen from this machine. */
            const folder = () =>
                path.join(worker.varLib, `containerd/io.containerd.snapshotter.v1.${snapshotter}/snapshots`);

            /** What a SIGKILL between the folder and the commit to the database leaves for the next snapshot, and a half-made one. */
            async function leaveFolders(): Promise<void> {
                const highest = Math.max(0, ...(await readdir(folder())).map(Number).filter(Number.isInteger));
                const inside = `/var/lib/containerd/io.containerd.snapshotter.v1.${snapshotter}/snapshots`;
                await worker.run('mkdir -p "$1/$2/fs/x" "$1/new-1/fs"', inside, String(highest + 1));
            }

            it(`are made by ${snapshotter} past the folder that a killed one left`, async () => {
                await withLease(client, { owner: "test" }, async (leased) => {
                    await prepareSnapshot(leased, { snapshotter, key: "base" });
                    await leased.snapshots.commit({ snapshotter, key: "base", name: "parent" });
                    await leaveFolders();
                    // Without help it is refused, once: this is what the help is for.
                    await assert.rejects(
                        leased.snapshots.prepare({ snapshotter, key: "bare" }),
                        failsWith("Failed", /failed to rename: .*file exists/),
                    );
                    await leaveFolders();
                    const mounts = await prepareSnapshot(leased, { snapshotter, key: "writable", parent: "parent" });
                    assert.equal(mounts.length, 1);
                    assert.equal((await findSnapshot(leased, snapshotter, "writable"))?.kind, "ACTIVE");
                    await leaveFolders();
                    await viewSnapshot(leased, { snapshotter, key: "view", parent: "parent" });
                    assert.equal((await findSnapshot(leased, snapshotter, "view"))?.kind, "VIEW");
                    for (const key of ["view", "writable", "writable", "parent"])
                        await removeSnapshot(leased, snapshotter, key);
                    assert.equal(await findSnapshot(leased, snapshotter, "parent"), undefined);
                });
                // The lease's end has collected garbage: overlayfs removes what its database does not know, native never does.
                const rest = (await readdir(folder())).filter((name) => name.startsWith("new-"));
                assert.deepEqual(rest, snapshotter === "overlayfs" ? [] : ["new-1"]);
            });

            it(`are refused by ${snapshotter} for what is really wrong, as before`, async () => {
                await withLease(client, { owner: "test" }, async (leased) => {
                    await prepareSnapshot(leased, { snapshotter, key: "one" });
                    await assert.rejects(
                        prepareSnapshot(leased, { snapshotter, key: "one" }),
                        failsWith("AlreadyExists", /one/),
                    );
                    await assert.rejects(
                        prepareSnapshot(leased, { snapshotter, key: "two", parent: "nobody" }),
                        failsWith("NotFound", /nobody/),
                    );
                });
            });
        }
    });
}
