/**
 * The benchmarks: `npm run bench`. Prints a table; its figures are ratios to a peer that was measured in the same run, by turns.
 *
 *     npm run bench start                   one row, or several: load, start, pull, layer, ssh, fleet, publish, port, packets, kill,
 *                                           move, boot, pod, plan, floor (or as `--only start,port`)
 *     BENCH_RUNS=2 npm run bench ...       a quick look
 *     npm run bench -- --json FILE          the result as JSON
 *     npm run bench -- --write              docs/performance.json, .svg, and the table in docs/performance.md
 *
 * A missed limit does not fail it: machines differ. It fails where something could not be measured.
 */
import { readFile, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { format, resolveConfig } from "prettier";
import { startCluster } from "../../playground/cluster";
import { repository, type ContainerdVersion } from "../../playground/environment";
import { startRegistry, type Registry } from "../../playground/registry";
import { startWorker, type Worker } from "../../playground/worker";
import { svg } from "./chart";
import { booted, killed } from "./again";
import { fleet } from "./fleet";
import { thousand } from "./floor";
import { layer } from "./layer";
import { loading } from "./load";
import type { Line } from "./measure";
import { planning } from "./plan";
import { publishing } from "./publish";
import { moving, threeMembers } from "./pod";
import { packetsOf, portStart } from "./port";
import { pulling } from "./pull";
import { markdown, textTable, type BenchResult } from "./report";
import { tunnels } from "./ssh";
import { starting } from "./start";
import { busyboxOn } from "./workbench";

const VERSIONS: readonly ContainerdVersion[] = ["1.6", "2"];

interface Bench {
    registry: Registry;
    worker: (version: ContainerdVersion) => Promise<Worker>;
}

/** Runs on a new worker, which is removed. */
async function on(
    bench: Bench,
    version: ContainerdVersion,
    work: (worker: Worker) => Promise<Line[]>,
): Promise<Line[]> {
    const worker = await bench.worker(version);
    try {
        return await work(worker);
    } finally {
        await worker.stop();
    }
}

async function onEach(bench: Bench, work: (worker: Worker) => Promise<Line[]>): Promise<Line[]> {
    const lines: Line[] = [];
    for (const version of VERSIONS) lines.push(...(await on(bench, version, work)));
    return lines;
}

/** Runs on new workers with a network of their own, by the names `node-1` and so on. */
async function onCluster(
    versions: readonly ContainerdVersion[],
    work: (workers: readonly Worker[]) => Promise<Line[]>,
    reach: readonly number[] = [],
): Promise<Line[]> {
    const cluster = await startCluster({ workers: versions.map((version) => ({ version })), reach });
    try {
        return await work(cluster.workers);
    } finally {
        await cluster.stop();
    }
}

/** Of the restart monitor: what is advised, and what containerd has by itself. */
const INTERVALS = ["1s", "10s"];

async function booting(registry: Registry): Promise<Line[]> {
    const lines: Line[] = [];
    for (const version of VERSIONS) {
        for (const restartInterval of INTERVALS) {
            const cluster = await startCluster({ workers: [{ version, restartInterval }], reach: [registry.port] });
            try {
                lines.push(await booted(cluster.workers[0]!, registry, restartInterval));
            } finally {
                await cluster.stop();
            }
        }
    }
    return lines;
}

const ROWS: Record<string, (bench: Bench) => Promise<Line[]>> = {
    load: () => loading(),
    start: (bench) => onEach(bench, async (worker) => starting(worker, await busyboxOn(worker, bench.registry))),
    pull: (bench) => onEach(bench, (worker) => pulling(worker, bench.registry)),
    layer: (bench) => on(bench, "1.6", (worker) => layer(worker)),
    ssh: () => onCluster(["1.6"], ([worker]) => tunnels(worker!)),
    fleet: ({ registry }) => onCluster(["1.6", "2", "2"], (workers) => fleet(workers, registry), [registry.port]),
    publish: () => onCluster(["1.6", "1.6"], publishing),
    port: ({ registry }) =>
        onCluster(["1.6", "1.6"], async (workers) => [await portStart(workers, registry)], [registry.port]),
    packets: () => onCluster(["1.6", "1.6", "2"], async (workers) => [await packetsOf(workers)]),
    kill: ({ registry }) =>
        onCluster(["1.6", "1.6"], async (workers) => [await killed(workers, registry)], [registry.port]),
    move: async ({ registry }) => {
        const move = (version: ContainerdVersion) =>
            onCluster([version, "2"], async (workers) => [await moving(workers, registry)], [registry.port]);
        return [...(await move("1.6")), ...(await move("2"))];
    },
    boot: ({ registry }) => booting(registry),
    pod: (bench) => onEach(bench, (worker) => threeMembers(worker, bench.registry)),
    plan: ({ registry }) => planning(registry),
    floor: (bench) => on(bench, "1.6", (worker) => thousand(worker, bench.registry)),
};

async function main(): Promise<void> {
    const { values, positionals } = parseArgs({
        options: { only: { type: "string", multiple: true }, json: { type: "string" }, write: { type: "boolean" } },
        allowPositionals: true,
    });
    const asked = [...(values.only ?? []), ...positionals].flatMap((text) => text.split(","));
    const names = asked.length ? asked : Object.keys(ROWS);
    for (const name of names) {
        if (!ROWS[name]) throw new Error(`no row ${name}: there are ${Object.keys(ROWS).join(", ")}`);
    }
    const loadAtStart = os.loadavg()[0] ?? 0;
    const versions: Record<string, string> = {};
    const bench: Bench = {
        registry: await startRegistry(),
        worker: async (version) => {
            const worker = await startWorker({ version });
            versions[version] ??= /Server:\s+Version:\s+(\S+)/.exec(await worker.ctr("version"))?.[1] ?? version;
            return worker;
        },
    };
    const lines: Line[] = [];
    try {
        for (const name of names) {
            process.stderr.write(`bench: ${name} …\n`);
            lines.push(...(await ROWS[name]!(bench)));
        }
    } finally {
        await bench.registry.stop();
    }
    const result: BenchResult = {
        date: new Date().toISOString(),
        command: ["npm run bench", ...asked].join(" "),
        machine: {
            processors: os.availableParallelism(),
            model: os.cpus()[0]?.model ?? "",
            memoryGB: Math.round(os.totalmem() / 1e9),
            kernel: os.release(),
            node: process.versions.node,
            loadAtStart,
        },
        containerd: versions,
        lines,
    };
    process.stdout.write(`${textTable(lines)}\n`);
    if (values.json) await writeFile(values.json, toJson(result));
    if (values.write) await writeDocs(result);
}

function toJson(result: BenchResult): string {
    const short = (_key: string, value: unknown) =>
        typeof value === "number" ? Math.round(value * 1000) / 1000 : value;
    return `${JSON.stringify(result, short, 4)}\n`;
}

/** Replaces what stands between the marks in the page; the words around it are written by hand. */
async function writeDocs(result: BenchResult): Promise<void> {
    const docs = path.join(repository, "docs");
    const page = path.join(docs, "performance.md");
    const text = await readFile(page, "utf8");
    const [begin, end] = ["<!-- bench: begin -->", "<!-- bench: end -->"];
    const [from, to] = [text.indexOf(begin), text.indexOf(end)];
    if (from < 0 || to < from) throw new Error(`${page} has no place for the table: ${begin} … ${end}`);
    const table = `${text.slice(0, from + begin.length)}\n\n${markdown(result)}\n\n${text.slice(to)}`;
    await writeFormatted(page, table);
    await writeFormatted(path.join(docs, "performance.json"), toJson(result));
    await writeFile(path.join(docs, "performance.svg"), svg(result.lines));
}

/** Writes a file as the linter wants it. */
async function writeFormatted(file: string, text: string): Promise<void> {
    await writeFile(file, await format(text, { ...(await resolveConfig(file)), filepath: file }));
}

main().catch((error: unknown) => {
    process.stderr.write(`bench: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
});
