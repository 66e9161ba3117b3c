/**
 * Back alone: after each kind of loss a pod answers again at its published ports, seen from another machine, by containerd alone,
 * and so it does through and after containerd's upgrade. The phone that calls keeps one port, so that what conntrack remembers
 * counts too. What is lost is printed, beside what a container of Docker's loses in the same run.
 */
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { environment } from "../../playground/environment";
import { Docker } from "../../playground/docker";
import { busyboxImage } from "../../playground/images";
import type { Stack } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import { containerFolder } from "../../provider/node/folders";
import { ClusterScene } from "../e2e/cluster-scene";
import { eventually, succeeded, unchanged } from "../e2e/scene";
import { type Census, census } from "../helpers/census";
import { inside, runningTasks } from "../helpers/tasks";
import { NetworkNode } from "../integration/network-node";
import { ECHO, FROM_THE_MACHINE, type Gap, gapDuring, Gaps, PORT } from "./gaps";

const PROGRAM = `
const image = new pulumi.Config("test").require("image");
const waits = ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"];
const tools = Object.fromEntries(${JSON.stringify(FROM_THE_MACHINE)}.map((path) => [path, { bind: path, readOnly: true }]));
for (const { name, labels } of containerd.configuredNodes({ role: "sip" })) {
    new containerd.Node(name, { labels });
    const data = new containerd.Volume("data-" + name, { node: name });
    new containerd.Pod("pod-" + name, {
        hostname: "pages",
        node: name,
        ports: ["8000:80", "${PORT}:${PORT}/udp", "10000-19999:10000-19999/udp"],
        initContainers: { prepare: { image, args: ["sh", "-c", "echo prepared on " + name + " >> /www/index.html"], mounts: { "/www": { volume: data } } } },
        containers: {
            page: { image, args: ["httpd", "-f", "-p", "80", "-h", "/www"], mounts: { "/www": { volume: data } }, health: { http: { port: 80 } } },
            phone: { image, args: ${JSON.stringify(ECHO)}, mounts: tools },
        },
    });
    const asker = new containerd.Container("asker-" + name, { node: name, image, args: waits, mounts: tools });
    new containerd.Task("asker-" + name, { container: asker, restart: "unless-stopped" });
    // Where the monitor of 2.x keeps on-failure itself, it does not start it after a boot, as Docker does not.
    if (!labels.upgraded) continue;
    const job = new containerd.Container("job-" + name, { node: name, image, args: waits });
    new containerd.Task("job-" + name, { container: job, restart: "on-failure:3" });
}
`;

/** Process id of a container's process on its machine. */
async function pidOf(worker: Worker, name: string): Promise<string> {
    return (await runningTasks(worker))[name]?.pid ?? assert.fail(`${name} does not run`);
}
const phoneOf = (worker: Worker): Promise<string> => pidOf(worker, `pod-${worker.hostname}.phone`);

const KILL = 'kill -9 "$1"';
const KILL_SHIM = 'kill -9 "$(ps -o ppid= -p "$1" | tr -d " ")"';
const KILL_LOGGER_FIRST = `for p in $(ps -o pid= --ppid "$(ps -o ppid= -p "$1" | tr -d " ")"); do
        [ "$p" = "$1" ] || kill -9 "$p"
    done; ${KILL}`;

/** What happens to a machine of ours, and to Docker's where it has the like. */
interface Loss {
    what: string;
    ours: (worker: Worker) => Promise<unknown>;
    dockers?: (docker: Docker, worker: Worker) => Promise<unknown>;
}

const NAME = "echo";
const dockersPid = (docker: Docker): Promise<string> => docker.run("inspect", "--format", "{{.State.Pid}}", NAME);

