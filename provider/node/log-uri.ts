/**
 * How containerd comes to start our logger.
 *
 * containerd's shim runs a log URI `binary:///bin/sh?-c=…` as the command `/bin/sh -c …`, before `runc create`, in the
 * bundle's folder, with the container's stdout and stderr as file descriptors 3 and 4. The restart monitor reads the URI
 * from a label, and a label holds 4,096 bytes: so the URI is one small constant, and the script comes from an annotation
 * of the OCI spec, which the shim has written to `config.json` in that folder.
 */
import { ContainerdError } from "../errors";
import { shellQuote } from "./shell";
import { LOGGER_SCRIPT } from "./logger.sh";
import { logFile } from "./folders";
import type { LogInputs } from "../spec/inputs";

/** Annotation of the OCI spec that holds the script of the node, in base64. */
export const SCRIPT_ANNOTATION = "pulumi-containerd/script";

const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * Finds the script in `config.json` and becomes it.
 *
 * Nothing that a user writes can be taken for the annotation: a line starts after a comma or a brace, and inside a JSON
 * string no unescaped quote can follow one, so `"` at a line's start opens a string, and the `":"` after the name says that
 * it was an object's key. Without a script the output is thrown away: the application must not stop for lack of a reader.
 *
 * A containerd that is killed in the middle of `Tasks.Create` leaves the shim behind, which the next start talks to, though
 * its folder was removed meanwhile (after it was renamed to `.ID`; seen on 2.4.2): the new bundle has the old one's path.
 */
const BOOTSTRAP = [
    PATH,
    '[ -e config.json ] || { d=$(readlink /proc/self/cwd); d=${d% (deleted)}; b=${d##*/}; cd "${d%/*}/${b#.}"; }',
    `s=$(tr '{,' '\\n\\n' <config.json | sed -n 's|^"${SCRIPT_ANNOTATION}":"\\([^"]*\\)".*|\\1|p' | base64 -d)`,
    'eval "${s:-exec 5>&-; cat <&4 >/dev/null & exec cat <&3 >/dev/null}"',
].join("; ");

/** What a log URI tells of a start. */
export interface Start {
    /** It is ours: the gate never holds it off, and counts from nothing (`gate.sh.ts`). The monitor's label says nothing of that. */
    fresh?: boolean;
    /** `on-failure:N`, 0 for without end: kept by the gate, where the monitor knows no policies. Absent: whatever the monitor does. */
    policy?: string;
}

/**
 * The log URI of a task: stdout and stderr of `Tasks.Create`, and the label `containerd.io/restart.loguri`. What differs between
 * containers is not in it, but in `loggerAnnotations`. A start is told by its one parameter's value, since containerd hands
 * several parameters on in no order.
 *
 * @throws `Invalid` for another policy
 */
export function logUri({ fresh = false, policy }: Start = {}): string {
    if (policy !== undefined && !POLICY.test(policy)) {
        throw new ContainerdError("Invalid", `${JSON.stringify(policy)} is no policy for the gate: on-failure:N`);
    }
    const told = [...(fresh ? ["fresh=1"] : []), ...(policy === undefined ? [] : [`policy=${policy}`]), BOOTSTRAP];
    return `binary:///bin/sh?-c=${encodeURIComponent(told.join("; "))}`;
}

/** One argument of a command holds 131,071 on Linux (`MAX_ARG_STRLEN`). Bytes. */
const LONGEST_SCRIPT = 120_000;

/**
 * The log URI of a task that is there for the sake of a script alone, which stands in it: nothing has to be found first. Undefined where
 * it is too long for that; then it goes with {@link LOG_URI} and the annotation. Pure.
 */
export function scriptUri(script: string): string | undefined {
    const bytes = Buffer.from(`${PATH}\n${script}`);
    // From bytes, since half a character has no form in a URI.
    return bytes.length > LONGEST_SCRIPT ? undefined : `binary:///bin/sh?-c=${encodeURIComponent(bytes.toString())}`;
}

const POLICY = /^on-failure:\d{1,6}$/;

/** The policy in a log URI of ours; undefined where there is none. Pure. */
export function policyIn(uri: string | undefined): string | undefined {
    const told = uri?.split("?-c=")[1];
    if (!uri?.startsWith("binary:") || told === undefined) return undefined;
    return /^(?:fresh%3D1%3B%20)?policy%3D(on-failure%3A\d+)%3B%20/.exec(told)?.[1]?.replace("%3A", ":");
}

/** The log URI of starts by the monitor. It stands in the labels of containers that run, and stays as it is, byte for byte. */
export const LOG_URI = logUri();

/** The log URI of a start by us. */
export const FRESH_LOG_URI = logUri({ fresh: true });

/** What the logger of one container has to know. */
export interface LoggerInputs {
    /** The container's folder on the node, see `containerFolder`. */
    folder: string;
    log: LogInputs;
    /** The script of its network, or its pod's, on the node (`networkScriptPath`): ensured before each start. Absent: it has none. */
    network?: string;
}

/**
 * The annotations of the OCI spec that `LOG_URI` looks for.
 *
 * @throws `Invalid` when a path holds a NUL character
 */
export function loggerAnnotations({ folder, log, network = "" }: LoggerInputs): Record<string, string> {
    const settings = {
        folder,
        log: logFile(folder),
        driver: log.driver,
        max_size: String(log.maxSize),
        max_files: String(log.maxFiles),
        network,
    };
    const head = Object.entries(settings).map(([name, value]) => `${name}=${shellQuote(value)}\n`);
    return { [SCRIPT_ANNOTATION]: Buffer.from(head.join("") + LOGGER_SCRIPT).toString("base64") };
}
