/**
 * The switch of a cluster: a bridge in a network namespace of its own, to which the workers' interfaces are plugged, and the
 * processes that carry connections between this machine's loopback and the workers. This machine's own network namespace
 * gets no interface and no address.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { request } from "node:http";
import path from "node:path";
import { ContainerdError } from "../../provider/errors";
import { toolPath } from "../environment";
import { output } from "../process";
import { type ProcessId, identify, isAlive } from "../process-id";
import { isAbandoned, readRegistration, thisProcess, writeRegistration } from "../worker/registration";
import { PATIENCE, endingWithUs, exists, signal, until } from "../system";
import type { CarrierAnswers, CarrierRequests } from "./messages";
import { type Attachment, CONFIGURE, PLUG, nodeCommand } from "./setup";

interface Registration {
    persistent: boolean;
    /** The process that started it. */
    owner: ProcessId;
    /** Absent while it is off. */
    carrier?: ProcessId;
}

/** Runs a script in the network namespace of a process. */
function inNetworkOf(pid: number, script: string, ...args: string[]): Promise<string> {
    const command = [`--target=${pid}`, "--net", "/bin/sh", "-c", script, "sh", ...args];
    return output("nsenter", command, { env: { PATH: toolPath() }, timeout: PATIENCE });
}

export class Switch {
    private constructor(
        /** Its folder, which holds nothing else. */
        readonly dir: string,
        private readonly registration: Registration,
    ) {}

    /** Starts a switch. It dies with this process unless `persistent`. */
    static async start(dir: string, persistent: boolean): Promise<Switch> {
        const made = new Switch(dir, { persistent, owner: await thisProcess() });
        await made.register();
        try {
            await made.ensure();
        } catch (error) {
            await made.stop().catch(() => undefined);
            throw error;
        }
        return made;
    }

    /** Finds a switch that another process started; undefined when there is none. It may be off: see `ensure`. */
    static async open(dir: string): Promise<Switch | undefined> {
        const registration = await readRegistration<Registration>(path.join(dir, "switch.json"));
        return registration && new Switch(dir, registration);
    }

    /** Whether nobody can want it any more. */
    get abandoned(): Promise<boolean> {
        return isAbandoned(this.registration);
    }

    /** Whether it is on. */
    async running(): Promise<boolean> {
        const { carrier } = this.registration;
        return carrier !== undefined && (await isAlive(carrier));
    }

    /** Switches it on, if it is off: nothing is plugged in then. */
    async ensure(): Promise<void> {
        if (await this.running()) return;
        const { persistent } = this.registration;
        await rm(this.socket, { force: true });
        const node = nodeCommand(path.join(__dirname, "carrier.ts"), this.dir);
        const [command = "", ...args] = persistent ? node : endingWithUs(node);
        const log = openSync(this.log, "a");
        const env = { PATH: toolPath(), LC_ALL: "C.UTF-8", HOME: process.env.HOME };
        const child = spawn(command, args, { detached: true, stdio: ["ignore", log, log], env, cwd: this.dir });
        closeSync(log);
        child.unref();
        child.on("error", () => undefined);
        const id = child.pid === undefined ? undefined : await identify(child.pid);
        if (!id) throw new ContainerdError("Failed", `cannot start the switch, see ${this.log}`);
        this.registration.carrier = id;
        await this.register();
        await until(`the switch answers (see ${this.log})`, async () => {
            if (await exists(this.socket)) return true;
            if (await isAlive(id)) return false;
            throw new ContainerdError("Failed", `the switch ends: ${(await readFile(this.log, "utf8")).trim()}`);
        });
    }

    /** Plugs the network namespace of a process in, and gives it its addresses. */
    async plug(pid: number, { address, address6, mac, port }: Attachment): Promise<void> {
        // Of a switch that has ended; the kernel takes its time to take that away.
        await inNetworkOf(pid, "ip link delete eth0 2>/dev/null || true");
        await this.inside(PLUG, String(pid), port, address, mac);
        await inNetworkOf(pid, CONFIGURE, address, address6);
    }

    /** Takes an interface away, on both sides. */
    async unplug({ port }: Attachment): Promise<void> {
        await this.inside('ip link delete "$1" 2>/dev/null || true', port);
    }

    /** Pulls a cable out, or puts it back. There is none while the worker is off. */
    async setCable({ port }: Attachment, plugged: boolean): Promise<void> {
        await this.inside(
            '! ip link show "$1" >/dev/null 2>&1 || ip link set "$1" "$2"',
            port,
            plugged ? "up" : "down",
        );
    }

    /** Asks the process that carries the connections. Throws `Failed` with what it says. */
    ask<K extends keyof CarrierRequests>(name: K, body: CarrierRequests[K]): Promise<CarrierAnswers[K]> {
        return new Promise((resolve, reject) => {
            const fail = (cause: Error) =>
                reject(new ContainerdError("Failed", `the switch does not ${name}: ${cause.message}`, { cause }));
            const options = { socketPath: this.socket, path: `/${name}`, method: "POST", timeout: PATIENCE };
            const asked = request({ ...options, agent: false }, (response) => {
                let text = "";
                response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
                response.once("error", fail);
                response.once("end", () => {
                    if (response.statusCode === 200) resolve(JSON.parse(text) as CarrierAnswers[K]);
                    else fail(new Error(text));
                });
            });
            asked.once("error", fail);
            asked.once("timeout", () => asked.destroy(new Error(`no answer in ${PATIENCE / 1000} s`)));
            asked.end(JSON.stringify(body));
        });
    }

    /** Ends it and removes its folder. Several may do so at once. */
    async stop(): Promise<void> {
        const { carrier } = this.registration;
        if (carrier && (await isAlive(carrier))) {
            signal(carrier.pid, "SIGKILL");
            await until("the switch ends", async () => !(await isAlive(carrier)));
        }
        await rm(this.dir, { recursive: true, force: true });
    }

    private get socket(): string {
        return path.join(this.dir, "carrier.sock");
    }

    private get log(): string {
        return path.join(this.dir, "carrier.log");
    }

    /** Runs a script in the switch's network namespace. */
    private async inside(script: string, ...args: string[]): Promise<string> {
        const { crossing } = await this.ask("status", {});
        return inNetworkOf(crossing, script, ...args);
    }

    private register(): Promise<void> {
        return writeRegistration(path.join(this.dir, "switch.json"), this.registration);
    }
}
