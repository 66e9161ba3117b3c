/**
 * Containers for the tests of the logger: a busybox in a folder, started by `ctr` with our log URI on a worker of the
 * playground. `ctr` knows nothing of us: what it can start, the restart monitor can start.
 */
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { environment } from "../../playground/environment";
import type { Worker } from "../../playground/worker";
import { Client } from "../../provider/containerd/client";
import { containerFolder, logFile } from "../../provider/node/folders";
import { LOG_URI, loggerAnnotations } from "../../provider/node/log-uri";
import { unixTransport } from "../../provider/transport/unix";
import type { SpecContext } from "../../provider/spec/context";
import { withHooks } from "../../provider/spec/hooks";
import type { LogInputs } from "../../provider/spec/inputs";
import type { Spec } from "../../provider/spec/types";

export interface Options {
    log?: Partial<LogInputs>;
    env?: string[];
    annotations?: Record<string, string>;
    labels?: Record<string, string>;
    /** Of its first start. Default: `LOG_URI`, as the monitor starts it. */
    logUri?: string;
    /** Path on the worker of its network's script. */
    network?: string;
    /** With a terminal, which `ctr` alone can't combine with a log URI. */
    tty?: boolean;
}

let last = 0;

/** One container with its log. All paths are those on the worker. */
export class LoggedContainer {
    readonly name = `logged-${++last}`;
    readonly folder = containerFolder("default", this.name);
    readonly log = logFile(this.folder);
    /** Where its bundle lies while it has a task. */
    readonly bundle = `/run/containerd/io.containerd.runtime.v2.task/default/${this.name}`;
    /** The root of the container's files, the same path on the worker and outside. */
    readonly root: string;

    constructor(
        private readonly worker: Worker,
        private readonly script: string,
        private readonly options: Options = {},
    ) {
        this.root = path.join(worker.dir, this.name);
    }

    /** Creates and starts it. */
    async start(): Promise<void> {
        const bin = path.join(this.root, "bin");
        await mkdir(bin, { recursive: true });
        for (const name of ["sh", "busybox"]) await copyFile(environment().busybox, path.join(bin, name));
        for (const folder of ["proc", "dev", "tmp"]) await mkdir(path.join(this.root, folder), { recursive: true });
        const spec = path.join(this.worker.dir, `${this.name}.json`);
        await writeFile(spec, JSON.stringify(this.spec()));
        if (this.options.tty) {
            await this.worker.ctr("containers", "create", "--config", spec, this.name);
            await this.withClient(async ({ tasks }) => {
                await tasks.create({ container_id: this.name, stdout: LOG_URI, stderr: LOG_URI, terminal: true });
                await tasks.start({ container_id: this.name });
            });
            return;
        }
        const logUri = this.options.logUri ?? LOG_URI;
        await this.worker.ctr("run", "--detach", "--config", spec, "--log-uri", logUri, this.name);
        // Not before: the monitor would take it for stopped until it runs.
        const labels = Object.entries(this.options.labels ?? {}).map(([key, value]) => `${key}=${value}`);
        if (labels.length) await this.worker.ctr("containers", "label", this.name, ...labels);
    }

    /** Starts it once more, after its task is deleted. Throws what containerd says. */
    async startAgain(logUri = LOG_URI): Promise<void> {
        await this.withClient(async ({ tasks }) => {
            await tasks.create({ container_id: this.name, stdout: logUri, stderr: logUri });
            await tasks.start({ container_id: this.name });
        });
    }

    /** Waits for the task's end and deletes it; the container stays. */
    async endTask(): Promise<number> {
        await this.ended();
        return this.withClient(async ({ tasks }) => (await tasks.delete({ container_id: this.name })).exit_status);
    }

    /** The labels of the container. */
    async labels(): Promise<Record<string, string>> {
        return this.withClient(
            async ({ containers }) => (await containers.get({ id: this.name })).container?.labels ?? {},
        );
    }

