/** Runs the commands of the setup: says what is done, how long it usually takes, and that it still goes on. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import process from "node:process";

/** A failure that is told to the user as it is, without a stack trace. */
export class SetupError extends Error {}

/** How often a step that takes long says that it goes on, in milliseconds. */
const PULSE = 15_000;
/** How much of what a failed command said is shown. */
const LAST_LINES = 25;

export function say(text) {
    // Not on stdout: what a program of the playground prints there may be read by another.
    process.stderr.write(`setup: ${text}\n`);
}

/** Runs a command to its end and gives its exit status and output; rejects when it cannot be started. */
export function capture(command, args, { cwd, env, onLine } = {}) {
    return new Promise((resolve, reject) => {
        const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
        let stdout = "";
        let all = "";
        const collect = (chunk) => {
            all += chunk;
            for (const line of chunk.split("\n")) if (line.trim()) onLine?.(line.trim());
        };
        child.stdout.setEncoding("utf8").on("data", (chunk) => {
            stdout += chunk;
            collect(chunk);
        });
        child.stderr.setEncoding("utf8").on("data", collect);
        child.once("error", (error) => reject(new SetupError(`cannot run ${command}: ${error.message}`)));
        child.once("close", (code, signal) => resolve({ code: signal ? -1 : code, stdout, all }));
    });
}

/** Runs a command that must succeed, with a pulse while it takes long. */
export async function must(command, args, options = {}) {
    const start = Date.now();
    let lines = 0;
    let last = "";
    const pulse = setInterval(() => {
        const seconds = Math.round((Date.now() - start) / 1000);
        say(
            `  … ${seconds} s${last ? `, ${options.unit ? `${lines} ${options.unit}` : ""} ${last.slice(0, 90)}` : ""}`,
        );
    }, PULSE);
    const onLine = (line) => {
        lines += 1;
        last = line;
    };
    try {
        const result = await capture(command, args, { ...options, onLine });
        if (result.code === 0) return result.stdout;
        const tail = result.all.trimEnd().split("\n").slice(-LAST_LINES).join("\n");
        throw new SetupError(`\`${[command, ...args].join(" ")}\` failed (${result.code}):\n${tail}`);
    } finally {
        clearInterval(pulse);
    }
}

/** Makes a folder that is there whole or not at all. `fill` gets a temporary one. Does nothing when it is there. */
export async function folder(target, fill) {
    if (existsSync(target)) return target;
    const temporary = `${target}.making`;
    rmSync(temporary, { recursive: true, force: true });
    mkdirSync(temporary, { recursive: true });
    await fill(temporary);
    mkdirSync(path.dirname(target), { recursive: true });
    renameSync(temporary, target);
    return target;
}
