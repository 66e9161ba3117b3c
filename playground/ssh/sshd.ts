/** sshd of a worker: Debian's own, started and ended as its service manager would. */
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { ContainerdError } from "../../provider/errors";
import type { Machine } from "../worker/machine";
import { until } from "../system";
import { identityFile } from "./prepare";
import {
    DIAL,
    DIAL_USER,
    PASSWORD_USER,
    type SshdOptions,
    type SshdRegistration,
    type WorkerSsh,
    sshdConfig,
} from "./settings";

const PID_FILE = "/run/sshd.pid";
/** Re-execution of itself for each connection wants the whole path. */
const SSHD = "/usr/sbin/sshd";

export class Sshd {
    constructor(
        private readonly machine: Machine,
        private readonly registration: SshdRegistration,
        /** The folder with the keys of those who log in. */
        private readonly keys: string,
    ) {}

    /** How it is reached through a port of this machine's loopback. */
    access(port: number): WorkerSsh {
        const { hostKey, fingerprint, password } = this.registration;
        return {
            host: "127.0.0.1",
            port,
            user: "root",
            identityFile: identityFile(this.keys),
            hostKey,
            fingerprint,
            knownHostsFile: this.knownHostsFile,
            dialUser: DIAL_USER,
            dial: DIAL,
            passwordUser: PASSWORD_USER,
            password,
        };
    }

    /** Writes the file by which clients know it at this machine's port. */
    async writeKnownHosts(port: number): Promise<void> {
        await writeFile(this.knownHostsFile, `[127.0.0.1]:${port} ${this.registration.hostKey}\n`, { mode: 0o600 });
    }

    /** Starts it and waits until it listens. Throws `Failed` with its words when it does not like its settings. */
    async start(): Promise<void> {
        await this.put("/etc/ssh/sshd_config", sshdConfig(this.registration.options));
        await this.machine.run(`mkdir -p -m 0755 /run/sshd; rm -f ${PID_FILE}; ${SSHD} -t`);
        this.machine.startService(SSHD, ["-D", "-e"], "sshd.log");
        // It writes the file when it listens.
        await until(`sshd of worker ${this.machine.name} listens (see ${this.machine.dir}/sshd.log)`, async () => {
            return (await this.machine.exec("/bin/sh", ["-c", `[ -s ${PID_FILE} ]`])).code === 0;
        });
    }

    /** Starts it if it does not run. */
    async ensure(): Promise<void> {
        const { code } = await this.machine.exec("/bin/sh", ["-c", `kill -0 "$(cat ${PID_FILE})"`]);
        if (code !== 0) await this.start();
    }

    /** Ends it, so that new connections are refused. Those that are there go on. */
    stop(): Promise<void> {
        return this.machine.stopService(PID_FILE, "SIGTERM");
    }

    /** Starts it again, with other settings when given. */
    async restart(options?: SshdOptions): Promise<void> {
        await this.stop();
        if (options) this.registration.options = options;
        await this.start();
    }

    /** Adds a line to the keys that let a user in. */
    async authorize(publicKey: string, user: string): Promise<void> {
        if (!/^[a-z]+$/.test(user)) throw new ContainerdError("Invalid", `no user ${user}`);
        const script = 'umask 022; printf "%s\\n" "$1" >>"/etc/ssh/authorized_keys.d/$2"';
        await this.machine.run(script, publicKey.trim(), user);
    }

    private get knownHostsFile(): string {
        return path.join(this.keys, "known_hosts");
    }

    private async put(file: string, content: string): Promise<void> {
        const { code, stderr } = await this.machine.exec("/bin/sh", ["-c", 'cat >"$1"', "sh", file], {
            input: content,
        });
        if (code !== 0) throw new ContainerdError("Failed", `cannot write ${file} of ${this.machine.name}: ${stderr}`);
    }
}
