/** Asks a process whether it does its work: by a command inside, an HTTP request, or a connection. */
import { randomBytes } from "node:crypto";
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "../containerd/client";
import { ContainerdError, hasCode } from "../errors";
import type { Transport } from "../transport/transport";
import type { Self } from "../spec/sandbox";
import { fillSelf } from "../spec/self";
import { parseDuration } from "./check/units";
import { runInside } from "./exec";
import { reachedAt } from "./network/networking";
import { type Container, exited, processState } from "./process";
import type { Run } from "./run";
import { SIGKILL } from "./signals";

/** Health as `check` makes it of a Task's argument: the times are filled in. */
export interface HealthInputs {
    interval: string;
    timeout: string;
    retries: number;
    startPeriod: string;
    exec?: string[];
    http?: { port: number; path?: string; status?: number };
    tcp?: { port: number };
}

/** Where the health of a process is asked. */
export interface Patient {
    client: Client;
    transport: Transport;
    /** Where its ports answer, as seen from the node: its own address, or with network `host` the node's loopback. */
    address: string;
    /** containerd's id of the container. */
    name: string;
    /** What words in a command stand for. */
    self: Self;
}

/** A container as a patient. `inputs` say how its node is reached. */
export async function patientOf(
    run: Run,
    client: Client,
    inputs: Parameters<typeof reachedAt>[2],
    container: Container,
): Promise<Patient> {
    const { address, self } = await reachedAt(run, client, inputs, container);
    return { client, transport: run.transport(inputs.node), name: container.id, address, self };
}

/** While starting, it is asked more often than later. Milliseconds. */
const ASK_AGAIN = 500;
/** A killed probe is gone in this time. Milliseconds. */
const KILLED_IN = 5_000;

/** How long health is waited for, and who hears why. */
interface Patience {
    /** Failures do not count before. Milliseconds since 1970. */
    forgivenUntil: number;
    /** It is given up then. Milliseconds since 1970. */
    deadline: number;
    say: (why: string) => void;
}

/**
 * Waits until healthy after a start. `deadline` is a time in milliseconds since 1970, `say` hears why it still waits. Throws
 * `Failed` when the process ends, `Timeout` when it does not get healthy.
 */
export async function waitHealthy(
    patient: Patient,
    health: HealthInputs,
    deadline: number,
    say: (why: string) => void,
): Promise<void> {
    const forgivenUntil = Date.now() + duration(health.startPeriod);
    const problem = await ask(patient, health, { forgivenUntil, deadline, say });
    if (problem) throw problem;
}

/** Whether a process that runs for long is healthy: it is not after `retries` failures in a row, `interval` apart. */
export async function isHealthy(
    patient: Patient,
    health: HealthInputs,
    say: (why: string) => void = () => {},
): Promise<boolean> {
    return (await ask(patient, health, { forgivenUntil: 0, deadline: Infinity, say })) === undefined;
}

/** Asks until it is healthy, or has failed too often: then why. Throws `Unreachable` where the node does not answer. */
async function ask(
    patient: Patient,
    health: HealthInputs,
    { forgivenUntil, deadline, say }: Patience,
): Promise<ContainerdError | undefined> {
    let failures = 0;
    for (;;) {
        // As Docker has it, the start of a probe counts.
        const starting = Date.now() < forgivenUntil;
        const pause = starting ? Math.min(ASK_AGAIN, duration(health.interval)) : duration(health.interval);
        const isLast =
            (!starting && failures + 1 >= health.retries) ||
            Date.now() + duration(health.timeout) + KILLED_IN + pause > deadline;
        const problem = await probe(patient, health, isLast);
        if (problem === undefined) return undefined;
        const state = await processState(patient.client, patient.name);
        if (state?.status !== "running") return ended(patient, state?.exitStatus);
        if (!starting) failures++;
        say(`waiting for health: ${problem.split("\n")[0]}`);
        if (failures >= health.retries || Date.now() + pause > deadline) {
            return new ContainerdError("Timeout", `container ${patient.name} runs, but is not healthy: ${problem}`, {
                node: patient.client.node,
                property: "health",
            });
        }
        await sleep(pause);
    }
}

/** The error for a process that is gone though it should run. */
export function ended(patient: Pick<Patient, "client" | "name">, status: number | undefined): ContainerdError {
    const how = status === undefined ? "is gone" : `ended with exit status ${status}${meaning(status)}`;
    return new ContainerdError("Failed", `the process of container ${patient.name} ${how}`, {
        node: patient.client.node,
    });
}

function meaning(status: number): string {
    if (status === 0)
        return ", though a Task's process is to go on: for a job, which runs to its end, say `once: true`";
    if (status === 137) return " (SIGKILL: perhaps its memory limit)";
    if (status > 128 && status < 128 + 65) return ` (signal ${status - 128})`;
    return "";
}

