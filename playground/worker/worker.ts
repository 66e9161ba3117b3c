/**
 * Workers of the playground: machines that run containerd, made of namespaces on this machine. Each has its own processes,
 * mounts, control groups, host name, `/run` and `/var/lib` (so containerd's default paths, runc's state and the folder of
 * our files and logs are its own). By default the network is this machine's; one with a network of its own is reached by
 * SSH. Nothing that runs here already is touched.
 *
 * A worker dies with the process that started it, even if that is killed, unless it was started `persistent`. What a killed
 * process left in folders and control groups, the next start removes.
 */
import { randomBytes } from "node:crypto";
import { mkdir, statfs, writeFile } from "node:fs/promises";
import path from "node:path";
import { ContainerdError } from "../../provider/errors";
import { containerdConfig } from "../containerd-config";
import type { ContainerdVersion } from "../environment";
import { Machine } from "./machine";
import type { WorkerOptions } from "./options";
import { WorkerNetwork } from "../network/worker-network";
import { Switch } from "../network/switch";
import { output } from "../process";
import { type Registration, WORKERS, readRegistration, thisProcess } from "./registration";
import { type SshFolders, prepareSshd } from "../ssh/prepare";
import type { SshdOptions, WorkerSsh } from "../ssh/settings";
import { Sshd } from "../ssh/sshd";
import { exists, until } from "../system";

export type { ContainerdVersion } from "../environment";
export type { WorkerOptions } from "./options";
export type { SshdOptions, WorkerSsh } from "../ssh/settings";

const OVERLAYFS_MAGIC = 0x794c7630;
/** As `boot.sh` does with OVER and UNDER, over what lies there by now. */
const LAY_OVER = '[ $# = 0 ] || mount -t overlay -o "lowerdir=$1:$2" overlay "$2"';

/** A worker: a machine with containerd. */
export class Worker extends Machine {
    private sshd: Sshd | undefined;
    private network: WorkerNetwork | undefined;

    get version(): ContainerdVersion {
        return this.registration.version;
    }

    /** Path of containerd's socket, reachable from this machine. */
    get address(): string {
        return path.join(this.dir, "run/containerd/containerd.sock");
    }

    /** @internal The folder of its switch; undefined with this machine's network. */
    get switchDir(): string | undefined {
        return this.registration.network?.switch;
    }

    /** @internal Its place among the workers of its switch. */
    get index(): number | undefined {
        return this.registration.network?.index;
    }

    /** containerd's log. */
    get log(): string {
        return path.join(this.dir, "containerd.log");
    }

    /** Whether it has a network of its own, and so is reached by SSH. */
    get hasNetwork(): boolean {
        return this.network !== undefined;
    }

    /** Whether its network cable is out. */
    get isCut(): boolean {
        return this.registration.network?.cut ?? false;
    }

    /** How it is reached by SSH. Throws `Unsupported` for a worker with this machine's network. */
    get ssh(): WorkerSsh {
        const { network, sshd } = this.withNetwork();
        return sshd.access(network.forwardOf(22));
    }

    /** Its address on its cluster's network. Throws `Unsupported` for a worker with this machine's network. */
    get ip(): string {
        return this.withNetwork().network.address;
    }

    /**
     * Its IPv6 address there, which it has where this machine's kernel has IPv6. Throws `Unsupported` for a worker with this
     * machine's network.
     */
    get ip6(): string {
        return this.withNetwork().network.address6;
    }

