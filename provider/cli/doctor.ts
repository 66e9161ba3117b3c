/** `pulumi-containerd doctor`: examines nodes side by side, and says what was found. Changes nothing. */
import pLimit from "p-limit";
import { ContainerdError } from "../errors";
import type { Run } from "../lifecycle/run";
import { diagnose } from "./diagnosis";
import { examine } from "./examination";
import type { KnownStack } from "./leftovers";
import { allNodes, startRun } from "./nodes";
import { type Place, readStack } from "./project";
import { formatJson, formatReports, hasProblem, type NodeReport } from "./report";

/** Nodes at a time: a hanging one does not hold the others back, and a thousand do not open a thousand files at once. */
const AT_A_TIME = 32;

/** What a command leaves. */
export interface Outcome {
    /** Exit status. */
    code: 0 | 1 | 2;
    /** For stdout. */
    output: string;
    /** For stderr: what could not be had. */
    notes?: string;
}

/** What `doctor` is told. */
export interface DoctorOptions extends Place {
    /** Default: all nodes that are configured, else this machine. */
    nodes: readonly string[];
    /** For programs. */
    json: boolean;
    /** Columns of the terminal. */
    width: number;
}

/** Runs it. Throws `Invalid`, `NotFound`, `Failed` where the project's config cannot be had. */
export async function doctor(options: DoctorOptions): Promise<Outcome> {
    const run = await startRun(options);
    try {
        const [stack, notes] = await stackOf(options);
        const reports = await examineAll(run, options.nodes.length ? options.nodes : allNodes(run), stack);
        const output = options.json ? formatJson(reports) : formatReports(reports, options.width);
        return { code: hasProblem(reports) ? 1 : 0, output, ...(notes !== undefined && { notes }) };
    } finally {
        await run.close();
    }
}

/** Without a state one cannot say what no stack owns; the rest is still worth saying. */
async function stackOf(place: Place): Promise<[stack: KnownStack | undefined, notes?: string]> {
    try {
        return [await readStack(place)];
    } catch (error) {
        const { reason } = ContainerdError.from(error);
        return [undefined, `the stack's state cannot be had, so what it lacks is not known: ${reason}`];
    }
}

async function examineAll(run: Run, nodes: readonly string[], stack: KnownStack | undefined): Promise<NodeReport[]> {
    const limit = pLimit(AT_A_TIME);
    return Promise.all(
        nodes.map((node) => limit(async () => ({ node, findings: diagnose(await examine(run, node), stack) }))),
    );
}
