/** What is written down of a worker: by it other processes find it, and clean up after a killed one. */
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import path from "node:path";
import { ContainerdError } from "../../provider/errors";
import type { ContainerdVersion } from "../environment";
import { type ProcessId, identify, isAlive } from "../process-id";
import type { SshdRegistration } from "../ssh/settings";

/** Where workers live. Short: a unix socket's path holds 107 bytes. Not below /run or /var/lib, which each worker covers. */
export const WORKERS = "/var/tmp/pulumi-containerd";

export interface Registration {
    /** Unique on this machine. */
    name: string;
    /** Default: its name. */
    hostname?: string;
    version: ContainerdVersion;
    persistent: boolean;
    /** The process that started it. */
    owner: ProcessId;
    /** Outermost process of the worker; absent while it is off. */
    outer?: ProcessId;
    /** Absent with this machine's network. */
    network?: NetworkRegistration;
    sshd?: SshdRegistration;
}

export interface NetworkRegistration {
    /** The switch's folder. */
    switch: string;
    /** Whether the switch is this worker's alone, and goes with it. */
    alone: boolean;
    /** Which of the switch's addresses it has. */
    index: number;
    /** Ports of this machine's loopback by ports of the worker. */
    forwards: Record<string, number>;
    /** Ports of this machine's loopback that the worker has on its own. */
    reach: number[];
    delay: number;
    cut: boolean;
}

/** This process, as the owner of what it starts. */
export async function thisProcess(): Promise<ProcessId> {
    const owner = await identify(process.pid);
    if (!owner) throw new ContainerdError("Unsupported", "this process is not in /proc: is it mounted?");
    return owner;
}

/** Whether nobody can want any more what was registered. */
export async function isAbandoned({ persistent, owner }: { persistent: boolean; owner: ProcessId }): Promise<boolean> {
    return !persistent && !(await isAlive(owner));
}

/** Reads a registration; undefined when there is none. */
export async function readRegistration<T>(file: string): Promise<T | undefined> {
    const text = await readFile(file, "utf8").catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as T);
}

/** Written whole or not at all: a reader may come at any time. Root's only: it may hold a password. */
export async function writeRegistration(file: string, registration: object): Promise<void> {
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(`${file}.new`, JSON.stringify(registration), { mode: 0o600 });
    await rename(`${file}.new`, file);
}
