/** Starts the process of a Task and waits until it does its work: runs, is healthy, or as a job has ended well. */
import type { Client } from "../containerd/client";
import { nodeFacts } from "../containerd/facts";
import { ContainerdError } from "../errors";
import { RUN_FOLDER } from "../network/settings";
import { refusal } from "../node/gate.sh";
import { parseDuration } from "./check/units";
import { ended, patientOf, waitHealthy } from "./health";
import { NotReady } from "./lifecycle";
import { sandboxIn } from "./network/networking";
import { ensureJoined, networkProblem, takePorts } from "./network/node-network";
import { lastLogLines, withLog } from "./logs";
import { parseId } from "./names";
import {
    type Container,
    exited,
    processState,
    removeTask,
    setLabels,
    startProcess,
    type Stop,
    stopProcess,
    wantsTerminal,
} from "./process";
import { assertRestartable, freshUri, RESTART_LABELS, restartLabels } from "./restart";
import type { Run } from "./run";
import type { TaskInputs, TaskState } from "./task";

/** How long a job may run, and an `up` may wait for health, where `customTimeouts` says nothing. */
const DEFAULT_TIMEOUT = "10m";
/** What ends in this time did not come up. Milliseconds. */
const AT_ONCE = 100;

/**
 * Starts the process where it does not run, and waits until it does its work. With `anew`, a process that runs is stopped
 * in that way first.
 */
export async function bringUp(
    run: Run,
    client: Client,
    id: string,
    inputs: TaskInputs,
    { claimed, anew }: { claimed: Container; anew?: Stop },
): Promise<TaskState> {
    const { name } = parseId(inputs.container);
    const facts = await nodeFacts(client);
    assertRestartable(inputs.restart, wantsTerminal(claimed), facts, inputs.node);
    const runs = !anew && (await processState(client, name))?.status === "running";
    // The monitor is called off meanwhile: it would start it too.
    if (anew || (!runs && inputs.desired === "running")) await stopProcess(client, name, anew ?? {}, claimed.labels);
    if (inputs.desired === "stopped") return { ...inputs, ready: true, status: "stopped" };
    if (!runs) await start(client, claimed, freshUri(inputs.restart, facts));
    if (inputs.once) return runOnce(client, name, inputs);
    const labels = restartLabels(inputs.restart, facts);
    // After a stop there are none to be taken off.
    if (runs || Object.keys(labels).length > 0) await watch(client, name, labels);
    const deadline = Date.now() + timeoutOf(inputs);
    try {
        if (inputs.health)
            await waitHealthy(await patientOf(run, client, inputs, claimed), inputs.health, deadline, (why) =>
                run.report.progress(inputs.owner, why),
            );
        else await assertRunning(client, name, inputs);
        await takePorts(client, claimed);
    } catch (error) {
        const told = await toldWithLog(client, name, error, inputs.node);
        const running = (await processState(client, name))?.status === "running";
        throw new NotReady(told, { id, state: { ...inputs, ready: false, status: running ? "running" : "stopped" } });
    } finally {
        run.report.progress(inputs.owner, "");
    }
    return { ...inputs, ready: true, status: "running" };
}

async function start(client: Client, container: Container, logUri: string): Promise<void> {
    const joined = sandboxIn(container.spec);
    if (joined && wantsTerminal(container)) await ensureJoined(client, joined);
    try {
        try {
            await startProcess(client, container.id, container, logUri);
        } catch (error) {
            // runc looks for namespaces before any hook runs: that they could not be made is no reason yet. Asked again, the node says why.
            if (!joined || !(error instanceof Error) || !error.message.includes(`${RUN_FOLDER}/`)) throw error;
            await ensureJoined(client, joined);
            await startProcess(client, container.id, container, logUri);
        }
    } catch (error) {
        const told = ContainerdError.from(error, { node: client.node });
        const refused = refusal(told.reason);
        if (refused !== undefined) throw networkProblem(refused, client.node, error);
        if (told.property !== undefined) throw told;
        throw new ContainerdError(told.code, startProblem(told.reason), { node: told.node, cause: error });
    }
}

/** What the runtime says of a start that failed, with what to do about it where that is known. Pure. */
export function startProblem(said: string): string {
    const command = /exec: "([^"]*)": (?:stat |executable file not found|permission denied)/.exec(said)?.[1];
    if (command === undefined) return said;
    const what = said.includes("permission denied")
        ? `the command ${command} may not be executed in the image (its mode, or it is a folder)`
        : `there is no command ${command} in the image`;
    return `${what}: see the Container's \`entrypoint\` and \`args\`, and what the image itself starts. The runtime says: ${said}`;
}

/** A process that ended at once was a failure, with whatever status: what runs to its end is a job (`once`). */
async function assertRunning(client: Client, name: string, { restart }: TaskInputs): Promise<void> {
    // With a policy containerd would start it again, and a moment is no proof; without, this is the only look.
    if (restart === "no") await exited(client, { container_id: name }, AT_ONCE);
    const state = await processState(client, name);
    if (state?.status === "running") return;
    throw ended({ client, name }, state?.exitStatus);
}

async function runOnce(client: Client, name: string, inputs: TaskInputs): Promise<TaskState> {
    const exitCode = await exited(client, { container_id: name }, timeoutOf(inputs));
    if (exitCode === 0) {
        await stopProcess(client, name, {});
        return { ...inputs, ready: true, status: "stopped", exitCode };
    }
    const error =
        exitCode === undefined
            ? new ContainerdError(
                  "Timeout",
                  `the job ${name} did not end in ${inputs.timeouts?.create ?? DEFAULT_TIMEOUT}: set customTimeouts`,
              )
            : ended({ client, name }, exitCode);
    throw await toldWithLog(client, name, error, inputs.node);
}

/** The error with the last lines of the log. */
async function toldWithLog(client: Client, name: string, error: unknown, node: string): Promise<ContainerdError> {
    const told = ContainerdError.from(error, { node });
    // The shim holds the log's pipes until the task is removed: only then the last line is sure to be there.
    if ((await processState(client, name))?.status === "stopped") await removeTask(client, name);
    const log = await lastLogLines(client, name);
    return new ContainerdError(told.code, withLog(told.reason, log), { node, property: told.property, cause: told });
}

/** Puts exactly these of the monitor's labels on the container. */
async function watch(client: Client, name: string, wanted: Record<string, string>): Promise<void> {
    const none = Object.fromEntries(RESTART_LABELS.map((key) => [key, ""]));
    await setLabels(client, name, { ...none, ...wanted });
}

function timeoutOf({ timeouts }: TaskInputs): number {
    return parseDuration(timeouts?.create ?? DEFAULT_TIMEOUT) ?? 0;
}
