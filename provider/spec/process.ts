/** What runs: arguments, environment, working folder, terminal. */
import { posix } from "node:path";
import { ContainerdError } from "../errors";
import { type SpecOption, withProcess } from "./context";
import { containerHostname } from "./namespaces";

/** What Docker and containerd give where neither image nor program says a PATH. */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * `entrypoint` and `args`, as Docker and Kubernetes have it: a given entrypoint drops the image's entrypoint *and* its cmd;
 * given args replace the cmd. An empty list counts as given.
 */
export const withArgs: SpecOption = (spec, { inputs, image }) => {
    const entrypoint = inputs.entrypoint ?? image.config?.Entrypoint ?? [];
    const args = inputs.args ?? (inputs.entrypoint ? [] : (image.config?.Cmd ?? []));
    if (entrypoint.length + args.length === 0) {
        const reason = `nothing to run: ${inputs.image} has no entrypoint and no cmd of its own that would be used; give entrypoint or args`;
        throw new ContainerdError("Invalid", reason, { property: "args" });
    }
    return withProcess(spec, { args: [...entrypoint, ...args] });
};

/**
 * `env`: PATH, HOSTNAME and (with a tty) TERM as Docker sets them, then the image's, then the program's, each replacing
 * what has its name. HOME is runc's doing: it takes it from the image's `/etc/passwd` where it is not given.
 */
export const withEnv: SpecOption = (spec, { inputs, image }) => {
    const hostname = containerHostname(inputs);
    const env = new Map<string, string>([["PATH", DEFAULT_PATH]]);
    if (hostname !== undefined) env.set("HOSTNAME", hostname);
    if (inputs.tty) env.set("TERM", "xterm");
    for (const entry of image.config?.Env ?? []) env.set(...splitEnv(entry));
    // Sorted, as the state has maps: the order of a program's keys must not be a difference.
    for (const name of Object.keys(inputs.env ?? {}).sort()) env.set(name, inputs.env?.[name] ?? "");
    return withProcess(spec, { env: [...env].map(([name, value]) => `${name}=${value}`) });
};

/** Name and value of `NAME=value`; a name alone has an empty value. */
export function splitEnv(entry: string): [string, string] {
    const end = entry.indexOf("=");
    return end < 0 ? [entry, ""] : [entry.slice(0, end), entry.slice(end + 1)];
}

/** `workdir`: the program's, else the image's (which Docker takes from `/` if it is relative), else `/`. */
export const withWorkdir: SpecOption = (spec, { inputs, image }) => {
    const workdir = inputs.workdir ?? posix.join("/", image.config?.WorkingDir ?? "");
    if (!posix.isAbsolute(workdir)) {
        throw new ContainerdError("Invalid", `${JSON.stringify(workdir)} is not an absolute path`, {
            property: "workdir",
        });
    }
    return withProcess(spec, { cwd: workdir });
};

/** `tty`: runc makes a terminal and gives it to the process as its three streams and as `/dev/console`. */
export const withTty: SpecOption = (spec, { inputs }) => (inputs.tty ? withProcess(spec, { terminal: true }) : spec);
