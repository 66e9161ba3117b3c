/**
 * How containerd comes to start our logger.
 *
 * containerd's shim runs a log URI `binary:///bin/sh?-c=…` as the command `/bin/sh -c …`, before `runc create`, in the
 * bundle's folder, with the container's stdout and stderr as file descriptors 3 and 4. The restart monitor reads the URI
 * from a label, and a label holds 4,096 bytes: so the URI is one small constant, and the script comes from an annotation
 * of the OCI spec, which the shim has written to `config.json` in that folder.
 */
import { shellQuote } from "./shell";
import { LOGGER_SCRIPT } from "./logger.sh";
import { logFile } from "./folders";
import type { LogInputs } from "../spec/inputs";

/** Annotation of the OCI spec that holds the script of the node, in base64. */
export const SCRIPT_ANNOTATION = "pulumi-containerd/script";

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
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    '[ -e config.json ] || { d=$(readlink /proc/self/cwd); d=${d% (deleted)}; b=${d##*/}; cd "${d%/*}/${b#.}"; }',
    `s=$(tr '{,' '\\n\\n' <config.json | sed -n 's|^"${SCRIPT_ANNOTATION}":"\\([^"]*\\)".*|\\1|p' | base64 -d)`,
    'eval "${s:-exec 5>&-; cat <&4 >/dev/null & exec cat <&3 >/dev/null}"',
].join("; ");

/**
 * The log URI of every task of ours: stdout and stderr of `Tasks.Create`, and the label `containerd.io/restart.loguri`.
 * It is a constant; what differs between containers is in `loggerAnnotations`.
 */
export const LOG_URI = `binary:///bin/sh?-c=${encodeURIComponent(BOOTSTRAP)}`;

/** What the logger of one container has to know. */
export interface LoggerInputs {
    /** The container's folder on the node, see `containerFolder`. */
    folder: string;
    log: LogInputs;
}

/**
 * The annotations of the OCI spec that `LOG_URI` looks for.
 *
 * @throws `Invalid` when the folder holds a NUL character
 */
export function loggerAnnotations({ folder, log }: LoggerInputs): Record<string, string> {
    const settings = {
        folder,
        log: logFile(folder),
        driver: log.driver,
        max_size: String(log.maxSize),
        max_files: String(log.maxFiles),
    };
    const head = Object.entries(settings).map(([name, value]) => `${name}=${shellQuote(value)}\n`);
    return { [SCRIPT_ANNOTATION]: Buffer.from(head.join("") + LOGGER_SCRIPT).toString("base64") };
}
