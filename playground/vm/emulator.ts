/** The emulator of a virtual machine, qemu: how it is called, and what it is told while it runs. */
import { spawn } from "node:child_process";
import { access, constants, readFile } from "node:fs/promises";
import { closeSync, openSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ContainerdError } from "../../provider/errors";
import { output } from "../process";
import { type ProcessId, identify, isAlive } from "../process-id";
import { endingWithUs, signal } from "../system";
import type { MachineImage } from "./image";
import { monitor, qmp } from "./qmp";

const QEMU = "qemu-system-x86_64";
/** Megabytes. */
const MEMORY = 512;
/** How long it may take to write the machine's memory down, in milliseconds. */
const SAVING = 120_000;
const POLL = 50;

export type Protocol = "tcp" | "udp";

/** A port of this machine's loopback that leads to a port of the virtual machine. */
export interface Forward {
    protocol: Protocol;
    here: number;
    there: number;
}

/** How the processor comes about: emulated, or this machine's own. */
export type Accelerator = "tcg" | "kvm";

/**
 * What this machine can do. That `/dev/kvm` is there says little: in a machine that is virtual itself it may run none but
 * kernels that know of it.
 */
export async function accelerator(): Promise<Accelerator> {
    const processor = await readFile("/proc/cpuinfo", "utf8");
    if (!/^flags\b.*\b(vmx|svm)\b/m.test(processor)) return "tcg";
    return access("/dev/kvm", constants.R_OK | constants.W_OK).then(
        () => "kvm" as const,
        () => "tcg" as const,
    );
}

/** Its name and version: another one does not read what it wrote of a machine's memory. */
export async function emulatorVersion(): Promise<string> {
    const [first = ""] = (await output(QEMU, ["--version"])).split("\n");
    return first;
}

/** Why there can be no virtual machine here; undefined when there can. */
export async function whyNoEmulator(): Promise<string | undefined> {
    if (process.arch !== "x64")
        return `the virtual machine's packages are for x86, and this machine is ${process.arch}`;
    for (const command of [QEMU, "qemu-img", "mmdebstrap", "mke2fs"]) {
        const found = await output("sh", ["-c", 'PATH=$PATH:/usr/sbin:/sbin; command -v "$1"', "sh", command]).catch(
            () => undefined,
        );
        if (found === undefined) return `${command} is missing: run \`node playground/setup.mjs tests\``;
    }
    return undefined;
}

/** A copy-on-write disk over another one. */
export async function overlayDisk(file: string, below: { file: string; format: "raw" | "qcow2" }): Promise<void> {
    await output("qemu-img", ["create", "-q", "-f", "qcow2", "-b", below.file, "-F", below.format, file]);
}

/** The emulator's arguments. `state`: a file that `Emulator.save` wrote; the machine goes on from there. Pure. */
export function emulatorArguments(options: {
    dir: string;
    image: MachineImage;
    accelerator: Accelerator;
    forwards: readonly Forward[];
    state?: string;
}): string[] {
    const { dir, image, accelerator, forwards, state } = options;
    const forwarded = forwards.map((forward) => `,hostfwd=${forwardRule(forward)}`).join("");
    const kernelArguments = [
        ...["rw", "net.ifnames=0", "mitigations=off", "random.trust_cpu=on", "init_on_alloc=0"],
        // The emulator translates a program anew where it lies at another address: each start of one takes three times as long.
        "norandmaps",
        // Each line on the console costs an emulated processor milliseconds.
        ...["console=ttyS0", "quiet", "loglevel=4", "systemd.show_status=false", "systemd.gpt_auto=0"],
    ];
    return [
        ...["-nodefaults", "-no-user-config", "-display", "none"],
        ...["-machine", "q35,usb=off,smbus=off,sata=off,vmport=off", "-accel", accelerator],
        // Its time is that of 500 million instructions a second while it works, and this machine's while it waits: on a busy
        // machine it would be so slow by its own clock that it would not keep the time limits of the scripts on a node.
        ...(accelerator === "tcg" ? ["-icount", "shift=1,sleep=on"] : []),
        // All that can be emulated, but for virtual machines within it and a fifth level of page tables.
        ...["-cpu", accelerator === "kvm" ? "host" : "max,svm=off,la57=off", "-smp", "1", "-m", String(MEMORY)],
        ...["-kernel", image.kernel, "-initrd", image.initrd, "-append", kernelArguments.join(" ")],
        // A flush reaches this machine's memory, which outlives the emulator: what is flushed there, power loss does not take.
        ...["-drive", `file=${path.join(dir, "disk.qcow2")},format=qcow2,if=virtio,cache=unsafe,discard=unmap`],
        // No way out, into this machine's network neither.
        ...["-netdev", `user,id=network,restrict=on${forwarded}`],
        ...["-device", "virtio-net-pci,netdev=network,romfile=", "-device", "virtio-rng-pci"],
        ...["-serial", `file:${path.join(dir, "console.log")}`],
        ...["-qmp", `unix:${path.join(dir, "qmp.sock")},server=on,wait=off`],
        ...(state === undefined ? [] : ["-incoming", `exec:exec cat '${state}'`]),
    ];
}

