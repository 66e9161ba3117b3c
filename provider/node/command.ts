/**
 * Commands on a node through containerd alone, with no rights beyond the socket's and no SSH: a throw-away container whose
 * logger, which the shim starts on the node with what containerd has (see `log-uri.ts`), does the work. The container itself
 * never starts, since its runtime is `false`; what containerd then takes for that runtime's last words (`log.json` in the bundle,
 * by the shim's own account) is the answer.
 */
import { randomBytes } from "node:crypto";
import { packAny, packJson } from "../containerd/anys";
import type { Client } from "../containerd/client";
import { ContainerdError, hasCode } from "../errors";
import { LOG_URI, SCRIPT_ANNOTATION, scriptUri } from "./log-uri";
import { shellQuote } from "./shell";

/** Says on containers that they are nobody's, and for a moment only; the next run removes a killed one's. */
export const COMMAND_LABEL = "pulumi-containerd/command";
const RUNTIME = "io.containerd.runc.v2";
/** In place of runc: ends at once with a failure. */
const NO_RUNTIME = "false";
/** Milliseconds. */
const DEFAULT_TIMEOUT = 20_000;
/** What the runtime takes for itself, beyond the script. Milliseconds. */
const RUNTIME_TIME = 20_000;
/** An answer travels in an error message: what is longer is cut. Bytes. */
const LONGEST_ANSWER = 24_000;

/** What a script said. */
export interface Answer {
    /** Exit status; 124 when its time was over. */
    code: number;
    /** Its standard output and error, at most 24,000 bytes of it. */
    output: string;
}

/**
 * Runs `$script` with the arguments that were set; the answer is in base64, so that nothing can be taken for our marks. Before, it
 * deletes what a containerd that was killed has forgotten of earlier commands (`lifecycle/bundle.ts`), which nobody else looks for.
 */
const WRAPPER = `
for forgotten in ../.command-*; do [ ! -d "$forgotten" ] || rm -rf --one-file-system "$forgotten"; done
answer=$(timeout -k 1 "$limit" /bin/sh -c "$script" sh "$@" 2>&1 </dev/null 3<&- 4<&- 5>&-)
code=$?
[ \${#answer} -le ${LONGEST_ANSWER} ] || answer=$(printf %s "$answer" | head -c ${LONGEST_ANSWER})
[ -z "$answer" ] || answer=$(printf %s "$answer" | base64 -w 0)
printf '{"level":"error","msg":"[pulumi-containerd %s %s]"}' "$code" "$answer" >log.json
`;

/**
 * Runs a POSIX shell script on the node as root; `args` are its `$1`, `$2`, … Whatever its exit status, it resolves. It needs
 * coreutils on the node.
 *
 * @param options.timeout milliseconds until the script is ended. Default: 20,000.
 *
 * Throws `Unreachable`, `Failed` where the runtime itself fails.
 *
 * @example
 * const { code, output } = await askNode(client, 'ip -j addr show dev "$1"', ["eth0"]);
 */
export async function askNode(
    client: Client,
    script: string,
    args: readonly string[] = [],
    { timeout = DEFAULT_TIMEOUT }: { timeout?: number } = {},
): Promise<Answer> {
    const id = `command-${randomBytes(8).toString("hex")}`;
    const options = await packAny("containerd.runc.v1.Options", { binary_name: NO_RUNTIME });
    const command = commandOf(script, args, Math.ceil(timeout / 1000));
    const uri = scriptUri(command);
    const container = {
        id,
        labels: { ...client.marks, [COMMAND_LABEL]: "true" },
        runtime: { name: RUNTIME, options },
        spec: packJson("spec", specOf(uri === undefined ? command : "")),
    };
    await client.containers.create({ container });
    try {
        await client.tasks.create(
            { container_id: id, rootfs: [], stdout: uri ?? LOG_URI, stderr: LOG_URI },
            { timeout: timeout + RUNTIME_TIME },
        );
    } catch (error) {
        const answer = error instanceof Error ? answerIn(error.message) : undefined;
        if (answer) return answer;
        throw error;
    } finally {
        await removeCommand(client, id);
    }
    throw new ContainerdError("Failed", "containerd ran no command", { node: client.node });
}

/** The same, for a script that is to succeed. Throws `Failed` with what it said. */
export async function runOnNode(
    client: Client,
    script: string,
    args: readonly string[] = [],
    options: { timeout?: number } = {},
): Promise<string> {
    const { code, output } = await askNode(client, script, args, options);
    if (code === 0) return output;
    const why = code === 124 || code === 137 ? "its time was over" : `exit status ${code}`;
    throw new ContainerdError("Failed", output.trim() || `a command on the node failed: ${why}`, { node: client.node });
}

/** Removes what a command that was killed has left. Idempotent. */
export async function removeCommand(client: Client, id: string): Promise<void> {
    for (const remove of [() => client.tasks.delete({ container_id: id }), () => client.containers.delete({ id })]) {
        try {
            await remove();
        } catch (error) {
            if (!hasCode(error, "NotFound")) throw error;
        }
    }
}

/** Reads the answer out of what containerd says about its runtime. Pure. */
export function answerIn(message: string): Answer | undefined {
    const [, code, answer] = /\[pulumi-containerd (\d+) ([A-Za-z0-9+/=]*)\]/.exec(message) ?? [];
    if (code === undefined || answer === undefined) return undefined;
    return { code: Number(code), output: Buffer.from(answer, "base64").toString("utf8") };
}

function commandOf(script: string, args: readonly string[], seconds: number): string {
    return `limit=${seconds}\nscript=${shellQuote(script)}\nset -- ${args.map(shellQuote).join(" ")}${WRAPPER}`;
}

/** A container of no more than the shim asks for. */
function specOf(command: string): object {
    return {
        ociVersion: "1.0.2",
        root: { path: "rootfs" },
        annotations: { [SCRIPT_ANNOTATION]: Buffer.from(command).toString("base64") },
        linux: {},
    };
}