    /** @internal Use `startWorker`. */
    static async start(options: WorkerOptions): Promise<Worker> {
        const name = options.name ?? `w${options.version.replace(".", "")}-${randomBytes(4).toString("hex")}`;
        const dir = options.dir ?? path.join(WORKERS, name);
        const { version, hostname = name, persistent = false } = options;
        const worker = new Worker(dir, { name, hostname, version, persistent, owner: await thisProcess() });
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
            if (options.network === "own") await worker.prepareNetwork(options);
            await worker.boot();
        } catch (error) {
            await worker.stop().catch(() => undefined);
            throw error;
        }
        return worker;
    }

    /** @internal Use `openWorker`. */
    static async open(dir: string): Promise<Worker | undefined> {
        const registration = await readRegistration<Registration>(path.join(dir, "worker.json"));
        if (!registration) return undefined;
        const worker = new Worker(dir, registration);
        await worker.recognize();
        worker.openNetwork();
        return worker;
    }

    /** Runs `ctr` on the worker. Throws `Failed` with what it said. */
    ctr(...args: string[]): Promise<string> {
        return this.output("ctr", args);
    }

    /** Switches the machine on and starts containerd and sshd; resolves when they answer. */
    async boot(): Promise<void> {
        if (this.init !== undefined) return;
        await this.powerOn();
        if (this.init !== undefined && this.network) {
            await this.network.plug(this.init);
            await this.sshd?.writeKnownHosts(this.network.forwardOf(22));
            await this.register();
        }
        await Promise.all([this.startContainerd(), this.sshd?.start()]);
    }

    /** Sees to it that it is on and all that belongs to it runs, as a machine's service manager does. */
    async ensure(): Promise<void> {
        if (this.init === undefined) return this.boot();
        await this.network?.ensurePlugged(this.init);
        await this.register();
        await this.ensureContainerd();
        await this.sshd?.ensure();
    }

    /** Cuts the power: all its processes end at once. Its disk stays; see `boot`. */
    async kill(): Promise<void> {
        // Else the kernel would say goodbye for the processes that it ends: a machine without power says nothing.
        await this.network?.silence();
        await this.powerOff();
        await this.network?.unplug();
        await this.register();
    }

    /** Starts containerd and waits until it answers. */
    async startContainerd(): Promise<void> {
        const config = path.join(this.dir, "config.toml");
        const script = 'echo $$ >/run/containerd.pid; exec containerd --config "$1"';
        this.startService("/bin/sh", ["-c", script, "sh", config], "containerd.log");
        await until(`containerd of worker ${this.name} answers (see ${this.log})`, async () => {
            return (await exists(this.address)) && (await this.answers());
        });
    }

    /** Whether containerd answers. */
    async answers(): Promise<boolean> {
        return (await this.exec("ctr", ["--timeout", "5s", "version"])).code === 0;
    }

    /** Starts containerd again if it does not answer, as a machine's service manager does. */
    async ensureContainerd(): Promise<void> {
        if (!(await this.answers())) await this.restartContainerd();
    }

    /** Ends containerd alone, by default without grace; the containers go on. */
    async stopContainerd(how: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
        await this.stopService("/run/containerd.pid", how);
    }

    /** Ends containerd and starts it again; the containers go on. */
    async restartContainerd(how: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
        await this.stopContainerd(how);
        await this.startContainerd();
    }

    /**
     * Puts another containerd in the place of its own, as a package's upgrade does: the containers go on meanwhile, the
     * configuration file stays as it is (2.x reads one of 1.6's), and so do the shims that run.
     */
    async upgrade(version: ContainerdVersion): Promise<void> {
        await this.stopContainerd("SIGTERM");
        this.registration.version = version;
        await this.register();
        if (this.network) await this.run(LAY_OVER, ...this.containerdOverlay());
        await this.startContainerd();
    }

    /**
     * Starts sshd again, with other settings when given (see `WorkerOptions.sshd`; what is not given is as by default).
     * Connections that are there go on, as they do on any machine; see `resetConnections`.
     */
    async restartSshd(options?: SshdOptions): Promise<void> {
        const { sshd } = this.withNetwork();
        await sshd.restart(options);
        await this.register();
    }

    /** Ends sshd: new connections are refused. `restartSshd` starts it. */
    async stopSshd(): Promise<void> {
        await this.withNetwork().sshd.stop();
    }

    /** Lets the owner of a private key in. `publicKey`: a line of a `.pub` file. Default user: root. */
    async authorize(publicKey: string, user = "root"): Promise<void> {
        await this.withNetwork().sshd.authorize(publicKey, user);
    }

    /** A port of this machine's loopback that leads to a port of the worker's address; the same one each time. */
    async forward(port: number): Promise<number> {
        const { network } = this.withNetwork();
        const taken = await network.forward(port);
        await this.register();
        return taken;
    }

    /** Puts a port of this machine's loopback on the worker's loopback; see `WorkerOptions.reach`. */
    async reach(port: number): Promise<void> {
        const { network } = this.withNetwork();
        await network.reach(port, this.init);
        await this.register();
    }

    /** Pulls the network cable out: packets vanish, connections hang. */
    async cut(): Promise<void> {
        await this.withNetwork().network.cut(true);
        await this.register();
    }

    /** Puts the network cable back. */
    async heal(): Promise<void> {
        await this.withNetwork().network.cut(false);
        await this.register();
    }

    /** Makes what goes through forwarded and reached ports late, by milliseconds in each direction. 0 ends that. */
    async delay(milliseconds: number): Promise<void> {
        await this.withNetwork().network.delay(milliseconds);
        await this.register();
    }

    /** Resets all connections that go through forwarded and reached ports; new ones can be made at once. */
    async resetConnections(): Promise<void> {
        await this.withNetwork().network.reset();
    }

    /** Switches it off and removes all of it: processes, control groups, mounts, folder. Several may do so at once. */
    async stop(): Promise<void> {
        if (!(await exists(this.dir))) return;
        await this.powerOff();
        await this.network?.remove();
        await this.removeFolder();
    }

    private async prepareNetwork({ plug, sshd = {}, reach = [] }: WorkerOptions): Promise<void> {
        if (`${this.dir}/`.startsWith("/tmp/")) {
            throw new ContainerdError("Invalid", "a worker with a network of its own does not live below /tmp");
        }
        for (const folder of ["etc", "etc-work", "var-log", "tmp"]) await mkdir(path.join(this.dir, folder));
        this.registration.sshd = await prepareSshd(this.hostname, this.sshFolders, sshd);
        const switchDir = plug?.switch.dir ?? `${this.dir}-switch`;
        this.registration.network = {
            switch: switchDir,
            alone: !plug,
            index: plug?.index ?? 0,
            forwards: { 22: 0 },
            reach: [...reach],
            delay: 0,
            cut: false,
        };
        await this.register();
        if (!plug) await Switch.start(switchDir, this.registration.persistent);
        this.openNetwork();
    }

    private openNetwork(): void {
        const { network, sshd, name } = this.registration;
        if (network) this.network = new WorkerNetwork(name, network);
        if (sshd) this.sshd = new Sshd(this, sshd, this.sshFolders.keys);
    }

    private get sshFolders(): SshFolders {
        return { etc: path.join(this.dir, "etc"), keys: path.join(this.dir, "ssh"), varLib: this.varLib };
    }

    private withNetwork(): { network: WorkerNetwork; sshd: Sshd } {
        const { network, sshd } = this;
        if (network && sshd) return { network, sshd };
        throw new ContainerdError("Unsupported", `worker ${this.name} has this machine's network: no SSH, no cable`);
    }
}
