/** `pulumi-containerd doctor`: examines nodes side by side, and says what was found. Changes nothing. */
import pLimit from "p-limit";
import { ContainerdError } from "../errors";
import type { Run } from "../lifecycle/run";
import { diagnose } from "./diagnosis";
import { examine } from "./examination";
import type { KnownStack } from "./leftovers";
import { allNodes, startRun } from "./nodes";
import { findProject, type Place, readStack } from "./project";
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
        const [stack, problem] = await stackOf(options);
        const named = options.nodes;
        const reports = await examineAll(run, named.length ? named : allNodes(run), stack);
        const output = options.json ? formatJson(reports) : formatReports(reports, options.width);
        const notes = notesOn({
            named,
            configured: Object.keys(run.settings.nodes),
            inProject: options.stack !== undefined || (await findProject(options.cwd)) !== undefined,
            cwd: options.cwd,
            connected: stack?.connected ?? [],
        });
        const all = [...(problem === undefined ? [] : [problem]), ...notes].join("\n");
        return { code: hasProblem(reports) ? 1 : 0, output, ...(all && { notes: all }) };
    } finally {
        await run.close();
    }
}

/** What one has to know to choose nodes. */
interface Chosen {
    /** On the command line. */
    named: readonly string[];
    /** In containerd:nodes. */
    configured: readonly string[];
    /** Whether there is a project whose config could say something. */
    inProject: boolean;
    cwd: string;
    /** Nodes of the stack's state with a `connection` of their own. */
    connected: readonly string[];
}

/** Why these nodes were examined, where that is not what one would expect, and which were not. Pure. */
export function notesOn({ named, configured, inProject, cwd, connected }: Chosen): string[] {
    const notes: string[] = [];
    if (!inProject)
        notes.push(
            `no Pulumi project here (${cwd}), so no node is configured: run it in a project's folder, or say --cwd`,
        );
    const unseen = connected.filter(
        (name) => !configured.includes(name) && (named.length === 0 || named.includes(name)),
    );
    const how = "doctor knows them once they are in containerd:nodes too";
    if (named.length === 0 && configured.length === 0) {
        const why = inProject ? "the stack config containerd:nodes has no node, so " : "";
        const others = inProject && unseen.length === 0 ? `. Nodes with a \`connection\` in the program: ${how}` : "";
        notes.push(`${why}this machine was examined${others}`);
    }
    if (unseen.length > 0) {
        const why = "because how they are reached stands in the program alone (`connection`)";
        notes.push(`not examined, ${why}: ${unseen.join(", ")}; ${how}`);
    }
    return notes;
}

/** Without a state one cannot say what no stack owns; the rest is still worth saying. */
async function stackOf(place: Place): Promise<[stack: KnownStack | undefined, problem?: string]> {
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
