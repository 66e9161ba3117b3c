/**
 * The real Pulumi engine, run as users run it: a project in a folder, a stack in a file backend, the `pulumi` command.
 * Nothing of the user's own Pulumi is touched: backend, passphrase and PULUMI_HOME are ours.
 */
import path from "node:path";
import { environment, playgroundFolder, toolPath } from "./environment";
import { type Result, type RunOptions, run } from "./process";

export { Stack, type StackOptions, type UpdateResult, type Step } from "./stack";

/** The environment in which the engine runs: `backend` is the folder that holds the stacks. */
export function engineEnvironment(backend: string, extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("PULUMI_"));
    return {
        ...Object.fromEntries(inherited),
        PATH: toolPath(),
        // Without a file of metadata beside each: an engine that is killed may leave one empty, and then none reads the stack any more.
        PULUMI_BACKEND_URL: `file://${backend}?metadata=skip`,
        PULUMI_HOME: path.join(playgroundFolder, "pulumi-home"),
        PULUMI_CONFIG_PASSPHRASE: "playground",
        PULUMI_SKIP_UPDATE_CHECK: "true",
        // The provider's cache of blobs: neither the user's own nor one that tests share.
        XDG_CACHE_HOME: path.join(backend, "cache"),
        // Gives the commands `--event-log`, from which tests read the engine's steps.
        PULUMI_DEBUG_COMMANDS: "true",
        PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
        ...extra,
    };
}

/**
 * Runs `pulumi` with these arguments. Resolves whatever its exit status.
 *
 * @example
 * await pulumi(["up", "--yes", "--stack", "dev"], { cwd: project, env: engineEnvironment(backend) });
 */
export function pulumi(args: readonly string[], options: RunOptions & { cwd: string }): Promise<Result> {
    return run(environment().pulumi, args, options);
}