const LOSSES: Loss[] = [
    {
        what: "its process is killed",
        ours: async (worker) => worker.run(KILL, await phoneOf(worker)),
        dockers: async (docker, worker) => worker.run(KILL, await dockersPid(docker)),
    },
    {
        what: "its shim is killed",
        ours: async (worker) => worker.run(KILL_SHIM, await phoneOf(worker)),
        dockers: async (docker, worker) => worker.run(KILL_SHIM, await dockersPid(docker)),
    },
    {
        what: "its logger and then its process are killed",
        ours: async (worker) => worker.run(KILL_LOGGER_FIRST, await phoneOf(worker)),
    },
    {
        what: "containerd (and dockerd) is killed and started",
        ours: (worker) => worker.restartContainerd(),
        dockers: async (docker, worker) => {
            await docker.stop("SIGKILL");
            await worker.restartContainerd();
            await docker.ensure();
        },
    },
    {
        what: "power is lost; from then on",
        ours: async (worker) => {
            await worker.kill();
            await worker.boot();
        },
        dockers: async (docker, worker) => {
            await worker.kill();
            await worker.boot();
            await docker.ensure();
        },
    },
    {
        what: "all rules are flushed, and its process is killed",
        ours: async (worker) => {
            await worker.run("nft flush ruleset");
            await worker.run(KILL, await phoneOf(worker));
        },
    },
];

const COLUMNS = ["ours, containerd 1.6", "ours, containerd 2"];
const UPGRADED = "ours, upgraded";
const DOCKERS = "Docker 20.10";

