#!/usr/bin/env node
/**
 * Runs the tests. Plain JavaScript without dependencies: in a fresh clone it runs before anything is installed.
 *
 *     npm test                 sets up, builds, lints, runs all tests
 *     npm run test:unit        the unit tests only; needs no root
 *     npm run test:long        what `npm test` runs as a sample, whole
 *     npm run bench            the benchmarks
 *     node test/run.mjs test/e2e/up.test.ts …    these files
 *
 * Every file runs in a mocha of its own, several at a time: one that crashes or hangs fails alone. The last line is
 * `N passed, N failed, N skipped`; the exit status is 0 only if something passed and nothing failed.
 */
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { setUp } from "../playground/setup.mjs";
import { SetupError } from "../playground/setup/run.mjs";

const repository = fileURLToPath(new URL("..", import.meta.url));
/** Folders of tests, in the order in which they run: what fails soonest first. Those of a line share a queue. */
const SUITES = [["unit"], ["integration"], ["e2e", "faults"]];
/** Files of the last queue that take minutes, the longest first: they begin before all others, so that none is left alone at the end. */
const LONG = [
    ...["faults/tunnels", "faults/orphans", "faults/machines", "faults/vm", "e2e/bad-input", "e2e/pull", "e2e/sip"],
    ...["e2e/node-resource", "e2e/options", "e2e/changes", "faults/frozen", "faults/nodes", "e2e/task", "e2e/volumes"],
].map((name) => path.join("test", `${name}.test.ts`));
/** What a machine is booted from that a test needs; made once, and kept for all clones. */
const MACHINE_TEST = path.join("test", "faults", "vm.test.ts");
/** What a file may take, in milliseconds, before it counts as hung; the whole kill matrices of `test:long` take longer. */
const FILE_LIMIT = { sample: 15 * 60_000, long: 3 * 60 * 60_000 };
const total = { passed: 0, failed: 0, skipped: 0 };
const failures = [];
const skips = [];
const durations = [];

/** Runs a command; with `collect`, gives what it wrote instead of showing it. */
function run(command, args, { env, collect = false, limit } = {}) {
    return new Promise((resolve) => {
        const stdio = collect ? ["ignore", "pipe", "pipe"] : ["ignore", "inherit", "inherit"];
        const child = spawn(command, args, { cwd: repository, env, stdio });
        let text = "";
        let hung = false;
        child.stdout?.setEncoding("utf8").on("data", (chunk) => (text += chunk));
        child.stderr?.setEncoding("utf8").on("data", (chunk) => (text += chunk));
        const timer = limit && setTimeout(() => (hung = child.kill("SIGKILL")), limit);
        child.once("error", (error) => resolve({ code: -1, text: error.message, hung }));
        child.once("close", (code) => {
            clearTimeout(timer);
            resolve({ code: code ?? -1, text, hung });
        });
    });
}

/** A step that is no test: one failure when it fails. */
async function step(name, command, args, env) {
    const start = Date.now();
    process.stdout.write(`\n== ${name}\n`);
    const { code } = await run(command, args, { env });
    durations.push([name, Date.now() - start]);
    if (code === 0) return true;
    total.failed += 1;
    failures.push({ file: name, title: `exited with status ${code}`, message: "" });
    return false;
}

/** The test files of a suite. */
function filesOf(suite) {
    const folder = path.join(repository, "test", suite);
    if (!existsSync(folder)) return [];
    return readdirSync(folder, { recursive: true })
        .filter((file) => file.endsWith(".test.ts"))
        .map((file) => path.join("test", suite, file))
        .sort();
}

/** The test files of a queue, in the order in which they begin. */
function queueOf(suites) {
    const files = suites.flatMap(filesOf);
    const long = LONG.filter((file) => files.includes(file));
    return [...long, ...files.filter((file) => !long.includes(file))];
}

/**
 * Makes what virtual machines boot from, some minutes when it is not in the cache: beside the tests of the first suites, since a
 * file that waited for it would count as hung. Says what it did when it is done.
 */
async function prepareMachine(env) {
    const start = Date.now();
    const { code, text } = await run("tsx", ["playground/vm/prepare.ts"], { env, collect: true });
    process.stdout.write(`\n== virtual machine\n${text}`);
    durations.push(["virtual machine", Date.now() - start]);
    if (code === 0) return;
    total.failed += 1;
    failures.push({ file: "playground/vm/prepare.ts", title: `exited with status ${code}`, message: text });
}

