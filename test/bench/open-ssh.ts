/** The peer of the rows on SSH: OpenSSH's own client, as a user would run it, against a worker of the playground. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { sshConfig } from "../../playground/node-config";
import { output } from "../../playground/process";
import { exists, until } from "../../playground/system";
import type { Worker } from "../../playground/worker";

/** containerd's socket on a worker. */
const SOCKET = "/run/containerd/containerd.sock";

/** `ssh` with a configuration that knows one worker. */
export class OpenSsh {
    private constructor(
        private readonly folder: string,
        private readonly host: string,
    ) {}

    static async of(worker: Worker): Promise<OpenSsh> {
        const folder = await mkdtemp(path.join(tmpdir(), "pulumi-containerd-bench-"));
        await writeFile(path.join(folder, "config"), sshConfig([worker]));
        return new OpenSsh(folder, worker.hostname);
    }

    /** `ssh HOST COMMAND`. */
    run(...command: string[]): Promise<string> {
        return output("ssh", [...this.options, this.host, ...command]);
    }

    /** `ssh -N -L SOCKET:…/containerd.sock HOST`: the path of the socket here, and what ends it. */
    async tunnel(): Promise<{ socket: string; close: () => Promise<void> }> {
        const socket = path.join(this.folder, "containerd.sock");
        const forward = ["-N", "-L", `${socket}:${SOCKET}`, "-o", "ExitOnForwardFailure=yes"];
        const child = spawn("ssh", [...this.options, ...forward, this.host], {
            stdio: ["ignore", "ignore", "inherit"],
        });
        const ended = once(child, "exit");
        await until("ssh -L listens", async () => {
            if (child.exitCode !== null) throw new Error(`ssh -L ended with status ${child.exitCode}`);
            return exists(socket);
        });
        return {
            socket,
            close: async () => {
                child.kill();
                await ended;
                await rm(socket, { force: true });
            },
        };
    }

    async remove(): Promise<void> {
        await rm(this.folder, { recursive: true, force: true });
    }

    private get options(): string[] {
        return ["-F", path.join(this.folder, "config"), "-o", "BatchMode=yes"];
    }
}
