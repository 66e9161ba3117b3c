/** Runs commands to their end, for the playground and the tests. */
import { spawn } from "node:child_process";
import { ContainerdError } from "../provider/errors";

/** What a command left. */
export interface Result {
    /** Exit status; 128 + n when ended by signal n is not computed: see `signal`. */
    code: number;
    signal: NodeJS.Signals | null;
    stdout: string;
    stderr: string;
}

export interface RunOptions {
    cwd?: string;
    env?: NodeJS.ProcessEnv;
    /** Text for its stdin; without, stdin is empty. */
    input?: string;
    /** Milliseconds until it is killed. Default: ten minutes. */
    timeout?: number;
    /** Ends it: SIGINT, as Ctrl-C does. */
    signal?: AbortSignal;
    /** Shows its output as it comes, beside collecting it. */
    show?: boolean;
    /** Called once with its process id. */
    onStart?: (pid: number) => void;
}

const TEN_MINUTES = 10 * 60 * 1000;

/** Runs a command to its end, whatever its exit status. Rejects only when it cannot be started. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Result> {
    return new Promise((resolve, reject) => {
        const child = spawn(command, args, { cwd: options.cwd, env: options.env, stdio: "pipe" });
        const stdout: Buffer[] = [];
        const stderr: Buffer[] = [];
        const timer = setTimeout(() => child.kill("SIGKILL"), options.timeout ?? TEN_MINUTES);
        const interrupt = () => void child.kill("SIGINT");
        options.signal?.addEventListener("abort", interrupt, { once: true });
        if (child.pid !== undefined) options.onStart?.(child.pid);
        child.stdout.on("data", (chunk: Buffer) => {
            stdout.push(chunk);
            if (options.show) process.stdout.write(chunk);
        });
        child.stderr.on("data", (chunk: Buffer) => {
            stderr.push(chunk);
            if (options.show) process.stderr.write(chunk);
        });
        const settle = () => {
            clearTimeout(timer);
            options.signal?.removeEventListener("abort", interrupt);
        };
        child.once("error", (cause) => {
            settle();
            reject(new ContainerdError("Failed", `cannot run ${command}: ${cause.message}`, { cause }));
        });
        child.once("close", (code, signal) => {
            settle();
            const text = (chunks: Buffer[]) => Buffer.concat(chunks).toString("utf8");
            resolve({ code: code ?? -1, signal, stdout: text(stdout), stderr: text(stderr) });
        });
        // A command that ends without reading its input is no failure of ours.
        child.stdin.on("error", () => undefined);
        child.stdin.end(options.input ?? "");
    });
}

/** Runs a command and gives its stdout. Throws `Failed` with what it wrote when its exit status is not 0. */
export async function output(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
    const result = await run(command, args, options);
    if (result.code === 0) return result.stdout;
    const how = result.signal ? `was ended by ${result.signal}` : `exited with status ${result.code}`;
    const said = (result.stderr || result.stdout).trim();
    throw new ContainerdError("Failed", `${command} ${args[0] ?? ""} ${how}: ${said}`);
}