function forwardRule({ protocol, here, there }: Forward): string {
    return `${protocol}:127.0.0.1:${here}-:${there}`;
}

/** A running emulator; it ends with this process, however that ends. */
export class Emulator {
    private constructor(
        private readonly dir: string,
        readonly process: ProcessId,
    ) {}

    /** Starts it. Throws `Failed` with its words when it ends at once. */
    static async start(dir: string, args: readonly string[]): Promise<Emulator> {
        const log = openSync(path.join(dir, "qemu.log"), "w");
        const [command = "", ...rest] = endingWithUs([QEMU, ...args]);
        const child = spawn(command, rest, { detached: true, stdio: ["ignore", log, log] });
        closeSync(log);
        child.unref();
        child.on("error", () => undefined);
        const id = child.pid === undefined ? undefined : await identify(child.pid);
        if (!id) throw new ContainerdError("Failed", `cannot start ${QEMU}`);
        const emulator = new Emulator(dir, id);
        try {
            await emulator.runs();
        } catch (error) {
            await emulator.kill();
            throw error;
        }
        return emulator;
    }

    /** Whether it still runs. */
    get alive(): Promise<boolean> {
        return isAlive(this.process);
    }

    /** Adds a forwarded port. */
    forward(forward: Forward): Promise<void> {
        return monitor(this.socket, `hostfwd_add network ${forwardRule(forward)}`);
    }

    /** Stops the machine and writes its memory into a file; nothing can be done with it then but to end it. */
    async save(file: string): Promise<void> {
        await qmp(this.socket, "stop");
        // Else it would keep to 128 MB a second.
        await qmp(this.socket, "migrate-set-parameters", { "max-bandwidth": 2 ** 40 });
        await qmp(this.socket, "migrate", { uri: `exec:cat >'${file}'` });
        const end = Date.now() + SAVING;
        for (;;) {
            const { status } = (await qmp(this.socket, "query-migrate")) as { status?: string };
            if (status === "completed") return;
            if (status === "failed" || Date.now() > end) {
                throw new ContainerdError("Failed", `the machine's memory could not be written down: ${status}`);
            }
            await sleep(POLL);
        }
    }

    /** Ends it, as a power failure ends a machine. */
    async kill(): Promise<void> {
        signal(this.process.pid, "SIGKILL");
        while (await this.alive) await sleep(POLL);
    }

    /** Waits until the machine runs; one whose memory was written down had been stopped before. */
    private async runs(): Promise<void> {
        for (;;) {
            // Its socket is not there at once.
            const answer = await qmp(this.socket, "query-status").catch(() => undefined);
            const status = (answer as { status: string } | undefined)?.status;
            if (status === "running") return;
            if (status === "paused") await qmp(this.socket, "cont");
            if (!(await this.alive)) {
                const said = await readFile(path.join(this.dir, "qemu.log"), "utf8");
                throw new ContainerdError("Failed", `${QEMU} ended: ${said.trim().slice(-500)}`);
            }
            await sleep(POLL);
        }
    }

    private get socket(): string {
        return path.join(this.dir, "qmp.sock");
    }
}