    /** Removes all of it, whatever it is at. */
    async remove(): Promise<void> {
        const keys = ["status", "loguri", "policy"].map((key) => `containerd.io/restart.${key}=`);
        await this.worker.ctr("containers", "label", this.name, ...keys);
        await until(`${this.name} is removed`, async () => {
            await this.worker.exec("ctr", ["tasks", "delete", "--force", this.name]);
            return (await this.worker.exec("ctr", ["containers", "delete", this.name])).code === 0;
        });
        await this.worker.run('rm -rf "$1"', this.folder);
    }

    private async withClient<T>(use: (client: Client) => Promise<T>): Promise<T> {
        const transport = unixTransport(this.worker.name, this.worker.address);
        const client = await Client.connect(transport, "default");
        try {
            return await use(client);
        } finally {
            client.close();
            await transport.close();
        }
    }

    private spec(): object {
        const log: LogInputs = { driver: "file", maxSize: 10 << 20, maxFiles: 3, ...this.options.log };
        const tty = this.options.tty ?? false;
        const spec = {
            ociVersion: "1.0.2",
            process: {
                terminal: tty,
                args: ["/bin/sh", "-c", this.script],
                env: ["PATH=/bin", ...(this.options.env ?? [])],
                cwd: "/",
                user: { uid: 0, gid: 0 },
            },
            root: { path: this.root },
            mounts: [
                { destination: "/proc", type: "proc", source: "proc" },
                { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
                {
                    destination: "/dev/pts",
                    type: "devpts",
                    source: "devpts",
                    options: ["newinstance", "ptmxmode=0666"],
                },
            ],
            annotations: {
                ...this.options.annotations,
                ...loggerAnnotations({ folder: this.folder, log, network: this.options.network }),
            },
            linux: { namespaces: ["pid", "ipc", "uts", "mount"].map((type) => ({ type })) },
        };
        return withHooks(spec as unknown as Spec, { inputs: { tty } } as SpecContext);
    }

    /** `RUNNING`, `STOPPED` and so on; empty without a task. */
    async status(): Promise<string> {
        const list = await this.worker.ctr("tasks", "ls");
        return new RegExp(`^${this.name}\\s+\\d+\\s+(\\w+)`, "m").exec(list)?.[1] ?? "";
    }

    async ended(): Promise<void> {
        await until(`${this.name} ends`, async () => (await this.status()) === "STOPPED");
    }

    async kill(): Promise<void> {
        await this.worker.ctr("tasks", "kill", "--signal", "SIGKILL", this.name);
    }

    /** Deletes the ended task and gives its exit status. */
    async delete(): Promise<number> {
        // ctr doesn't tell the exit status.
        const { exit_status } = await this.withClient(({ tasks }) => tasks.delete({ container_id: this.name }));
        await this.worker.ctr("containers", "delete", this.name);
        return exit_status;
    }

    /** Waits for its end and deletes it; gives the exit status. Its log is complete then. */
    async finish(): Promise<number> {
        await this.ended();
        return this.delete();
    }

    /** The current file of the log. */
    async read(): Promise<string> {
        return (await this.worker.exec("cat", [this.log])).stdout;
    }

    async logs(text: string | RegExp): Promise<void> {
        await until(`${this.name} logs ${text}`, async () => {
            const log = await this.read();
            return typeof text === "string" ? log.includes(text) : text.test(log);
        });
    }

    /** The logger's processes, as `PID COMMAND`: the shim gave them the container's id in their environment. */
    async loggers(): Promise<{ pid: string; command: string }[]> {
        const script = `grep -lzxs "CONTAINER_ID=$1" /proc/[0-9]*/environ | while read -r file; do
            file=\${file%/environ}
            read -r name <"$file/comm" && echo "\${file#/proc/} $name"
        done 2>/dev/null; true`;
        const lines = (await this.worker.run(script, this.name)).split("\n").filter(Boolean);
        return lines.map((line) => {
            const [pid = "", command = ""] = line.split(" ");
            return { pid, command };
        });
    }
}

/** Waits until something holds; fails after half a minute. */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + 30_000;
    while (!(await holds())) {
        if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
        await sleep(100);
    }
}
