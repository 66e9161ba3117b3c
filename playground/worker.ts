/**
 * Workers of the playground: machines that run containerd, made of namespaces on this machine. Each has its own processes,
 * mounts, control groups, host name, `/run` and `/var/lib` (so containerd's default paths, runc's state and the folder of
 * our files and logs are its own); the network is this machine's. Nothing that runs here already is touched.
 *
 * A worker dies with the process that started it, even if that is killed, unless it was started `persistent`. What a killed
 * process left in folders and control groups, the next start removes.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { mkdir, readFile, readdir, rename, rm, statfs, writeFile } from "node:fs/promises";
import path from "node:path";
import { ContainerdError } from "../provider/errors";
import { type ContainerdOptions, containerdConfig } from "./containerd-config";
import { type ContainerdVersion, environment, toolPath } from "./environment";
import { type Result, type RunOptions, output, run } from "./process";
import { type ProcessId, childOf, identify, isAlive } from "./process-id";
import { PATIENCE, exists, removeCgroups, signal, unmountBelow, until } from "./system";

export type { ContainerdVersion } from "./environment";

/** Where workers live. Short: a unix socket's path holds 107 bytes. Not below /run or /var/lib, which each worker covers. */
const WORKERS = "/var/tmp/pulumi-containerd";
const OVERLAYFS_MAGIC = 0x794c7630;

export interface WorkerOptions extends ContainerdOptions {
    /** Also its host name. Default: a random one. */
    name?: string;
    /** Its folder, absolute; its parent holds nothing else. Default: one below `/var/tmp/pulumi-containerd`. */
    dir?: string;
    /** Goes on when this process ends; `openWorker` finds it again. Default: false. */
    persistent?: boolean;
}

/** What is written down of a worker: by it others find, and clean up after, one. */
interface Registration {
    name: string;
    version: ContainerdVersion;
    persistent: boolean;
    /** The process that started it. */
    owner: ProcessId;
    /** Outermost process of the worker; absent while it is off. */
    outer?: ProcessId;
}

/** A worker: a machine with containerd. */
export class Worker {
    private constructor(
        readonly dir: string,
        private readonly registration: Registration,
    ) {}

    /** Its process 1, seen from outside; undefined while it is off. */
    private init: number | undefined;

    get name(): string {
        return this.registration.name;
    }

    get version(): ContainerdVersion {
        return this.registration.version;
    }

    /** Path of containerd's socket, reachable from this machine. */
    get address(): string {
        return path.join(this.dir, "run/containerd/containerd.sock");
    }

    /** The worker's `/var/lib`, seen from this machine. */
    get varLib(): string {
        return path.join(this.dir, "var-lib");
    }

    /** containerd's log. */
    get log(): string {
        return path.join(this.dir, "containerd.log");
    }

    /** Name of its group in each control group hierarchy. */
    get cgroup(): string {
        return `pulumi-containerd-${this.name}`;
    }

    /** @internal Use `startWorker`. */
    static async start(options: WorkerOptions): Promise<Worker> {
        const name = options.name ?? `w${options.version.replace(".", "")}-${randomBytes(4).toString("hex")}`;
        const dir = options.dir ?? path.join(WORKERS, name);
        const owner = await identify(process.pid);
        if (!owner) throw new ContainerdError("Unsupported", "this process is not in /proc: is it mounted?");
        const persistent = options.persistent ?? false;
        const worker = new Worker(dir, { name, version: options.version, persistent, owner });
        if (Buffer.byteLength(worker.address) > 107) {
            throw new ContainerdError("Invalid", `${dir} is too long for the path of a socket below it`);
        }
        await mkdir(dir, { recursive: true });
        await worker.register();
        try {
            // overlayfs cannot lie on overlayfs (this machine may be a container): keep it in memory then.
            if ((await statfs(dir)).type === OVERLAYFS_MAGIC) {
                await output("mount", ["-t", "tmpfs", "-o", "mode=0755", "tmpfs", dir]);
                await worker.register();
            }
            await mkdir(path.join(dir, "run"), { recursive: true });
            await mkdir(worker.varLib, { recursive: true });
            await writeFile(path.join(dir, "config.toml"), containerdConfig(options));
            await worker.boot();
        } catch (error) {
            await worker.stop().catch(() => undefined);
            throw error;
        }
        return worker;
    }

