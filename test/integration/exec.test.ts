/** Commands in a container that runs, and what they said. */
import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { busyboxImage } from "../../playground/images";
import { type Registry, startRegistry } from "../../playground/registry";
import { startWorker, type Worker } from "../../playground/worker";
import { Client } from "../../provider/containerd/client";
import { runInside } from "../../provider/lifecycle/exec";
import { unixTransport } from "../../provider/transport/unix";
import { type Census, census } from "../helpers/census";
import { failsWith } from "../helpers/image";

for (const version of ["1.6", "2"] as const) {
    describe(`commands in a container, containerd ${version}`, function () {
        this.timeout(120_000);
        let worker: Worker;
        let registry: Registry;
        let client: Client;
        let quiet: Census;

        before(async () => {
            registry = await startRegistry();
            const image = await registry.push(await busyboxImage(), "busybox:1");
            worker = await startWorker({ version });
            await worker.ctr("images", "pull", "--plain-http", image);
            await worker.ctr("run", "--detach", image, "app", "sleep", "1000");
            client = await Client.connect(unixTransport("edge-1", worker.address), "default");
            quiet = await census(worker);
        });
        after(async () => {
            client?.close();
            await worker?.stop();
            await registry?.stop();
        });
        afterEach(async () => {
            const [now, then] = [await census(worker), quiet];
            // A container of ours has the folder from the beginning.
            assert.deepEqual({ ...now, files: [] }, { ...then, files: [] });
            assert.deepEqual(
                now.files.filter((path) => path.includes("exec-")),
                [],
            );
        });

        const rows: [what: string, args: string[], status: number | undefined, output: string][] = [
            ["well", ["sh", "-c", "id -u; echo err >&2"], 0, "0\nerr"],
            ["with a status", ["sh", "-c", "echo no; exit 3"], 3, "no"],
            ["saying nothing", ["true"], 0, ""],
            [
                "saying much",
                ["sh", "-c", "seq 1 100000"],
                0,
                Array.from({ length: 20 }, (_, at) => 99_981 + at).join("\n"),
            ],
        ];
        for (const [what, args, status, output] of rows) {
            it(`end ${what}`, async () => {
                const ended = await runInside(client, "app", args, 60_000);
                const lines = (text: string) => text.split("\n").sort();
                assert.deepEqual([ended.status, lines(ended.output)], [status, lines(output)]);
            });
        }
        it("are killed when their time is over", async () => {
            const ended = await runInside(client, "app", ["sh", "-c", "echo begun; sleep 1000"], 500);
            assert.deepEqual(ended, { status: undefined, output: "begun" });
        });
        it("that are not there", async () => {
            await assert.rejects(
                runInside(client, "app", ["no-such-command"], 60_000),
                failsWith("Failed", /no-such-command/),
            );
        });
        it("in a container that is not there", async () => {
            await assert.rejects(runInside(client, "none", ["true"], 60_000), failsWith("NotFound", /none/));
        });
    });
}