/** Runs test files in one mocha and adds up what it reports. */
async function mocha(files, env, limit) {
    const start = Date.now();
    const folder = mkdtempSync(path.join(tmpdir(), "pulumi-containerd-report-"));
    const report = path.join(folder, "report.json");
    const { code, text, hung } = await run("mocha", files, {
        env: { ...env, TEST_REPORT: report },
        collect: true,
        limit,
    });
    process.stdout.write(text);
    let result;
    try {
        result = JSON.parse(readFileSync(report, "utf8"));
    } catch {
        // It ended before its report.
    }
    rmSync(folder, { recursive: true });
    if (!result) {
        const message = hung
            ? `ended after ${limit / 1000} s without an end`
            : `mocha exited with status ${code} before its report`;
        result = {
            passed: 0,
            failures: [{ file: files[0], title: files.join(" "), message }],
            skips: [],
            durations: {},
        };
    }
    total.passed += result.passed;
    total.failed += result.failures.length;
    total.skipped += result.skips.length;
    failures.push(...result.failures);
    skips.push(...result.skips);
    if (files.length === 1) durations.push([files[0], Date.now() - start]);
    else durations.push(...Object.entries(result.durations));
    if (code !== 0 && result.failures.length === 0) {
        total.failed += 1;
        failures.push({ file: files[0], title: files.join(" "), message: `mocha exited with status ${code}` });
    }
}

/** Runs files one mocha each, one more at a time than there are processors: a test also waits. */
async function each(files, env, limit) {
    const queue = [...files];
    const worker = async () => {
        for (let file = queue.shift(); file; file = queue.shift()) await mocha([file], env, limit);
    };
    await Promise.all(Array.from({ length: Math.min(availableParallelism() + 1, 4) }, worker));
}

function summarize() {
    const write = (line) => process.stdout.write(`${line}\n`);
    write("\n== durations");
    for (const [name, milliseconds] of durations.sort((a, b) => b[1] - a[1])) {
        write(`${(milliseconds / 1000).toFixed(1).padStart(8)} s  ${name}`);
    }
    if (skips.length > 0) write("\n== skipped");
    for (const { file, title, reason } of skips) write(`${file}: ${title}: ${reason}`);
    if (failures.length > 0) write("\n== failed");
    for (const { file, title, message } of failures)
        write(`${file}: ${title}${message ? `\n    ${message.replaceAll("\n", "\n    ")}` : ""}`);
    write(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
    process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
}

async function main(what) {
    const unitOnly = what === "unit";
    const environment = await setUp(unitOnly ? "node" : what === "bench" ? "services" : "tests");
    // Random tests say by which seed they can be repeated.
    const seed = process.env.TEST_SEED ?? String(randomInt(2 ** 31));
    const env = { ...environment, TEST_SEED: seed, ...(what === "long" ? { TEST_LONG: "1" } : {}) };
    const npm = (script) => ["npm", ["run", "--silent", script], env];
    if (what === "bench") {
        const built = await step("build", ...npm("build"));
        process.exitCode = built
            ? (await run("tsx", ["test/bench/index.ts", ...process.argv.slice(3)], { env })).code
            : 1;
        return;
    }
    process.stdout.write(`\nTEST_SEED=${seed}\n`);
    const long = what === "long";
    const limit = long ? FILE_LIMIT.long : FILE_LIMIT.sample;
    const chosen = process.argv.slice(2).filter((argument) => argument.endsWith(".test.ts"));
    const built = await step(unitOnly ? "generate" : "build", ...npm(unitOnly ? "generate" : "build"));
    if (built && chosen.length > 0) {
        if (chosen.some((file) => path.relative(repository, path.resolve(file)) === MACHINE_TEST))
            await prepareMachine(env);
        await each(chosen, env, limit);
        return summarize();
    }
    const machine = built && !unitOnly ? prepareMachine(env) : undefined;
    if (!unitOnly && !long) {
        await step("types", "tsc", ["-p", "tsconfig.json"], env);
        await step("lint", ...npm("lint"));
    }
    for (const suites of built ? SUITES : []) {
        const unit = suites.includes("unit");
        if (unitOnly && !unit) continue;
        const files = queueOf(suites);
        if (files.length === 0) continue;
        if (files.includes(MACHINE_TEST)) await machine;
        process.stdout.write(`\n== ${suites.join(", ")}\n`);
        if (unit) await mocha(files, env, limit);
        else await each(files, env, limit);
    }
    summarize();
}

main(process.argv[2] ?? "all").catch((error) => {
    process.stderr.write(`test: ${error instanceof SetupError ? error.message : error.stack}\n`);
    process.stdout.write(`\n${total.passed} passed, ${total.failed + 1} failed, ${total.skipped} skipped\n`);
    process.exitCode = 1;
});
