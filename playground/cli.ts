/**
 * The playground by hand: machines to try the product on, and to break. `npm run playground -- help` says how. It is what
 * the demo runs on.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { closest, distance } from "fastest-levenshtein";
import { ContainerdError } from "../provider/errors";
import { shellQuote } from "../provider/node/shell";
import { environment, repository } from "./environment";
import {
    ensureStanding,
    ensureStandingCluster,
    files,
    removeStanding,
    standingCluster,
    standingNodes,
    standingRegistry,
} from "./standing";
import type { Worker } from "./worker";

const DEFAULT_WORKERS = 3;
const MOST_WORKERS = 50;

/** A file, because `start.mjs` shows it before anything is set up. */
const USAGE = readFileSync(path.join(__dirname, "usage.txt"), "utf8");

/** What is said of a command that did its work. */
const DONE = {
    kill: "is off: all its processes have ended; `boot` switches it on again",
    boot: "is on, and containerd answers",
    cut: "has its cable out: packets vanish; `heal` puts it back",
    heal: "has its cable back",
    upgrade: "runs containerd 2.x; its containers went on meanwhile",
} as const;

class UsageError extends Error {}

/** Takes a node's name off the arguments. */
async function nodeOf(args: readonly string[]): Promise<[worker: Worker, rest: string[]]> {
    const [name, ...rest] = args;
    if (name === undefined) throw new UsageError("which node?");
    const nodes = await standingNodes();
    const worker = nodes.get(name);
    if (worker) return [worker, rest];
    const names = [...nodes.keys()];
    if (names.length === 0) throw new ContainerdError("NotFound", "there is no playground: `npm run playground -- up`");
    const near = closest(name, names);
    const hint = distance(name, near) <= 2 ? `, did you mean ${near}?` : `: there are ${names.join(", ")}`;
    throw new ContainerdError("NotFound", `no node ${name}${hint}`);
}

function parseUp(args: readonly string[]) {
    try {
        return parseArgs({ args: [...args], options: { workers: { type: "string" } } });
    } catch (error) {
        throw new UsageError(ContainerdError.from(error).message);
    }
}

async function up(args: readonly string[]): Promise<string> {
    const { values } = parseUp(args);
    const there = (await standingCluster())?.workers.length;
    const count = values.workers === undefined ? (there ?? DEFAULT_WORKERS) : Number(values.workers);
    if (!Number.isInteger(count) || count < 0 || count > MOST_WORKERS) {
        throw new UsageError(`--workers is a number up to ${MOST_WORKERS}`);
    }
    await ensureStanding(environment().containerd["2"] ? "2" : "1.6");
    if (count > 0) await ensureStandingCluster(count);
    return status();
}

async function status(): Promise<string> {
    const nodes = await standingNodes();
    if (nodes.size === 0) return "there is no playground: `npm run playground -- up`\n";
    const table = new Table({ head: ["node", "containerd", "state", "reach it by"], style: { head: [], border: [] } });
    const rows = [...nodes].map(async ([name, worker]) => {
        const reach = worker.hasNetwork ? `ssh -F ${shown(files.sshConfig)} ${name}` : worker.address;
        return [name, await versionOf(worker), await stateOf(worker), reach];
    });
    table.push(...(await Promise.all(rows)));
    return [
        table.toString(),
        `registry: ${(await standingRegistry()) ?? "off"}`,
        `to deploy to them, in your project: pulumi config set-all --json "$(cat ${shellQuote(files.config)})"`,
        "",
    ].join("\n");
}

/** A path of this clone as it is typed in the clone's folder. */
function shown(file: string): string {
    return path.relative(repository, file);
}

async function versionOf(worker: Worker): Promise<string> {
    if (!worker.running) return worker.version;
    const said = await worker.run("containerd --version").catch(() => "");
    return said.split(" ")[2]?.replace(/^v/, "") ?? worker.version;
}

async function stateOf(worker: Worker): Promise<string> {
    if (!worker.running) return "off";
    const faults = [];
    if (worker.isCut) faults.push("cut off");
    if (!(await worker.answers())) faults.push("containerd does not answer");
    return faults.length > 0 ? faults.join(", ") : "on";
}

/** Runs a command on a worker with this terminal; its exit status becomes ours. */
function execute(worker: Worker, command: readonly string[]): Promise<string> {
    const [program, ...args] = command[0] === "--" ? command.slice(1) : command;
    if (program === undefined) throw new UsageError("which command?");
    const [enter, enterArgs] = worker.enter(program, args);
    return new Promise((resolve, reject) => {
        // Ctrl-C is the command's; we end after it.
        process.on("SIGINT", () => undefined);
        const env = { ...worker.environment(), TERM: process.env.TERM };
        const child = spawn(enter, enterArgs, { stdio: "inherit", env });
        child.once("error", reject);
        child.once("close", (code) => {
            process.exitCode = code ?? 1;
            resolve("");
        });
    });
}

async function main([command, ...args]: string[]): Promise<string> {
    switch (command) {
        case "up":
            return up(args);
        case "down":
            await removeStanding();
            return "";
        case "status":
            return status();
        case "kill":
        case "boot":
        case "cut":
        case "heal": {
            const [worker] = await nodeOf(args);
            // What has died on a machine that is on, its service manager would start.
            await worker[command === "boot" ? "ensure" : command]();
            return `${worker.hostname} ${DONE[command]}${command === "boot" && worker.isCut ? "; its cable is still out" : ""}\n`;
        }
        case "upgrade": {
            const [worker] = await nodeOf(args);
            await worker.upgrade("2");
            return `${worker.hostname} ${DONE.upgrade}\n`;
        }
        case "exec":
            return execute(...(await nodeOf(args)));
        case "ctr": {
            const [worker, rest] = await nodeOf(args);
            return execute(worker, ["ctr", ...rest]);
        }
        case "help":
        case "--help":
            return USAGE;
        default:
            throw new UsageError(command === undefined ? "which command?" : `no command ${command}`);
    }
}

main(process.argv.slice(2)).then(
    (text) => process.stdout.write(text),
    (error: unknown) => {
        if (error instanceof UsageError) {
            process.stderr.write(`playground: ${error.message}\n${USAGE}`);
            process.exitCode = 2;
            return;
        }
        process.stderr.write(`playground: ${ContainerdError.from(error).message}\n`);
        process.exitCode = 1;
    },
);