/**
 * Asks once. Undefined is healthy, else why not; `aloud` with what a command wrote, which takes longer. Throws `Unreachable` where the
 * node does not answer.
 */
async function probe(patient: Patient, health: HealthInputs, aloud: boolean): Promise<string | undefined> {
    const timeout = duration(health.timeout);
    if (health.exec) {
        const args = health.exec.map((text) => fillSelf(text, patient.self));
        return aloud ? probeExecAloud(patient, args, timeout) : probeExec(patient, args, timeout);
    }
    if (health.http) return probeHttp(patient, health.http, timeout);
    if (health.tcp) return probeTcp(patient, health.tcp.port, timeout);
    return undefined;
}

async function probeTcp({ transport, address }: Patient, port: number, timeout: number): Promise<string | undefined> {
    try {
        (await transport.dial(address, port, timeout)).destroy();
        return undefined;
    } catch (error) {
        return `no connection to port ${port} (${reason(error)})`;
    }
}

async function probeHttp(
    { transport, address }: Patient,
    { port, path = "/", status }: NonNullable<HealthInputs["http"]>,
    timeout: number,
): Promise<string | undefined> {
    const where = `http://${address.includes(":") ? `[${address}]` : address}:${port}${path}`;
    let stream;
    try {
        stream = await transport.dial(address, port, timeout);
    } catch (error) {
        return `${where}: no connection (${reason(error)})`;
    }
    const connection = stream;
    const late = setTimeout(() => connection.destroy(new Error(`no answer in ${timeout} ms`)), timeout);
    try {
        const answer = await new Promise<number>((resolve, reject) => {
            // No agent at all: one would make a connection of its own, from here and not from the node.
            const options = { host: address, port, path, createConnection: () => connection };
            const asking = request(options, (response) => {
                response.resume();
                resolve(response.statusCode ?? 0);
            });
            asking.on("error", reject);
            asking.end();
        });
        const well = status === undefined ? answer >= 200 && answer < 400 : answer === status;
        return well ? undefined : `${where} answers ${answer}${status === undefined ? "" : `, not ${status}`}`;
    } catch (error) {
        return `${where}: ${reason(error)}`;
    } finally {
        clearTimeout(late);
        connection.destroy();
    }
}

/** Without an output the shim gives one that cannot be written to (`/dev/null`, opened to be read): many a command fails on that. */
const NOWHERE = "file:///dev/null";

/** Runs a command in the container, with its process' own user, environment and confinement. */
async function probeExec({ client, name }: Patient, args: string[], timeout: number): Promise<string | undefined> {
    const { container } = await client.containers.get({ id: name });
    const spec = JSON.parse(Buffer.from(container?.spec?.value as Uint8Array).toString()) as { process: object };
    const process = { ...spec.process, args, terminal: false };
    const exec_id = `health-${randomBytes(6).toString("hex")}`;
    const id = { container_id: name, exec_id };
    try {
        await client.tasks.exec({
            ...id,
            stdout: NOWHERE,
            stderr: NOWHERE,
            spec: {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process",
                value: Buffer.from(JSON.stringify(process)),
            },
        });
    } catch (error) {
        if (hasCode(error, "Unreachable")) throw error;
        return `${args[0]}: ${reason(error)}`;
    }
    try {
        await client.tasks.start(id);
        const status = await exited(client, id, timeout);
        if (status === 0) return undefined;
        if (status !== undefined) return `${args[0]} ended with exit status ${status}`;
        await client.tasks.kill({ ...id, signal: SIGKILL }).catch(() => undefined); // it may just have ended
        await exited(client, id, KILLED_IN);
        return `${args[0]} did not end in ${timeout} ms`;
    } catch (error) {
        if (hasCode(error, "Unreachable")) throw error;
        return `${args[0]}: ${reason(error)}`;
    } finally {
        await client.tasks.deleteProcess(id).catch(() => undefined); // goes with the task at the latest
    }
}

/** The most lines of a failed command that are shown. */
const LINES = 10;

/** The same, and hears what it says. */
async function probeExecAloud(
    { client, name }: Patient,
    args: readonly string[],
    timeout: number,
): Promise<string | undefined> {
    try {
        const { status, output } = await runInside(client, name, args, timeout);
        if (status === 0) return undefined;
        const how = status === undefined ? `did not end in ${timeout} ms` : `ended with exit status ${status}`;
        if (output.trim() === "") return `${args[0]} ${how}`;
        const lines = output.split("\n").slice(-LINES);
        return `${args[0]} ${how}, and wrote:\n${lines.map((line) => `    ${line}`).join("\n")}`;
    } catch (error) {
        if (hasCode(error, "Unreachable")) throw error;
        return `${args[0]}: ${reason(error)}`;
    }
}

function duration(text: string): number {
    return parseDuration(text) ?? 0;
}

function reason(error: unknown): string {
    return error instanceof ContainerdError ? error.reason : error instanceof Error ? error.message : String(error);
}
