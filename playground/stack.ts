/**
 * One stack of one project, for tests: a temporary folder with a program, a file backend, and the commands as methods that
 * say which step the engine did with which resource.
 */
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { ContainerdError } from "../provider/errors";
import { engineEnvironment, pulumi } from "./engine";
import { repository } from "./environment";
import type { Result, RunOptions } from "./process";

/** A value of the stack's configuration: plain, structured, or a secret text. */
export type ConfigValue = string | number | boolean | object | { secret: string };

export interface StackOptions {
    /** The program's text (see `entry`), or a folder with a whole project that is copied. */
    program: string | { folder: string };
    /** File name of the program's text. Default: `index.js`, which starts fastest; `index.ts` is type-checked. */
    entry?: string;
    /** Default: `test`. */
    project?: string;
    /** Default: `dev`. */
    stack?: string;
    /** Configuration, by full key like `containerd:nodes`. */
    config?: Record<string, ConfigValue>;
    /** More files of the project, by path. */
    files?: Record<string, string>;
    /** Environment of the engine, beside what `engineEnvironment` sets. */
    env?: NodeJS.ProcessEnv;
}

/** One step that the engine planned or did. */
export interface Step {
    /** `create`, `update`, `delete`, `same`, `replace`, `create-replacement`, `delete-replaced`, `read`. */
    op: string;
    urn: string;
    /** Type token, like `pulumi-nodejs:dynamic/containerd:Task`. */
    type: string;
    name: string;
    /** Paths of the properties that differ. */
    diffs: string[];
    /** Whether it failed. */
    failed: boolean;
    /** The engine's record of the resource before and after, secrets masked. */
    old?: Record<string, unknown>;
    new?: Record<string, unknown>;
}

/** What a command of the engine did. */
export interface UpdateResult extends Result {
    steps: Step[];
    /** All diagnostics but debug messages, without colours. */
    diagnostics: { severity: string; message: string; urn?: string }[];
    /** `name: op` of all steps except `same` and those of the stack and its providers, sorted: what a test compares. */
    changes: string[];
}

function isSecret(value: ConfigValue): value is { secret: string } {
    return typeof value === "object" && Object.keys(value).length === 1 && "secret" in value;
}

interface StepMetadata {
    op: string;
    urn: string;
    type: string;
    diffs?: string[];
    detailedDiff?: Record<string, unknown>;
    old?: Record<string, unknown>;
    new?: Record<string, unknown>;
}

interface EngineEvent {
    resourcePreEvent?: { metadata: StepMetadata };
    resOutputsEvent?: { metadata: StepMetadata };
    resOpFailedEvent?: { metadata: StepMetadata };
    diagnosticEvent?: { message: string; severity: string; urn?: string };
}

/** The stack itself and the providers: no step of the program's own. */
const ENGINES_OWN = /^pulumi:(pulumi:Stack$|providers:)/;

/** A stack of a temporary project. Make it with `Stack.create`, give it up with `remove`. */
export class Stack {
    private constructor(
        /** The temporary folder; holds `project`, `backend`, the engine's event logs. */
        readonly folder: string,
        readonly name: string,
        private readonly env: NodeJS.ProcessEnv,
    ) {}

    private runs = 0;

    /** The project's folder: change its files to change the program. */
    get project(): string {
        return path.join(this.folder, "project");
    }

    /** Makes the folder and the stack. Throws `Failed` with the engine's words. */
    static async create(options: StackOptions): Promise<Stack> {
        const folder = await mkdtemp(path.join(tmpdir(), "pulumi-containerd-stack-"));
        await mkdir(path.join(folder, "backend"));
        const env = engineEnvironment(path.join(folder, "backend"), options.env);
        const stack = new Stack(folder, options.stack ?? "dev", env);
        await mkdir(stack.project);
        await stack.writeProgram(options);
        await stack.must(["stack", "init", stack.name]);
        if (options.config) await stack.configure(options.config);
        return stack;
    }

    private async writeProgram(options: StackOptions): Promise<void> {
        if (typeof options.program === "string") {
            const entry = options.entry ?? "index.js";
            const typescript = /\.[cm]?ts$/.test(entry);
            const description = {
                name: options.project ?? "test",
                main: entry,
                runtime: { name: "nodejs", options: { typescript } },
            };
            await this.write({
                [entry]: options.program,
                // JSON is YAML.
                "Pulumi.yaml": JSON.stringify(description),
                "package.json": JSON.stringify({ name: "test", private: true }),
            });
        } else {
            await cp(options.program.folder, this.project, {
                recursive: true,
                filter: (source) => path.basename(source) !== "node_modules",
            });
        }
        if (options.files) await this.write(options.files);
        // `pulumi-containerd` and `@pulumi/pulumi` resolve to this clone's: the former is its built `dist`.
        await symlink(path.join(repository, "node_modules"), path.join(this.project, "node_modules"));
    }

    /** Writes files of the project, by path. */
    async write(files: Record<string, string>): Promise<void> {
        for (const [name, content] of Object.entries(files)) {
            const file = path.join(this.project, name);
            await mkdir(path.dirname(file), { recursive: true });
            await writeFile(file, content);
        }
    }

