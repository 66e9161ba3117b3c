/** Commands on a node through containerd alone: what they say, what they are told, and that nothing is left of them. */
import assert from "node:assert/strict";
import { type Worker, startWorker } from "../../playground/worker";
import { packJson } from "../../provider/containerd/anys";
import { Client } from "../../provider/containerd/client";
import { answerIn, askNode, COMMAND_LABEL, removeCommand, runOnNode } from "../../provider/node/command";
import { unixTransport } from "../../provider/transport/unix";
import { type Census, census } from "../helpers/census";
import { failsWith } from "../helpers/image";

for (const version of ["1.6", "2"] as const) {
    describe(`commands on a node, containerd ${version}`, function () {
        this.timeout(120_000);
        let worker: Worker;
        let client: Client;
        let found: Census;

        before(async () => {
            worker = await startWorker({ version });
            client = await Client.connect(unixTransport("here", worker.address), "default");
            await client.namespaces.create({ namespace: { name: "default" } }).catch(() => undefined);
            found = await census(worker);
        });
        after(async () => {
            client?.close();
            await worker?.stop();
        });
        afterEach(async () => assert.deepEqual(await census(worker), found));

        it("answer with what they say and their exit status, as root on the node", async () => {
            assert.deepEqual(await askNode(client, "hostname; id -u; echo told >&2; exit 3"), {
                code: 3,
                output: `${worker.hostname}\n0\ntold`,
            });
        });

        it("get their arguments as they are", async () => {
            const hostile = [
                "it's",
                '"$(id)"',
                "`id`",
                "a\nb",
                "",
                "[pulumi-containerd 0 eA==]",
                "ünï",
                "x".repeat(20_000),
                "\uD800",
                // Longer than one argument of a command may be, with the others.
                "y".repeat(110_000),
            ];
            const { output } = await askNode(client, 'for one; do printf "%s" "$one" | md5sum; done', hostile);
            const direct = await worker.exec("sh", [
                "-c",
                'for one; do printf "%s" "$one" | md5sum; done',
                "sh",
                ...hostile,
            ]);
            assert.equal(output, direct.stdout.trimEnd());
        });

        it("are cut where they say much", async () => {
            const { code, output } = await askNode(client, "head -c 200000 /dev/zero | tr '\\0' x");
            assert.deepEqual([code, output.length], [0, 24_000]);
        });

        it("are ended when their time is over, with their children", async () => {
            const { code } = await askNode(client, "sleep 1000 & sleep 1000", [], { timeout: 1000 });
            assert.equal(code, 124);
        });

        it("fail with what they said", async () => {
            await assert.rejects(
                runOnNode(client, "echo no such thing; exit 1"),
                failsWith("Failed", /^node here: no such thing$/),
            );
        });

        it("are removed by name, also when they never ran", async () => {
            const runtime = { name: "io.containerd.runc.v2" };
            const spec = packJson("spec", {});
            await client.containers.create({
                container: { id: "command-left", labels: { [COMMAND_LABEL]: "true" }, runtime, spec },
            });
            await removeCommand(client, "command-left");
            await removeCommand(client, "command-left");
        });
    });
}

describe("the answer in what containerd says", () => {
    it("is found between other words, and nowhere else", () => {
        const answer = Buffer.from("all's well").toString("base64");
        assert.deepEqual(answerIn(`OCI runtime create failed: [pulumi-containerd 7 ${answer}]: unknown`), {
            code: 7,
            output: "all's well",
        });
        assert.equal(answerIn("OCI runtime create failed: false did not terminate successfully"), undefined);
    });
});
