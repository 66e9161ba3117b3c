/** Where the end-to-end tests of a file play: a worker, a registry with busybox in it, and stacks that deploy to the worker. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { busyboxImage } from "../../playground/images";
import { type Registry, startRegistry } from "../../playground/registry";
import { type ConfigValue, Stack, type StackOptions, type UpdateResult } from "../../playground/stack";
import { type ContainerdVersion, startWorker, type Worker, type WorkerOptions } from "../../playground/worker";
import { type Census, census } from "../helpers/census";

/** Every program's first lines. */
export const PREAMBLE = `const pulumi = require("@pulumi/pulumi");
const containerd = require("pulumi-containerd");
`;

const PATIENCE = 30_000;
const POLL = 100;

/** A worker and a registry. Close it in `after`. */
export class Scene {
    readonly #stacks: Stack[] = [];

    private constructor(
        readonly worker: Worker,
        readonly registry: Registry,
        /** Reference of busybox in the registry. */
        readonly busybox: string,
    ) {}

    /** Starts both, with busybox pushed as `busybox:1`. */
    static async open(version: ContainerdVersion, options: Omit<WorkerOptions, "version"> = {}): Promise<Scene> {
        const registry = await startRegistry();
        try {
            const busybox = await registry.push(await busyboxImage(), "busybox:1");
            return new Scene(await startWorker({ version, ...options }), registry, busybox);
        } catch (error) {
            await registry.stop();
            throw error;
        }
    }

    /** The config by which a stack deploys to this worker. */
    get config(): Record<string, ConfigValue> {
        return { "containerd:nodes": { here: { socket: this.worker.address } }, "containerd:node": "here" };
    }

    /** A stack with a program in JavaScript; it is removed by `close`. */
    async stack(program: string, options: Partial<StackOptions> = {}): Promise<Stack> {
        const stack = await Stack.create({
            program: PREAMBLE + program,
            ...options,
            config: { ...this.config, ...options.config },
        });
        this.#stacks.push(stack);
        return stack;
    }

    /** Removes everything, also what tests that failed left. */
    async close(): Promise<void> {
        await Promise.all(this.#stacks.map((stack) => stack.remove()));
        await this.worker.stop();
        await this.registry.stop();
    }

    /** The worker holds what it did before; content goes when containerd has collected its garbage. */
    async holdsOnly(before: Census): Promise<void> {
        const end = Date.now() + PATIENCE;
        for (;;) {
            const now = await census(this.worker);
            try {
                return assert.deepEqual(now, before);
            } catch (error) {
                if (Date.now() > end) throw error;
                await sleep(POLL * 5);
            }
        }
    }

    /** Process ids of the running processes by containerd's id, without the random suffix of an automatic name. */
    async pids(namespace = "default"): Promise<Record<string, string>> {
        const lines = (await this.worker.ctr("-n", namespace, "tasks", "ls")).trim().split("\n").slice(1);
        const rows = lines.map((line) => line.split(/\s+/)).filter(([, , status]) => status === "RUNNING");
        return Object.fromEntries(rows.map(([id = "", pid = ""]) => [id.replace(/-[0-9a-f]{7}$/, ""), pid]));
    }

    /** Containers by name without suffix, to containerd's ids. */
    async containers(namespace = "default"): Promise<Record<string, string>> {
        const ids = (await this.worker.ctr("-n", namespace, "containers", "ls", "-q")).split("\n").filter(Boolean);
        return Object.fromEntries(ids.map((id) => [id.replace(/-[0-9a-f]{7}$/, ""), id]));
    }

    /** What a container wrote. */
    logOf(id: string, namespace = "default"): Promise<string> {
        return this.worker.run('cat "/var/lib/pulumi-containerd/$1/log/container.log"', `${id}@${namespace}`);
    }
}

/** Writes a new program into a stack. */
export function rewrite(stack: Stack, program: string): Promise<void> {
    return stack.write({ "index.js": PREAMBLE + program });
}

/** The command went well; gives it on. */
export function succeeded(result: UpdateResult): UpdateResult {
    assert.equal(result.code, 0, told(result));
    return result;
}

/** The command failed; gives what it told. */
export function failed(result: UpdateResult): string {
    assert.notEqual(result.code, 0, result.stdout);
    return told(result);
}

/** What the command told beside passing progress. */
export function warnings(result: UpdateResult): UpdateResult["diagnostics"] {
    return result.diagnostics.filter(({ severity }) => severity !== "info");
}

/** All that the command told the user. */
export function told(result: UpdateResult): string {
    return [...result.diagnostics.map(({ message }) => message), result.stdout, result.stderr].join("\n");
}

/** Nothing was changed, and nothing said. */
export function unchanged(result: UpdateResult): void {
    succeeded(result);
    assert.deepEqual([result.changes, warnings(result)], [[], []], told(result));
}

/** Polls until the condition holds: for what happens by itself on a worker. */
export async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + PATIENCE;
    while (!(await holds())) {
        assert.ok(Date.now() < end, `it did not happen: ${what}`);
        await sleep(POLL);
    }
}

/** A line of an htpasswd file. docker-registry takes bcrypt alone, which Debian's own perl can make. */
export function htpasswd(user: string, password: string): string {
    const script = "print crypt(<STDIN>, '$2b$05$abcdefghijklmnopqrstuu')";
    return `${user}:${execFileSync("perl", ["-e", script], { input: password, encoding: "utf8" })}\n`;
}
