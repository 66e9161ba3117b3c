#!/usr/bin/env node
/**
 * Sets up, builds, and runs one of the playground's programs: `node playground/start.mjs demo.ts [ARGUMENT...]`. Plain
 * JavaScript without dependencies: in a fresh clone it runs before anything is installed.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { setUp } from "./setup.mjs";
import { withLock } from "./setup/lock.mjs";
import { cache, playground, repository } from "./setup/paths.mjs";
import { must, say, SetupError } from "./setup/run.mjs";

const [program, ...args] = process.argv.slice(2);
/** Commands of the playground that change nothing that another command relies on. */
const LOOKERS = ["exec", "ctr", "status"];

/** Arguments that ask for nothing but the playground's usage: it is shown in a fresh clone too. */
const HELP = [[], ["help"], ["--help"], ["-h"]];

/** Whether the built package is older than its sources. */
function buildIsStale() {
    const built = path.join(repository, "dist/index.js");
    if (!existsSync(built)) return true;
    const { mtimeMs } = statSync(built);
    const provider = path.join(repository, "provider");
    return readdirSync(provider, { recursive: true }).some(
        (file) => statSync(path.join(provider, file)).mtimeMs > mtimeMs,
    );
}

/** Runs the program with this terminal. Ctrl-C reaches it too: it decides when to end, and we end after it. */
function execute(env) {
    const ignore = () => undefined;
    process.on("SIGINT", ignore);
    return new Promise((resolve, reject) => {
        const file = path.join(repository, "playground", program);
        const child = spawn("node", ["--import", "tsx", file, ...args], { cwd: repository, env, stdio: "inherit" });
        process.on("SIGTERM", () => child.kill("SIGTERM"));
        child.once("error", reject);
        child.once("close", (code, signal) => resolve(signal ? 1 : code));
    });
}

async function main() {
    if (args.includes("--down") && !existsSync(playground)) {
        say("there is no playground in this clone: nothing to remove");
        return 0;
    }
    if (program === "cli.ts" && HELP.some((one) => one.join() === args.join())) {
        process.stdout.write(readFileSync(new URL("usage.txt", import.meta.url), "utf8"));
        return args.length === 0 ? 2 : 0;
    }
    const env = await setUp(program === "demo-sip.ts" ? "services" : "all");
    if (buildIsStale()) {
        say("building the package (about fifteen seconds)");
        await must("npm", ["run", "--silent", "build"], { cwd: repository, env });
    }
    // A shell on a node stays open while, from another terminal, the node's cable is pulled out.
    if (program === "cli.ts" && LOOKERS.includes(args[0])) return execute(env);
    // A second demo would take the first one's stack for a dead one's. Outside the folder that `--down` removes.
    const clone = createHash("sha256").update(repository).digest("hex").slice(0, 8);
    return withLock(path.join(cache, `lock-${clone}`), "command of this clone's playground", () => execute(env));
}

main().then(
    (code) => (process.exitCode = code),
    (error) => {
        process.stderr.write(`setup: ${error instanceof SetupError ? error.message : error.stack}\n`);
        process.exitCode = 1;
    },
);