describe("faults: back alone", function () {
    this.timeout(540_000);
    // The second goes on with what the first has deployed.
    this.bail(true);
    let scene: ClusterScene;
    let outside: NetworkNode;
    let docker: Docker | undefined;
    let stack: Stack;
    let found: Record<string, Census>;
    const gaps = new Gaps([...COLUMNS.slice(0, 2), UPGRADED, DOCKERS]);

    before(async () => {
        scene = await ClusterScene.open([{ version: "1.6" }, { version: "2" }, { version: "2" }, { version: "1.6" }]);
        outside = new NetworkNode(scene.workers[2]!);
        found = await held();
        stack = await scene.stack(PROGRAM, { config: config() });
        const [first] = await Promise.all([stack.up(), startDockers()]);
        succeeded(first);
    });
    after(async () => {
        await outside?.clean();
        await scene?.close();
        console.log(String(gaps).replace(/^/gm, "      "));
    });

    const servers = (): Worker[] => scene.workers.slice(0, 2) as Worker[];

    function config(): Record<string, object> {
        const nodes = scene.nodes;
        for (const [index, { hostname }] of servers().entries()) {
            const labels = { role: "sip", ...(index === 0 && { upgraded: "true" }) };
            nodes[hostname] = { ...nodes[hostname], labels };
        }
        return { "containerd:nodes": nodes };
    }

    async function startDockers(): Promise<void> {
        if (environment().docker === undefined) return;
        docker = await Docker.start(scene.workers[3]!);
        await docker.load(await busyboxImage(), "busybox:1");
        const mounts = FROM_THE_MACHINE.flatMap((folder) => ["--volume", `${folder}:${folder}:ro`]);
        const port = ["--publish", `${PORT}:${PORT}/udp`];
        await docker.run(
            "run",
            "--detach",
            "--name",
            NAME,
            "--restart",
            "always",
            ...port,
            ...mounts,
            "busybox:1",
            ...ECHO,
        );
    }

    async function held(): Promise<Record<string, Census>> {
        const all = servers().map(async (worker) => [worker.hostname, await census(worker)] as const);
        return Object.fromEntries(await Promise.all(all));
    }

    async function struck({ what, ours }: Loss, worker: Worker, whose: string): Promise<Gap> {
        const gap = await gapDuring(outside, worker.ip, () => ours(worker));
        gaps.note(what, whose, gap);
        assert.ok(gap.answered, `${worker.hostname} does not answer the phone after: ${what}`);
        return gap;
    }

    /** For the table alone: what Docker does is not ours to assert. */
    async function dockersStruck({ what, dockers }: Loss): Promise<void> {
        const [, , , worker] = scene.workers;
        if (docker && dockers) {
            gaps.note(what, DOCKERS, await gapDuring(outside, worker!.ip, () => dockers(docker!, worker!)));
        }
    }

    /** All of it runs, and the page is the one that the init container left once. */
    async function allIsThere(worker: Worker, what: string): Promise<void> {
        const { hostname } = worker;
        const port = await worker.forward(8000);
        await eventually(`the page of ${hostname} is there after: ${what}`, async () => {
            try {
                const text = await (await fetch(`http://127.0.0.1:${port}/`)).text();
                return text === `prepared on ${hostname}\n`;
            } catch {
                return false;
            }
        });
        const wanted = [`asker-${hostname}`, ...(worker === servers()[0] ? [`job-${hostname}`] : [])];
        wanted.push(`pod-${hostname}.page`, `pod-${hostname}.phone`);
        await eventually(`all of ${hostname} runs after: ${what}`, async () =>
            isDeepStrictEqual(Object.keys(await runningTasks(worker)).sort(), wanted),
        );
    }

    it("answers at its ports from another machine after each loss, and up has nothing to do: nerdctl#2286, #1074, #4912", async () => {
        for (const loss of LOSSES) {
            await Promise.all([
                ...servers().map((worker, index) => struck(loss, worker, COLUMNS[index]!)),
                dockersStruck(loss),
            ]);
            for (const worker of servers()) await allIsThere(worker, loss.what);
        }
        unchanged(await stack.refresh());
        unchanged(await stack.up());
    });

    it("goes on through containerd's upgrade from 1.6 to 2.x, and after it all comes back as before", async () => {
        const [worker] = servers();
        assert.ok(worker);
        const { hostname } = worker;
        const job = `job-${hostname}`;
        const before = await runningTasks(worker);
        const upgrade = { what: "containerd is upgraded", ours: (one: Worker) => one.upgrade("2") };
        const { lost } = await struck(upgrade, worker, UPGRADED);
        assert.equal(lost, 0, "packets were lost while containerd was upgraded");
        assert.deepEqual(await runningTasks(worker), before);
        assert.match(await worker.ctr("version"), /Server:\s+Version: +v?2\./);
        // From the file that 1.6 had, where the plugin had another name.
        const file = `${worker.dir}/config.toml`;
        assert.match(
            await worker.run('containerd --config "$1" config dump', file),
            /v1\.restart'\]\s+interval = '1s'/,
        );

        // The gate of 1.6 learns of ends under the shim of 1.6, and then of those under that of 2.x.
        const folder = containerFolder("default", before[job]!.id);
        for (const failures of [1, 2]) {
            const starts: string[] = (await worker.run('cat "$1/starts"', folder)).split(" ");
            const { [job]: old } = await runningTasks(worker);
            for (const name of [job, `asker-${hostname}`, `pod-${hostname}.page`])
                await worker.run(KILL, await pidOf(worker, name));
            await struck(LOSSES[0]!, worker, UPGRADED);
            await eventually(`${job} was started again`, async () => {
                const { [job]: now } = await runningTasks(worker);
                return now !== undefined && now.pid !== old?.pid;
            });
            assert.equal((await worker.run('cat "$1/ended"', folder)).trim(), `${starts[0]}/${starts[1]} 137`);
            assert.equal((await worker.run('cat "$1/starts"', folder)).trim().split(" ")[3], String(failures));
            await allIsThere(worker, `all was killed ${failures} times`);
        }
        for (const loss of LOSSES.filter(({ what }) => /shim|power/.test(what))) {
            await struck(loss, worker, UPGRADED);
            await allIsThere(worker, loss.what);
        }
        const page = await inside(worker, `asker-${hostname}`, "/usr/bin/wget", "-T5", "-qO-", "http://pages/");
        assert.equal(page, `prepared on ${hostname}\n`);

        unchanged(await stack.refresh());
        // The Node's own facts are all that is new, which the engine does not count as a change.
        const { resources = [] } = (await stack.exportState()).deployment;
        const node = resources.find(({ urn }) => urn.endsWith(`containerd:Node::${hostname}`));
        assert.match((node?.outputs?.["facts"] as { containerd: string }).containerd, /^2\./);
        unchanged(await stack.up());

        await worker.run('kill -s TERM "$1"', await pidOf(worker, job));
        await eventually("the monitor was told that the job is done", async () => {
            const said = await worker.ctr("containers", "info", before[job]!.id);
            return said.includes('"containerd.io/restart.status": "stopped"');
        });
        assert.equal((await runningTasks(worker))[job], undefined);
        succeeded(await stack.destroy());
        await eventually("the machines hold what they did before", async () =>
            isDeepStrictEqual(await held(), found),
        ).catch(async () => assert.deepEqual(await held(), found));
    });
});