    /** @internal Use `openWorker`. */
    static async open(dir: string): Promise<Worker | undefined> {
        const text = await readFile(path.join(dir, "worker.json"), "utf8").catch(() => undefined);
        if (text === undefined) return undefined;
        const worker = new Worker(dir, JSON.parse(text) as Registration);
        const { outer } = worker.registration;
        if (outer && (await isAlive(outer))) worker.init = await childOf(outer.pid);
        return worker;
    }

    /** Whether nobody can want this worker any more. */
    get abandoned(): Promise<boolean> {
        const { persistent, owner } = this.registration;
        return persistent ? Promise.resolve(false) : isAlive(owner).then((alive) => !alive);
    }

    /** Whether the machine is on. */
    get running(): boolean {
        return this.init !== undefined;
    }

    /** Runs `ctr` on the worker. Throws `Failed` with what it said. */
    ctr(...args: string[]): Promise<string> {
        return this.output("ctr", args);
    }

    /** Runs a POSIX shell script on the worker; `args` are its `$1`, `$2`, … Throws `Failed` with what it said. */
    run(script: string, ...args: string[]): Promise<string> {
        return this.output("/bin/sh", ["-c", script, "sh", ...args]);
    }

    /** Runs a command on the worker to its end, whatever its exit status. */
    exec(command: string, args: readonly string[], options: RunOptions = {}): Promise<Result> {
        const [enter, enterArgs] = this.enter(command, args);
        return run(enter, enterArgs, { timeout: PATIENCE * 2, ...options, env: this.environment() });
    }

    /** Switches the machine on and starts containerd; resolves when that answers. */
    async boot(): Promise<void> {
        if (this.init !== undefined) return;
        const script = path.join(__dirname, "worker-boot.sh");
        const boot = ["/bin/sh", script, this.dir, this.cgroup, this.name];
        const args = this.registration.persistent ? boot : ["setpriv", "--pdeathsig", "KILL", ...boot];
        const pid = this.spawnDetached(args, "boot.log");
        const booted = path.join(this.dir, "run/booted");
        await rm(booted, { force: true });
        const outer = await identify(pid);
        if (outer) this.registration.outer = outer;
        await this.register();
        await until(`worker ${this.name} boots (see ${this.dir}/boot.log)`, async () => {
            if (!outer || !(await isAlive(outer))) {
                const said = await readFile(path.join(this.dir, "boot.log"), "utf8").catch(() => "");
                throw new ContainerdError("Failed", `worker ${this.name} does not boot: ${said.trim()}`);
            }
            this.init = (await exists(booted)) ? await childOf(pid) : undefined;
            return this.init !== undefined;
        });
        await this.startContainerd();
    }

    /** Cuts the power: all its processes end at once. Its disk stays; see `boot`. */
    async kill(): Promise<void> {
        await this.powerOff();
        await this.register();
    }

    private async powerOff(): Promise<void> {
        const { outer } = this.registration;
        // Process 1 of the namespace: the kernel ends all others before it is gone itself.
        if (this.init !== undefined) signal(this.init, "SIGKILL");
        else if (outer && (await isAlive(outer))) signal(outer.pid, "SIGKILL");
        if (outer) await until(`worker ${this.name} ends`, async () => !(await isAlive(outer)));
        this.init = undefined;
        delete this.registration.outer;
        await removeCgroups(this.cgroup);
    }

    /** Starts containerd and waits until it answers. */
    async startContainerd(): Promise<void> {
        const config = path.join(this.dir, "config.toml");
        const script = 'echo $$ >/run/containerd.pid; exec containerd --config "$1"';
        const [enter, args] = this.enter("/bin/sh", ["-c", script, "sh", config]);
        this.spawnDetached([enter, ...args], "containerd.log");
        await until(`containerd of worker ${this.name} answers (see ${this.log})`, async () => {
            if (!(await exists(this.address))) return false;
            return (await this.exec("ctr", ["--timeout", "5s", "version"])).code === 0;
        });
    }

