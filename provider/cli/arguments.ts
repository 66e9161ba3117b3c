/** The command line of `pulumi-containerd`, read. Pure. */
import { parseArgs } from "node:util";
import { ContainerdError } from "../errors";

/** What `pulumi-containerd --help` prints. */
export const USAGE = `usage: npx pulumi-containerd COMMAND     (in the folder of a project that has the package)

  doctor [NODE...] [--json]     says what nodes have and lack, what of this package lies there that no stack
                                owns, and for each the command that mends it. Without a NODE: all nodes of the
                                stack config containerd:nodes, else this machine. Changes nothing.
                                Nodes with a \`connection\` of their own are not known to it.
  bootstrap NODE [--run]        prints the script that makes a Debian 12 or 13, Ubuntu 22.04 or 24.04 machine a
                                worker; with --run, runs it there, as root or by sudo -n.

  --stack NAME    the stack whose config says how nodes are reached. Default: the one that is selected
  --cwd DIR       a folder in the Pulumi project. Default: the current one
  --json          doctor: for programs
  --user NAME     bootstrap: also lets this user of the worker reach containerd, by \`dial\`
  --run           bootstrap: on the worker, instead of printing

A NODE is a name in containerd:nodes, or a Host of ~/.ssh/config.
Ends with 0 when all is well, 1 when there are problems, 2 when the command line is wrong.
`;

interface Common {
    cwd: string;
    stack: string | undefined;
}

/** A command line that can be obeyed. */
export type Command =
    | { command: "help" }
    | { command: "version" }
    | (Common & { command: "doctor"; nodes: string[]; json: boolean })
    | (Common & { command: "bootstrap"; node: string; run: boolean; user: string | undefined });

const OPTIONS = {
    stack: { type: "string" },
    cwd: { type: "string" },
    json: { type: "boolean" },
    run: { type: "boolean" },
    user: { type: "string" },
    help: { type: "boolean", short: "h" },
    version: { type: "boolean" },
} as const;

const OWN_OPTIONS = { doctor: ["json"], bootstrap: ["run", "user"] } as const;

/** As useradd of Debian takes it. */
const USER_NAME = /^[a-z_][a-z0-9_-]{0,31}$/;

/** Reads the arguments. Throws `Invalid`. */
export function parseCommand(args: readonly string[], cwd: string): Command {
    const { values, positionals } = parsed(args);
    const [command, ...nodes] = positionals;
    if (values.help || command === "help" || (command === undefined && !values.version)) {
        if (values.help || command === "help") return { command: "help" };
        throw usage("which command: doctor or bootstrap?");
    }
    if (values.version) return { command: "version" };
    if (command !== "doctor" && command !== "bootstrap") throw usage(`there is no command ${command}`);
    const foreign = Object.values(OWN_OPTIONS)
        .flat()
        .find((name) => values[name] !== undefined && !(OWN_OPTIONS[command] as readonly string[]).includes(name));
    if (foreign) throw usage(`${command} has no option --${foreign}`);
    const common = { cwd: values.cwd ?? cwd, stack: values.stack };
    if (command === "doctor") return { ...common, command, nodes: [...new Set(nodes)], json: values.json ?? false };
    const [node] = nodes;
    if (node === undefined || nodes.length > 1) throw usage("bootstrap takes one NODE");
    const { user } = values;
    if (user !== undefined && !USER_NAME.test(user)) throw usage(`--user: ${user} is no name for a user`);
    if (user === "root") throw usage("--user: root may do everything already");
    return { ...common, command, node, run: values.run ?? false, user };
}

function parsed(args: readonly string[]) {
    try {
        return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
    } catch (thrown) {
        throw usage(thrown instanceof Error ? thrown.message : String(thrown));
    }
}

function usage(reason: string): ContainerdError {
    return new ContainerdError("Invalid", reason);
}
