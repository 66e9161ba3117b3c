/**
 * What a containerd that was killed while it removed a task forgets: a folder beside the bundle's, `.ID`, for which it can't remove
 * a later bundle of that id. The folder is planted here, since the moment of such a kill is some microseconds long.
 */
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { environment } from "../../playground/environment";
import { type Registry, startRegistry } from "../../playground/registry";
import { startWorker, type Worker } from "../../playground/worker";
import { Client } from "../../provider/containerd/client";
import { clearBundle } from "../../provider/lifecycle/bundle";
import type { Run } from "../../provider/lifecycle/run";
import { askNode } from "../../provider/node/command";
import { unixTransport } from "../../provider/transport/unix";
import { NODE, runOn } from "../bench/provider";
import { eventually } from "../e2e/scene";
import { pushImages } from "../faults/program";
import { type Census, census } from "../helpers/census";
import { makeContainer, makeTask } from "../helpers/direct";
import { skip } from "../helpers/skip";

const BUNDLES = "/run/containerd/io.containerd.runtime.v2.task/default";
const SERVICE = "trap 'exit 0' TERM; sleep 1000000 & wait";

for (const version of ["1.6", "2"] as const) {
    describe(`forgotten bundles, containerd ${version}`, function () {
        this.timeout(120_000);
        let registry: Registry;
        let worker: Worker;
        let image: string;
        let empty: Census;
        let run: Run;
        let client: Client;
        let name: string;

        before(async function () {
            if (!environment().containerd[version]) skip(this, `containerd ${version} is not installed`);
            registry = await startRegistry();
            image = (await pushImages(registry)).base;
            worker = await startWorker({ version });
            client = await Client.connect(unixTransport("here", worker.address), "default");
            run = runOn(worker);
            empty = await census(worker);
        });
        after(async () => {
            client?.close();
            await (await run?.client(NODE, "default"))?.close();
            await worker?.stop();
            await registry?.stop();
        });
        // containerd collects the image's snapshots when it gets to it.
        afterEach(() =>
            eventually("the worker is as before", async () => isDeepStrictEqual(await census(worker), empty)),
        );

        const plant = (id: string) =>
            worker.run('mkdir "$1" && echo secret >"$1/config.json"', `${BUNDLES}/.${id}`).then(() => undefined);
        const bundles = async () => (await worker.run(`ls -A ${BUNDLES}`)).split("\n").filter(Boolean);
        async function made() {
            const one = await makeContainer(run, image, SERVICE);
            name = one.id.split("/")[1] ?? "";
            return one;
        }

        it("let a stopped task be started again, and leave nothing", async () => {
            const service = await made();
            const first = await makeTask(run, service);
            await plant(name);
            await first.remove();
            // containerd deletes the task, and says nothing of the bundle that it could not.
            assert.deepEqual((await bundles()).sort(), [`.${name}`, name]);
            const second = await makeTask(run, service);
            assert.deepEqual(await bundles(), [name]);
            await second.remove();
            await service.remove();
        });

        it("go with their container, whichever folders they are", async () => {
            const service = await made();
            await plant(name);
            await service.remove();
            assert.deepEqual(await bundles(), []);
        });

        it("are deleted by the next start, before they can be in its way", async () => {
            const service = await made();
            await plant(name);
            const started = await makeTask(run, service);
            assert.deepEqual(await bundles(), [name]);
            await started.remove();
            await service.remove();
        });

        it("of commands on the node go with the next one", async () => {
            await plant("command-0123456789abcdef");
            assert.equal((await askNode(client, "echo hello")).output, "hello");
            assert.deepEqual(await bundles(), []);
        });

        it("are nobody else's: one with a shim stays, one that is new, and one with a mount", async () => {
            const service = await made();
            const started = await makeTask(run, service);
            const mounted = `${BUNDLES}/mounted/rootfs`;
            await worker.run(`mkdir -p ${mounted} && mount --bind /etc ${mounted} && sleep 6 && mkdir ${BUNDLES}/new`);
            for (const one of [name, "mounted", "new"]) await clearBundle(client, one);
            assert.deepEqual((await bundles()).sort(), [name, "mounted", "new"].sort());

            await started.remove();
            await service.remove();
            await worker.run(`umount ${mounted}; sleep 6`);
            for (const one of ["mounted", "new"]) await clearBundle(client, one);
            assert.deepEqual(await bundles(), []);
            assert.ok((await worker.run("ls /etc/passwd")).includes("passwd"));
        });
    });
}
