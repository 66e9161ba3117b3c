/**
 * Debian's Docker on a worker with a network of its own: the neighbour beside whom our networks live, and the peer of benchmarks.
 * It uses the worker's containerd, as Debian's package does; what it makes goes with the worker.
 */
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { ContainerdError } from "../provider/errors";
import { environment } from "./environment";
import type { Layout } from "./layout";
import { type Result, type RunOptions, output } from "./process";
import { exists, until } from "./system";
import type { Worker } from "./worker/worker";

export interface DockerOptions {
    /** Whether a process stands at each published port, as by default; else rules alone publish it. Default: true. */
    userlandProxy?: boolean;
}

const PID_FILE = "/run/dockerd.pid";
const SOCKET = "/run/docker.sock";

export class Docker {
    private constructor(
        private readonly worker: Worker,
        private options: DockerOptions,
        private readonly root: string,
    ) {}

    /** Starts dockerd on a worker; resolves when it answers. Throws `NotFound` when setup was not asked for it. */
    static async start(worker: Worker, options: DockerOptions = {}): Promise<Docker> {
        const root = environment().docker;
        if (root === undefined) {
            throw new ContainerdError("NotFound", "no Docker: run `node playground/setup.mjs services`");
        }
        if (!worker.hasNetwork) {
            throw new ContainerdError(
                "Unsupported",
                `worker ${worker.name} has this machine's network: no Docker in it`,
            );
        }
        const docker = new Docker(worker, options, root);
        await docker.ensure();
        return docker;
    }

    /** dockerd's log, seen from this machine. */
    get log(): string {
        return path.join(this.worker.dir, "dockerd.log");
    }

    /** Starts dockerd if it does not answer, with other options when given; after the worker's power loss too. */
    async ensure(options: DockerOptions = this.options): Promise<void> {
        this.options = options;
        if (await this.answers()) return;
        // Where its package would have it: others look there to know whether a node has Docker.
        await this.worker.run('mountpoint -q /usr/local/sbin || mount --bind "$1/usr/sbin" /usr/local/sbin', this.root);
        const script = `echo $$ >${PID_FILE}; exec "$@"`;
        this.worker.startService("/bin/sh", ["-c", script, "sh", ...this.command()], path.basename(this.log));
        await until(`Docker of worker ${this.worker.name} answers (see ${this.log})`, () => this.answers());
    }

    /** Ends dockerd alone. Its containers end with it; without grace they go on until dockerd is started again. */
    async stop(how: "SIGKILL" | "SIGTERM" = "SIGTERM"): Promise<void> {
        await this.worker.stopService(PID_FILE, how);
        // The number may be another's later.
        await this.worker.run('rm -f "$1"', PID_FILE);
    }

    /** Ends dockerd and starts it again, with other options when given. */
    async restart(how: "SIGKILL" | "SIGTERM" = "SIGTERM", options?: DockerOptions): Promise<void> {
        await this.stop(how);
        await this.ensure(options);
    }

    /** Runs `docker`. Throws `Failed` with what it said. */
    async run(...args: string[]): Promise<string> {
        const { code, stdout, stderr } = await this.exec(args);
        if (code === 0) return stdout.trim();
        throw new ContainerdError("Failed", `docker ${args[0] ?? ""} exited with status ${code}: ${stderr.trim()}`);
    }

    /** Runs `docker` to its end, whatever its exit status. */
    exec(args: readonly string[], options?: RunOptions): Promise<Result> {
        const [command = "", ...all] = this.client(...args);
        return this.worker.exec(command, all, options);
    }

    /** The command of `docker` on the worker, and its arguments: for what is timed there. */
    client(...args: string[]): string[] {
        return [path.join(this.root, "usr/bin/docker"), "--host", `unix://${SOCKET}`, ...args];
    }

    /** Loads an image under a name, like `busybox:1`. */
    async load({ dir, tag }: Layout, name: string): Promise<void> {
        const archive = path.join(this.worker.varLib, "docker-load.tar");
        await mkdir(path.dirname(archive), { recursive: true });
        // skopeo adds to an archive, and refuses.
        await rm(archive, { force: true });
        await output("skopeo", ["copy", "--quiet", `oci:${dir}:${tag}`, `docker-archive:${archive}:${name}`]);
        await this.run("load", "--quiet", "--input", "/var/lib/docker-load.tar");
        await rm(archive);
    }

    private command(): string[] {
        const { userlandProxy = true } = this.options;
        return [
            path.join(this.root, "usr/sbin/dockerd"),
            `--host=unix://${SOCKET}`,
            "--containerd=/run/containerd/containerd.sock",
            "--data-root=/var/lib/docker",
            "--exec-root=/run/docker",
            "--pidfile=/run/docker.pid",
            // There is no systemd to ask for control groups.
            "--exec-opt=native.cgroupdriver=cgroupfs",
            `--userland-proxy=${userlandProxy}`,
            `--userland-proxy-path=${path.join(this.root, "usr/sbin/docker-proxy")}`,
        ];
    }

    private async answers(): Promise<boolean> {
        if (!(await exists(path.join(this.worker.dir, SOCKET)))) return false;
        return (await this.exec(["info", "--format", "{{.ServerVersion}}"], { timeout: 10_000 })).code === 0;
    }
}
