/** `pulumi-containerd bootstrap`: prints the script that prepares a worker, or runs it there. */
import { ContainerdError } from "../errors";
import { nodeSettings } from "../lifecycle/settings";
import { shellQuote } from "../node/shell";
import { DEFAULT_SOCKET } from "../transport/ssh/settings";
import { BOOTSTRAP_SCRIPT } from "./bootstrap.sh";
import type { Outcome } from "./doctor";
import { startRun } from "./nodes";
import type { Place } from "./project";

/** Milliseconds: packages may have to be downloaded. */
const TIMEOUT = 20 * 60_000;

/** What `bootstrap` is told. */
export interface BootstrapOptions extends Place {
    node: string;
    /** Run it on the node, instead of printing it. */
    run: boolean;
    /** A user of the worker who is to reach containerd by `dial`. */
    user: string | undefined;
}

/** Runs or prints it. Throws `NotFound`, `Unreachable`, `Unauthorized`, `Timeout`, and what reading the config throws. */
export async function bootstrap(options: BootstrapOptions): Promise<Outcome> {
    const { user } = options;
    if (!options.run) return { code: 0, output: printed(user) };
    const run = await startRun(options);
    try {
        const { socket = DEFAULT_SOCKET } = nodeSettings(run.settings, options.node);
        const args = user === undefined ? [] : [user, socket];
        // Through stdin, because sudo logs the arguments.
        const said = await run
            .transport(options.node)
            .run(AS_ROOT, args, { input: BOOTSTRAP_SCRIPT, timeout: TIMEOUT });
        if (said.code === NO_ROOT) {
            const reason =
                "the user who logs in there is not root, and sudo wants a password: print the script, and run it yourself";
            throw new ContainerdError("Unauthorized", reason, { node: options.node });
        }
        return {
            code: said.code === 0 ? 0 : 1,
            output: said.stdout,
            ...(said.stderr && { notes: said.stderr.trimEnd() }),
        };
    } finally {
        await run.close();
    }
}

/** An exit status that the script itself does not have. */
const NO_ROOT = 77;

const AS_ROOT = `
[ "$(id -u)" != 0 ] || exec /bin/sh -s -- "$@"
sudo -n true 2>/dev/null || exit ${NO_ROOT}
exec sudo -n /bin/sh -s -- "$@"
`;

/** The script for who pipes it to a shell: its arguments are set in it. */
function printed(user: string | undefined): string {
    const head = [
        "#!/bin/sh",
        "# Makes a Debian 12 or 13, Ubuntu 22.04 or 24.04 machine a worker of pulumi-containerd. Run it there, as root;",
        "# it can be run again. Nothing of pulumi-containerd is installed.",
        ...(user === undefined ? [] : [`set -- ${shellQuote(user)}`]),
    ];
    return `${head.join("\n")}\n${BOOTSTRAP_SCRIPT}`;
}
