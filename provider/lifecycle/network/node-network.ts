/** What is done about a network on its node: the script is called from outside of any start, through containerd alone. */
import type { Client } from "../../containerd/client";
import { ContainerdError } from "../../errors";
import { networkScript } from "../../network/script";
import { networkScriptPath, type NetworkSettings, RUN_FOLDER } from "../../network/settings";
import { askNode } from "../../node/command";
import { containerFolder } from "../../node/folders";
import { LABEL } from "../ownership";
import { setLabels } from "../process";

/** The script bounds itself; this is for one that does not. Milliseconds. */
const TIMEOUT = 25_000;

/**
 * Looks, before anything is made, whether the node can give what is wanted: tools, subnets, ports. Throws `Conflict` with who has
 * it, or what is missing. Gives whether an IPv6 address in the settings will be there: on a node without IPv6 it is not.
 */
export async function checkNetwork(client: Client, settings: NetworkSettings): Promise<boolean> {
    const said = await call(client, settings, "check");
    return said.trim() !== "no IPv6";
}

/** Makes it so, whatever was there; a process that runs goes on. Throws with the reason. */
export async function ensureNetwork(client: Client, settings: NetworkSettings): Promise<void> {
    await call(client, settings, "ensure");
}

/**
 * Takes the ports from the predecessor in one transaction, if there is one: the new one does its work by now. `container` is the
 * record whose network it is.
 */
export async function takePorts(
    client: Client,
    container: { id: string; labels: Record<string, string> },
): Promise<void> {
    if (!container.labels[LABEL.predecessor]) return;
    const path = networkScriptPath(containerFolder(client.namespace, container.id));
    const { code, output } = await askNode(client, 'exec sh "$1" take', [path], { timeout: TIMEOUT });
    if (code !== 0) throw refusal(client, output, code);
    await setLabels(client, container.id, { [LABEL.predecessor]: "" });
}

/**
 * Makes the network so that a container joins. With a terminal its logger comes too late for that: the shim starts it when the
 * container is made already.
 */
export async function ensureJoined(client: Client, joined: { name: string; namespace: string }): Promise<void> {
    const path = networkScriptPath(containerFolder(joined.namespace, joined.name));
    const { code, output } = await askNode(client, 'exec sh "$1" ensure', [path], { timeout: TIMEOUT });
    if (code !== 0) throw refusal(client, output, code);
}

/** What is there of it, in the words of `parseLook`. */
export async function lookAtNetwork(client: Client, settings: NetworkSettings): Promise<string> {
    const { output } = await askNode(client, networkScript(settings), ["look"], { timeout: TIMEOUT });
    return output;
}

/**
 * Removes a network by the script that lies in its folder, since that knows what was made; where there is none, by the one that
 * `settings` amount to. What is not there is fine.
 */
export async function removeNetwork(client: Client, settings: NetworkSettings): Promise<void> {
    const script = 'if [ -e "$1" ]; then exec sh "$1" remove; elif [ -e "$2" ]; then exec sh -c "$3" sh remove; fi';
    const { attachment } = settings;
    // Which plugins of CNI there were, the script in the folder alone knows; without it at least the namespaces go.
    const unknown = attachment.driver === "cni" && attachment.plugins.length === 0;
    const rest = networkScript(unknown ? { ...settings, attachment: { driver: "none" } } : settings);
    const args = [networkScriptPath(settings.folder), `${RUN_FOLDER}/${settings.key}`, rest];
    const { code, output } = await askNode(client, script, args, { timeout: TIMEOUT });
    if (code !== 0) throw refusal(client, output, code);
}

/** Gives what the script said. */
async function call(client: Client, settings: NetworkSettings, what: "check" | "ensure"): Promise<string> {
    const { code, output } = await askNode(client, networkScript(settings), [what], { timeout: TIMEOUT });
    if (code !== 0) throw refusal(client, output, code);
    return output;
}

function refusal(client: Client, output: string, code: number): ContainerdError {
    const reason = output.trim().split("\n").at(-1) || `the node's network script failed with exit status ${code}`;
    return networkProblem(reason, client.node);
}

/** The error for what the script on the node says. Pure. */
export function networkProblem(reason: string, node: string, cause?: unknown): ContainerdError {
    const property = /\bports?\b/i.test(reason) ? "ports" : "network";
    return new ContainerdError("Conflict", reason, { node, property, cause });
}
