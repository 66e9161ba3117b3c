/**
 * A machine made of namespaces on this machine: its processes, mounts, control groups, host name, `/run` and `/var/lib` are
 * its own (see `boot.sh`). It can be switched on and off, and run commands.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import path from "node:path";
import { ContainerdError } from "../../provider/errors";
import { environment, toolPath } from "../environment";
import { type Result, type RunOptions, output, run } from "../process";
import { childOf, identify, isAlive } from "../process-id";
import { type Registration, isAbandoned, writeRegistration } from "./registration";
import { PATIENCE, endingWithUs, exists, removeCgroups, signal, unmountBelow, until } from "../system";

export class Machine {
    protected constructor(
        /** Its folder, seen from here and from itself. */
        readonly dir: string,
        protected readonly registration: Registration,
    ) {}

    /** Its process 1, seen from outside; undefined while it is off. */
    protected init: number | undefined;

    get name(): string {
        return this.registration.name;
    }

    get hostname(): string {
        return this.registration.hostname ?? this.name;
    }

    /** The machine's `/var/lib`, seen from this machine. */
    get varLib(): string {
        return path.join(this.dir, "var-lib");
    }

    /** Name of its group in each control group hierarchy. */
    get cgroup(): string {
        return `pulumi-containerd-${this.name}`;
    }

    /** Whether nobody can want this machine any more. */
    get abandoned(): Promise<boolean> {
        return isAbandoned(this.registration);
    }

    /** Whether the machine is on. */
    get running(): boolean {
        return this.init !== undefined;
    }

    /** Runs a POSIX shell script on the machine; `args` are its `$1`, `$2`, … Throws `Failed` with what it said. */
    run(script: string, ...args: string[]): Promise<string> {
        return this.output("/bin/sh", ["-c", script, "sh", ...args]);
    }

    /** Runs a command on the machine to its end, whatever its exit status. */
    exec(command: string, args: readonly string[], options: RunOptions = {}): Promise<Result> {
        const [enter, enterArgs] = this.enter(command, args);
        return run(enter, enterArgs, { timeout: PATIENCE * 2, ...options, env: this.environment() });
    }

    /** The command by which a command is run on the machine from here, and its arguments. */
    enter(command: string, args: readonly string[]): [command: string, args: string[]] {
        if (this.init === undefined) throw new ContainerdError("Unreachable", `worker ${this.name} is off`);
        const script = path.join(__dirname, "enter.sh");
        return ["/bin/sh", [script, String(this.init), this.cgroup, command, ...args]];
    }

    /** Environment of what runs on the machine. */
    environment(): NodeJS.ProcessEnv {
        return { PATH: toolPath(this.containerdFolder()), HOME: "/root", LC_ALL: "C.UTF-8" };
    }

    /** Starts what a machine's service manager would; it writes to a file of the machine. */
    startService(command: string, args: readonly string[], log: string): void {
        const [enter, enterArgs] = this.enter(command, args);
        this.spawnDetached([enter, ...enterArgs], log);
    }

    /** Ends the process whose number is in a file of the machine, and waits for its end. */
    async stopService(pidFile: string, how: "SIGKILL" | "SIGTERM"): Promise<void> {
        const script = `pid=$(cat "$2")
            kill -s "$1" "$pid" 2>/dev/null || exit 0
            n=0
            while kill -0 "$pid" 2>/dev/null; do
                n=$((n + 1)); [ $n -lt 500 ] || exit 1
                sleep 0.02
            done`;
        await this.run(script, how.slice(3), pidFile);
    }

    /** Knows again whether the machine that was registered is on. */
    protected async recognize(): Promise<void> {
        const { outer } = this.registration;
        if (outer && (await isAlive(outer))) this.init = await childOf(outer.pid);
    }

    /** Switches it on: there are namespaces and mounts, and nothing runs yet but process 1. */
    protected async powerOn(): Promise<void> {
        const script = path.join(__dirname, "boot.sh");
        const network = this.registration.network ? ["own", ...this.overlays()] : ["host"];
        const boot = ["/bin/sh", script, this.dir, this.cgroup, this.hostname, ...network];
        const args = this.registration.persistent ? boot : endingWithUs(boot);
        const booted = path.join(this.dir, "run/booted");
        await rm(booted, { force: true });
        const pid = this.spawnDetached(args, "boot.log");
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
    }

    /** Cuts the power: all its processes end at once. */
    protected async powerOff(): Promise<void> {
        const { outer } = this.registration;
        // Process 1 of the namespace: the kernel ends all others before it is gone itself.
        if (this.init !== undefined) signal(this.init, "SIGKILL");
        else if (outer && (await isAlive(outer))) signal(outer.pid, "SIGKILL");
        if (outer) await until(`worker ${this.name} ends`, async () => !(await isAlive(outer)));
        this.init = undefined;
        delete this.registration.outer;
        await removeCgroups(this.cgroup);
    }

    /** Removes what is left of it on this machine when it is off. */
    protected async removeFolder(): Promise<void> {
        await unmountBelow(this.dir);
        await rm(this.dir, { recursive: true, force: true });
    }

    /** Starts a process that neither Ctrl-C nor the end of this process reaches; it writes to a file of the machine. */
    protected spawnDetached(command: readonly string[], log: string): number {
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

    protected async output(command: string, args: readonly string[]): Promise<string> {
        const [enter, enterArgs] = this.enter(command, args);
        return output(enter, enterArgs, { timeout: PATIENCE * 2, env: this.environment() });
    }

    protected register(): Promise<void> {
        return writeRegistration(path.join(this.dir, "worker.json"), this.registration);
    }

    /** What those who log in find in the usual folders, though this machine has it elsewhere: pairs of folders, see `boot.sh`. */
    private overlays(): string[] {
        const { sshd } = environment();
        return [
            ...this.containerdOverlay(),
            ...(sshd === "/"
                ? []
                : ["/usr/sbin", "/usr/lib/openssh"].flatMap((folder) => [path.join(sshd, folder), folder])),
        ];
    }

    /** The same for containerd. */
    protected containerdOverlay(): string[] {
        const containerd = this.containerdFolder();
        return containerd === "/usr/bin" ? [] : [containerd, "/usr/local/bin"];
    }

    /** The folder with the containerd that it runs. */
    private containerdFolder(): string {
        const { version } = this.registration;
        const bin = environment().containerd[version];
        if (!bin) throw new ContainerdError("NotFound", `no containerd ${version}: run \`node playground/setup.mjs\``);
        return bin;
    }
}
