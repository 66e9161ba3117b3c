/** Commands that messages tell the user to type. Pure. */
import { shellQuote } from "../../node/shell";

/**
 * The command that sets a node's value in the stack's config, quoted for a shell. A secret one asks for its value.
 *
 * @example configSet("edge-1", "hostKey", "SHA256:…") // pulumi config set --path 'containerd:nodes.edge-1.hostKey' SHA256:…
 */
export function configSet(node: string, key: "hostKey", value: string): string {
    return `pulumi config set --path ${shellQuote(`containerd:nodes${step(node)}.${key}`)} ${value}`;
}

/** As {@link configSet}, for a secret: the command asks for its value, so that it is in no shell's history. */
export function secretSet(node: string, key: "passphrase" | "password" | "privateKey"): string {
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
