/**
 * Virtual machines of the playground: workers with a kernel, systemd and control groups (v2) of their own, which can really
 * be rebooted. By software emulation where this machine's processor cannot help, so a boot takes 25 s of a whole processor.
 * Each starts from a machine's memory that was written down when it had booted, in seconds. It ends with the process that
 * started it, however that ends; what a killed one left in folders, the next start removes.
 */
import { createHash, randomBytes } from "node:crypto";
import { readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ContainerdError } from "../../provider/errors";
import type { NodeEntry } from "../node-config";
import type { Result, RunOptions } from "../process";
import { type ProcessId, isAlive } from "../process-id";
import { freePort } from "../registry";
import { type WorkerSsh, fingerprintOf } from "../ssh/settings";
import { signal } from "../system";
import { readRegistration, thisProcess, writeRegistration } from "../worker/registration";
import {
    Emulator,
    type Forward,
    type Protocol,
    accelerator,
    emulatorArguments,
    emulatorVersion,
    overlayDisk,
} from "./emulator";
import { type MachineImage, machineImage, makeFolder } from "./image";
import { Shell } from "./shell";

/** Where they live. Short: a unix socket's path holds 107 bytes. Not among the workers, which one looks through. */
const MACHINES = "/var/tmp/pulumi-containerd-vm";
/** How long a command may take, in milliseconds, unless told otherwise: an emulated processor takes its time. */
const PATIENCE = 180_000;
/** How old a folder must be, in milliseconds, that nobody has written down: a start may be under way. */
const UNREGISTERED_AGE = 60_000;
const POLL = 500;

/** What is needed to reach one by SSH, in the words of `WorkerSsh`. */
export type VirtualMachineSsh = Omit<WorkerSsh, "dialUser" | "dial" | "passwordUser" | "password">;

interface Registration {
    owner: ProcessId;
    emulator?: ProcessId;
}

/** A virtual machine with Debian's containerd 1.6, reached by SSH. */
export class VirtualMachine {
    private emulator: Emulator | undefined;

    private constructor(
        /** Its folder on this machine: disk, `console.log`, the emulator's socket. */
        readonly dir: string,
        private readonly image: MachineImage,
        private readonly owner: ProcessId,
        private readonly forwards: Forward[],
        private readonly shell: Shell,
    ) {}

    readonly hostname = "worker";
    readonly version = "1.6";
    /** It is reached by SSH. */
    readonly hasNetwork = true;
    /** Its address on the emulator's network, which it has for itself. */
    readonly ip = "10.0.2.15";

    /**
     * Starts one, booted, with containerd and sshd running, after removing what killed processes left. The first on this
     * machine takes as long as its image and a boot do.
     */
    static async start(): Promise<VirtualMachine> {
        await removeAbandoned();
        const image = await machineImage();
        const saved = await savedMachine(image);
        const machine = await VirtualMachine.prepare(image, { file: saved.disk, format: "qcow2" });
        try {
            await machine.powerOn(saved.memory);
            // It thinks that no time has gone by since.
            await machine.run('date -s "@$1"', (Date.now() / 1000).toFixed(3));
        } catch (error) {
            await machine.stop();
            throw error;
        }
        return machine;
    }

    /** @internal One that is off, with a fresh disk. */
    static async prepare(
        image: MachineImage,
        below: { file: string; format: "raw" | "qcow2" },
    ): Promise<VirtualMachine> {
        const dir = path.join(MACHINES, `vm-${randomBytes(4).toString("hex")}`);
        const owner = await thisProcess();
        const port = await freePort();
        const shell = new Shell(port, image.identityFile, image.hostKey);
        const forwards: Forward[] = [{ protocol: "tcp", here: port, there: 22 }];
        await writeRegistration(path.join(dir, "machine.json"), { owner } satisfies Registration);
        const machine = new VirtualMachine(dir, image, owner, forwards, shell);
        try {
            await writeFile(machine.ssh.knownHostsFile, `[127.0.0.1]:${port} ${image.hostKey}\n`, { mode: 0o600 });
            await overlayDisk(path.join(dir, "disk.qcow2"), below);
        } catch (error) {
            await machine.stop();
            throw error;
        }
        return machine;
    }

    /** How it is reached by SSH. */
    get ssh(): VirtualMachineSsh {
        const { hostKey, identityFile } = this.image;
        return {
            host: "127.0.0.1",
            port: this.forwards[0]?.here ?? 0,
            user: "root",
            identityFile,
            hostKey,
            fingerprint: fingerprintOf(hostKey),
            knownHostsFile: path.join(this.dir, "known_hosts"),
        };
    }

    /** What the stack config `containerd:nodes` says of it. */
    get nodeEntry(): Exclude<NodeEntry, { socket: string }> {
        const { host, port, user, identityFile, hostKey } = this.ssh;
        return { host, port, user, identityFile, hostKey, publicAddress: this.ip };
    }

    /** Whether the machine is on. */
    get running(): boolean {
        return this.emulator !== undefined;
    }

    /** Runs a POSIX shell script on the machine; `args` are its `$1`, `$2`, … Throws `Failed` with what it said. */
    async run(script: string, ...args: string[]): Promise<string> {
        const { code, stdout, stderr } = await this.exec("/bin/sh", ["-c", script, "sh", ...args]);
        if (code === 0) return stdout;
        const said = (stderr || stdout).trim();
        throw new ContainerdError("Failed", `a script on the virtual machine exited with status ${code}: ${said}`);
    }

