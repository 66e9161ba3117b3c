/**
 * Rows: publishing many ports, against Debian's Docker on a worker of its own. Ours with many ports is the script that the
 * node runs for a container's network (namespace, addresses, ports; and its removal); Docker's is what 1,000 ports add to `docker run`
 * and `docker rm`, its start of a process not counted. Both are timed inside the worker.
 */
import { busyboxImage } from "../../playground/images";
import { Docker } from "../../playground/docker";
import type { Worker } from "../../playground/worker";
import { TABLE } from "../../provider/network/rules";
import { NetworkNode, settingsOf } from "../integration/network-node";
import { byRatio, interleaved, runs, spread, type Line } from "./measure";
import { timedOn } from "./stopwatch";

/** Of Docker's a round takes minutes. */
const MANY_RUNS = 1;
const TEN_THOUSAND_RUNS = runs(10);
const MANY_LIMIT = 0.01;
const TEN_THOUSAND_LIMIT = 1000;

/** Two workers; the second one gets Docker. */
export async function publishing([ours, peer]: readonly Worker[]): Promise<Line[]> {
    const docker = await Docker.start(peer!);
    await docker.load(await busyboxImage(), "busybox:1");
    return [...(await thousand(new NetworkNode(ours!), peer!, docker)), await tenThousand(new NetworkNode(ours!))];
}

/** 1,000 UDP ports, up and down. */
async function thousand(node: NetworkNode, peer: Worker, docker: Docker): Promise<Line[]> {
    const settings = settingsOf("many", 5, ["20000-20999:20000-20999/udp"]);
    const script = await node.write(settings);
    const down = { ours: [] as number[], many: [] as number[], one: [] as number[] };
    /** Measures the way up and notes the way down. */
    const both = (name: keyof typeof down, worker: Worker, up: string[], remove: string[]) => async () => {
        const milliseconds = await timedOn(worker, up);
        down[name].push(await timedOn(worker, remove));
        return milliseconds;
    };
    const run = (...ports: string[]) =>
        docker.client("run", "--detach", "--name", "many", ...ports, "busybox:1", "sleep", "infinity");
    const remove = docker.client("rm", "--force", "many");
    const measures = {
        ours: both("ours", node.worker, ["sh", script, "ensure"], ["sh", script, "remove"]),
        many: both("many", peer, run("-p", "20000-20999:20000-20999/udp"), remove),
        one: both("one", peer, run("-p", "20000:20000/udp"), remove),
    };
    const up = await interleaved(MANY_RUNS, measures, { warmUp: false });
    const line = (direction: string, { ours, many, one }: typeof down) => {
        const added = many.map((milliseconds) => milliseconds - spread(one).median);
        const times = Math.round(spread(added).median / spread(ours).median);
        return byRatio(
            {
                what: `publish 1,000 UDP ports, ${direction}`,
                against: "what they add to docker run",
                limit: MANY_LIMIT,
                note: `Docker takes ${times} × as long, with its userland proxy (a process for each port and family), as by default; one round.`,
            },
            ours,
            added,
        );
    };
    await node.clean();
    return [line("up", up), line("down", down)];
}

/** 10,000 UDP ports by us: the time, the processes, the rules. */
async function tenThousand(node: NetworkNode): Promise<Line> {
    const settings = settingsOf("rtp", 5, ["20000-29999:20000-29999/udp"]);
    // Another container's network stands: rules that all share and the bridge are there.
    await node.ensure(settingsOf("other", 6));
    const script = await node.write(settings);
    const count = async () => Number(await node.worker.run("ps -e | wc -l"));
    const table = () => node.worker.run(`nft list table inet ${TABLE}`);
    const rulesOf = (text: string) => text.match(/^\t\t\S.* comment "r[0-9a-f]+"$/gm)?.length ?? 0;
    const before = { processes: await count(), rules: rulesOf(await table()) };
    const found = { processes: 0, rules: 0, elements: 0 };
    const { ours } = await interleaved(TEN_THOUSAND_RUNS, {
        ours: async () => {
            const milliseconds = await timedOn(node.worker, ["sh", script, "ensure"]);
            const text = await table();
            found.processes = Math.max(found.processes, (await count()) - before.processes);
            found.rules = rulesOf(text) - before.rules;
            found.elements = text.match(/20000-29999 comment "rtp@default"/g)?.length ?? 0;
            await node.worker.run('sh "$1" remove', script);
            return milliseconds;
        },
    });
    await node.clean();
    if (before.rules === 0 || found.elements === 0) throw new Error("the ports are not in the table");
    const all = spread(ours);
    const few = found.processes <= 0 && found.rules === 0 && found.elements <= 2;
    return {
        what: "publish 10,000 UDP ports",
        against: "the longest",
        unit: "ms",
        kind: "absolute",
        ours: all,
        figure: all.max,
        limit: TEN_THOUSAND_LIMIT,
        reached: few && all.max <= TEN_THOUSAND_LIMIT,
        note: `${found.processes} processes, ${found.rules} rules and ${found.elements} elements (IPv4 and IPv6) for them.`,
    };
}