    /** Sets configuration; what was set before under other keys stays. */
    async configure(config: Record<string, ConfigValue>): Promise<void> {
        const plain: Record<string, { value: string; objectValue?: object }> = {};
        for (const [key, value] of Object.entries(config)) {
            if (isSecret(value)) {
                // Through stdin: among the arguments it could be read by anyone on this machine.
                await this.must(["config", "set", "--stack", this.name, "--secret", key], { input: value.secret });
            } else if (typeof value === "object") {
                plain[key] = { value: JSON.stringify(value), objectValue: value };
            } else {
                plain[key] = { value: String(value) };
            }
        }
        if (Object.keys(plain).length === 0) return;
        await this.must(["config", "set-all", "--stack", this.name, "--json", JSON.stringify(plain)]);
    }

    /** `pulumi up`. Resolves whatever the exit status; see `code`. */
    up(args: readonly string[] = [], options: RunOptions = {}): Promise<UpdateResult> {
        return this.update(["up", "--yes", "--skip-preview", ...args], options);
    }

    /** `pulumi preview`. */
    preview(args: readonly string[] = [], options: RunOptions = {}): Promise<UpdateResult> {
        return this.update(["preview", ...args], options);
    }

    /** `pulumi refresh`. */
    refresh(args: readonly string[] = [], options: RunOptions = {}): Promise<UpdateResult> {
        return this.update(["refresh", "--yes", "--skip-preview", ...args], options);
    }

    /** `pulumi destroy`. */
    destroy(args: readonly string[] = [], options: RunOptions = {}): Promise<UpdateResult> {
        return this.update(["destroy", "--yes", "--skip-preview", ...args], options);
    }

    /** The stack's outputs, secrets readable. */
    async outputs(): Promise<Record<string, unknown>> {
        const text = await this.must(["stack", "output", "--json", "--show-secrets", "--stack", this.name]);
        return JSON.parse(text) as Record<string, unknown>;
    }

    /** The state as `pulumi stack export` gives it, secrets encrypted. */
    async exportState(): Promise<DeploymentState> {
        const text = await this.must(["stack", "export", "--stack", this.name]);
        return JSON.parse(text) as DeploymentState;
    }

    /** Runs any command of `pulumi` in the project. Resolves whatever the exit status. */
    pulumi(args: readonly string[], options: RunOptions = {}): Promise<Result> {
        return pulumi(args, { ...options, cwd: this.project, env: { ...this.env, ...options.env } });
    }

    /** Removes the folder, and the state with it. Destroys nothing on a worker: call `destroy` first. */
    async remove(): Promise<void> {
        await rm(this.folder, { recursive: true, force: true });
    }

    private async must(args: readonly string[], options: RunOptions = {}): Promise<string> {
        const result = await this.pulumi(["--non-interactive", ...args], options);
        if (result.code === 0) return result.stdout;
        throw new ContainerdError("Failed", `pulumi ${args.slice(0, 2).join(" ")}: ${result.stderr || result.stdout}`);
    }

    private async update(args: readonly string[], options: RunOptions): Promise<UpdateResult> {
        const log = path.join(this.folder, `events-${++this.runs}.json`);
        const common = ["--non-interactive", "--color=never", "--stack", this.name, "--event-log", log];
        const result = await this.pulumi([...args, ...common], options);
        const lines = await readFile(log, "utf8").catch(() => "");
        const events = lines
            .split("\n")
            .filter(Boolean)
            .map((line) => JSON.parse(line) as EngineEvent);
        return { ...result, ...summarize(events) };
    }
}

/** The parts of an exported state that tests look at. */
export interface DeploymentState {
    version: number;
    deployment: {
        resources?: {
            urn: string;
            type: string;
            id?: string;
            custom?: boolean;
            inputs?: Record<string, unknown>;
            outputs?: Record<string, unknown>;
            delete?: boolean;
            initErrors?: string[];
        }[];
        pending_operations?: { type: string; resource: { urn: string } }[];
    };
}

/** Steps and diagnostics of an event log. */
function summarize(events: readonly EngineEvent[]): Pick<UpdateResult, "steps" | "diagnostics" | "changes"> {
    const steps: Step[] = [];
    const diagnostics: UpdateResult["diagnostics"] = [];
    for (const event of events) {
        if (event.resourcePreEvent) steps.push(toStep(event.resourcePreEvent.metadata));
        if (event.resOpFailedEvent) {
            const { op, urn } = event.resOpFailedEvent.metadata;
            const step = steps.findLast((one) => one.urn === urn && one.op === op);
            if (step) step.failed = true;
            else steps.push({ ...toStep(event.resOpFailedEvent.metadata), failed: true });
        }
        if (event.resOutputsEvent) {
            // A refresh announces `refresh` for all, and says only here what it found.
            const { op, urn } = event.resOutputsEvent.metadata;
            const step = steps.findLast((one) => one.urn === urn);
            if (step?.op === "refresh") Object.assign(step, toStep(event.resOutputsEvent.metadata), { op });
        }
        if (event.diagnosticEvent && event.diagnosticEvent.severity !== "debug") {
            const { message, severity, urn } = event.diagnosticEvent;
            diagnostics.push({ message: message.replaceAll(/<\{%[^%]*%\}>/g, "").trim(), severity, urn });
        }
    }
    const changes = steps
        .filter((step) => step.op !== "same" && !ENGINES_OWN.test(step.type))
        .map((step) => `${step.name}: ${step.op}`)
        .sort();
    return { steps, diagnostics, changes };
}

function toStep(metadata: StepMetadata): Step {
    const { op, urn, type, old } = metadata;
    const name = urn.split("::").slice(3).join("::");
    const diffs = metadata.detailedDiff ? Object.keys(metadata.detailedDiff) : (metadata.diffs ?? []);
    return { op, urn, type, name, diffs, failed: false, old, new: metadata.new };
}
