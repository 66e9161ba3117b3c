/**
 * Where our files lie on a node.
 */
import { ContainerdError } from "../errors";

/** Folder on a node that holds everything of ours that must live through a reboot. */
export const NODE_FOLDER = "/var/lib/pulumi-containerd";

/** What containerd accepts as an id or namespace (its package `identifiers`); it can't leave a folder or need escaping. */
const IDENTIFIER = /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/;
const IDENTIFIER_LENGTH = 76;

/**
 * A container's own folder on its node. One level, and no folder for a namespace, which nobody could remove without taking a
 * neighbour along; the `@` is in no identifier.
 *
 * @param namespace containerd's namespace
 * @param name containerd's id of the container
 * @throws `Invalid` when one of them isn't an id that containerd accepts, since both become parts of a path
 */
export function containerFolder(namespace: string, name: string): string {
    for (const [what, id] of Object.entries({ namespace, name })) {
        if (id.length > IDENTIFIER_LENGTH || !IDENTIFIER.test(id)) {
            throw new ContainerdError(
                "Invalid",
                `${JSON.stringify(id)} is no identifier for containerd: letters and digits, between them single ` +
                    `dots, dashes or underscores, at most ${IDENTIFIER_LENGTH} characters`,
                { property: what },
            );
        }
    }
    return `${NODE_FOLDER}/${name}@${namespace}`;
}

/** The file that a container's output is appended to; older output lies beside it as `container.log.1` and so on. */
export function logFile(folder: string): string {
    return `${folder}/log/container.log`;
}