    /** Runs a command on the machine to its end, whatever its exit status. Default time limit: three minutes. */
    exec(
        command: string,
        args: readonly string[],
        { input, timeout = PATIENCE }: Pick<RunOptions, "input" | "timeout"> = {},
    ): Promise<Result> {
        return this.shell.exec([command, ...args], { input, timeout });
    }

    /** Runs `ctr` on the machine. Throws `Failed` with what it said. */
    ctr(...args: string[]): Promise<string> {
        return this.run('exec ctr "$@"', ...args);
    }

    /** Cuts the power: the emulator is killed. Its disk stays, but for what had not been flushed; see `boot`. */
    async kill(): Promise<void> {
        await this.emulator?.kill();
        this.emulator = undefined;
        this.shell.close();
    }

    /** Switches it on; resolves when containerd and sshd answer. */
    async boot(): Promise<void> {
        if (!this.running) await this.powerOn();
    }

    /** Reboots it as its administrator would; resolves when containerd and sshd answer again. */
    async reboot(): Promise<void> {
        const before = await this.bootId();
        // The connection may be lost before the answer.
        await this.run("systemctl reboot").catch(() => undefined);
        this.shell.close();
        for (;;) {
            await this.shell.answers();
            const now = await this.bootId().catch(() => before);
            if (now !== before) return this.containerdAnswers();
            this.shell.close();
            await sleep(POLL);
        }
    }

    /** A number of this boot. */
    private async bootId(): Promise<string> {
        return (await this.run("cat /proc/sys/kernel/random/boot_id")).trim();
    }

    /** A port of this machine's loopback that leads to a port of the machine; the same one each time. */
    async forward(port: number, protocol: Protocol = "tcp"): Promise<number> {
        const known = this.forwards.find((one) => one.there === port && one.protocol === protocol);
        if (known) return known.here;
        const forward = { protocol, here: await freePort(), there: port };
        await this.emulator?.forward(forward);
        this.forwards.push(forward);
        return forward.here;
    }

    /** Switches it off and removes all of it. */
    async stop(): Promise<void> {
        await this.kill();
        await rm(this.dir, { recursive: true, force: true });
    }

    /** @internal Writes down its memory, from which others start, and switches it off. */
    async save(file: string): Promise<void> {
        this.shell.close();
        await this.emulator?.save(file);
        await this.kill();
    }

    private async powerOn(state?: string): Promise<void> {
        const { dir, image, forwards } = this;
        const args = emulatorArguments({ dir, image, forwards, accelerator: await accelerator(), state });
        this.emulator = await Emulator.start(dir, args);
        const registration: Registration = { owner: this.owner, emulator: this.emulator.process };
        await writeRegistration(path.join(dir, "machine.json"), registration);
        await this.shell.answers();
        await this.containerdAnswers();
    }

    private async containerdAnswers(): Promise<void> {
        await this.run(`n=0; until ctr --timeout 10s version >/dev/null 2>&1; do
            n=$((n + 1)); [ $n -lt 100 ] || { systemctl status containerd --no-pager; exit 1; }
            sleep 1
        done`);
    }
}

/** A machine that had booted when its memory was written down. Its disk is what machines' disks lie over. */
interface SavedMachine {
    disk: string;
    memory: string;
}

/** From the cache, or made now by a first boot. What another emulator or another processor wrote is of no use. */
async function savedMachine(image: MachineImage): Promise<SavedMachine> {
    const how = await accelerator();
    const parts = [await emulatorVersion(), how, emulatorArguments({ dir: "", image, forwards: [], accelerator: how })];
    if (how === "kvm") parts.push((/^model name.*$/m.exec(await readFile("/proc/cpuinfo", "utf8")) ?? [""])[0]);
    const key = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 12);
    const folder = path.join(image.dir, `booted-${key}`);
    const saved = { disk: path.join(folder, "disk.qcow2"), memory: path.join(folder, "memory") };
    await makeFolder(folder, async (making) => {
        const machine = await VirtualMachine.prepare(image, { file: image.disk, format: "raw" });
        try {
            await machine.boot();
            await machine.run("sync");
            await machine.save(path.join(making, "memory"));
            await rename(path.join(machine.dir, "disk.qcow2"), path.join(making, "disk.qcow2"));
        } finally {
            await machine.stop();
        }
    });
    return saved;
}

/** Removes the machines whose process has ended without doing so. Several processes may do so at once. */
export async function removeAbandoned(): Promise<void> {
    for (const name of await readdir(MACHINES).catch(() => [])) {
        const dir = path.join(MACHINES, name);
        const registration = await readRegistration<Registration>(path.join(dir, "machine.json"));
        if (registration) {
            if (await isAlive(registration.owner)) continue;
            const { emulator } = registration;
            if (emulator && (await isAlive(emulator))) signal(emulator.pid, "SIGKILL");
        } else {
            const age = await stat(dir).then(
                ({ mtimeMs }) => Date.now() - mtimeMs,
                () => 0,
            );
            if (age < UNREGISTERED_AGE) continue;
        }
        await rm(dir, { recursive: true, force: true });
    }
}
