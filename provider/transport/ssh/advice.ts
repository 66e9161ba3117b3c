/** Commands that messages tell the user to type. Pure. */
import { shellQuote } from "../../node/shell";
import { type ConnectionSettings, SECRET_SETTINGS } from "./settings";

/** Where it stands how a node is reached: in the stack's config, or in the `connection` of a Node of the program. */
export type Origin = "config" | "connection";

/** What a node's setting is called in messages, as the property of an error. */
export function settingName(node: string, key: keyof ConnectionSettings, origin: Origin): string {
    if (origin === "connection") return `connection.${key}`;
    const secret = SECRET_SETTINGS.some((one) => one === key);
    return `config containerd:${secret ? "credentials" : "nodes"}.${node}.${key}`;
}

/** How a host key is pinned for a node. */
export function pinning(node: string, key: string, origin: Origin): string {
    return origin === "config"
        ? configSet(node, "hostKey", key)
        : `\`hostKey: ${JSON.stringify(key)}\` in the \`connection\` of the Node ${node}`;
}

/** How the passphrase of a node's key is given. */
export function passphraseOf(node: string, origin: Origin): string {
    return origin === "config"
        ? `${secretSet(node, "passphrase")} (in secret config containerd:credentials)`
        : `\`passphrase\` in the \`connection\` of the Node ${node}`;
}

/**
 * The command that sets a node's value in the stack's config, quoted for a shell. A secret one asks for its value.
 *
 * @example configSet("edge-1", "hostKey", "SHA256:…") // pulumi config set --path 'containerd:nodes.edge-1.hostKey' SHA256:…
 */
function configSet(node: string, key: "hostKey", value: string): string {
    return `pulumi config set --path ${shellQuote(`containerd:nodes${step(node)}.${key}`)} ${value}`;
}

/** As {@link configSet}, for a secret: the command asks for its value, so that it is in no shell's history. */
function secretSet(node: string, key: "passphrase" | "password" | "privateKey"): string {
    return `pulumi config set --secret --path ${shellQuote(`containerd:credentials${step(node)}.${key}`)}`;
}

/**
 * Path of a node's value in the stack's config, as a word of a shell.
 *
 * @example settingPath("edge-1", "deleteUnreachable") // containerd:nodes.edge-1.deleteUnreachable
 */
export function settingPath(node: string, key: string): string {
    const path = `containerd:nodes${step(node)}.${key}`;
    return /^[\w:.-]+$/.test(path) ? path : shellQuote(path);
}

/** A name with dots in it would be a path of its own. */
function step(node: string): string {
    return /^[\w-]+$/.test(node) ? `.${node}` : `[${JSON.stringify(node)}]`;
}