    /** Starts containerd again if it does not answer, as a machine's service manager does. */
    async ensureContainerd(): Promise<void> {
        if ((await this.exec("ctr", ["--timeout", "5s", "version"])).code === 0) return;
        await this.restartContainerd();
    }

    /** Ends containerd alone, by default without grace; the containers go on. */
    async stopContainerd(how: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
        const script = `pid=$(cat /run/containerd.pid)
            kill -s "$1" "$pid" 2>/dev/null || exit 0
            n=0
            while kill -0 "$pid" 2>/dev/null; do
                n=$((n + 1)); [ $n -lt 500 ] || exit 1
                sleep 0.02
            done`;
        await this.run(script, how.slice(3));
    }

    /** Ends containerd and starts it again; the containers go on. */
    async restartContainerd(how: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
        await this.stopContainerd(how);
        await this.startContainerd();
    }

    /** Switches it off and removes all of it: processes, control groups, mounts, folder. Several may do so at once. */
    async stop(): Promise<void> {
        if (!(await exists(this.dir))) return;
        await this.powerOff();
        await unmountBelow(this.dir);
        await rm(this.dir, { recursive: true, force: true });
    }

    private async output(command: string, args: readonly string[]): Promise<string> {
        const [enter, enterArgs] = this.enter(command, args);
        return output(enter, enterArgs, { timeout: PATIENCE * 2, env: this.environment() });
    }

    private enter(command: string, args: readonly string[]): [command: string, args: string[]] {
        if (this.init === undefined) throw new ContainerdError("Unreachable", `worker ${this.name} is off`);
        const script = path.join(__dirname, "worker-enter.sh");
        return ["/bin/sh", [script, String(this.init), this.cgroup, command, ...args]];
    }

    private environment(): NodeJS.ProcessEnv {
        const bin = environment().containerd[this.version];
        if (!bin)
            throw new ContainerdError("NotFound", `no containerd ${this.version}: run \`node playground/setup.mjs\``);
        return { PATH: toolPath(bin), HOME: "/root", LC_ALL: "C.UTF-8" };
    }

    /** Starts a process that neither Ctrl-C nor the end of this process reaches; it writes to a file of the worker. */
    private spawnDetached(command: readonly string[], log: string): number {
        const file = openSync(path.join(this.dir, log), "a");
        const [program = "", ...args] = command;
        const stdio: ["ignore", number, number] = ["ignore", file, file];
        const child = spawn(program, args, { detached: true, stdio, env: this.environment() });
        closeSync(file);
        child.unref();
        child.on("error", () => undefined);
        if (child.pid === undefined) throw new ContainerdError("Failed", `cannot start ${program}`);
        return child.pid;
    }

    /** Written whole or not at all: a reader may come at any time. */
    private async register(): Promise<void> {
        const file = path.join(this.dir, "worker.json");
        await writeFile(`${file}.new`, JSON.stringify(this.registration));
        await rename(`${file}.new`, file);
    }
}

/** Starts a worker, after removing what killed processes left of theirs. */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
    await removeAbandoned();
    return Worker.start(options);
}

/** Finds a worker that another process started; undefined when there is none. It may be off: see `boot`. */
export function openWorker(nameOrDir: string): Promise<Worker | undefined> {
    return Worker.open(path.resolve(WORKERS, nameOrDir));
}

/** All workers of this machine below the usual folder. */
export async function listWorkers(): Promise<Worker[]> {
    const names = await readdir(WORKERS).catch(() => []);
    const found = await Promise.all(names.map((name) => openWorker(name)));
    return found.filter((worker) => worker !== undefined);
}

/** Removes the workers whose process has ended without doing so. */
export async function removeAbandoned(): Promise<void> {
    for (const worker of await listWorkers()) {
        if (await worker.abandoned) await worker.stop();
    }
}
