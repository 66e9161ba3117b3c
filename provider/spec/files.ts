/**
 * Files that lie in the container's folder on the node and stand in the container as read-only bind mounts: `files`,
 * `secrets`, and the generated `/etc/hostname` and `/etc/hosts`. The layout is said here once: `filePaths` for whoever writes
 * them, `withFiles` for the spec.
 */
import { createHash } from "node:crypto";
import { ContainerdError } from "../errors";
import { hostsPath, resolvConfPath } from "../network/settings";
import type { SpecOption } from "./context";
import type { ContainerInputs } from "./inputs";
import { bindMount, scratchFolder } from "./mounts";
import { containerHostname } from "./namespaces";
import { isOnHost, sandboxOf } from "./sandbox";
import type { Mount } from "./types";

/** Where secrets stand in the container, as with Docker. */
export const SECRETS_TARGET = "/run/secrets";

/** One file to write on the node, before the container starts. Folders above it are root's, 0755. */
export interface NodeFile {
    /** Absolute path on the node, below the container's folder. */
    path: string;
    content: Uint8Array;
    mode: number;
    uid: number;
    gid: number;
}

/**
 * Which content lies where on the node. `folder` itself must be 0700: what lies below is for the container's eyes only,
 * and the bind mounts into the container do not go through it.
 */
export function filePaths(inputs: ContainerInputs, folder: string): NodeFile[] {
    const root = { uid: 0, gid: 0 };
    const generated = Object.entries(generatedFiles(inputs)).map(([target, content]) => {
        return { path: nodePath(folder, target), content: Buffer.from(content), mode: 0o644, ...root };
    });
    const files = Object.entries(inputs.files ?? {}).map(([target, file]) => {
        const content =
            file.base64 === undefined ? Buffer.from(file.content ?? "") : Buffer.from(file.base64, "base64");
        const mode = parseInt(file.mode ?? "0644", 8);
        return { path: nodePath(folder, target), content, mode, uid: file.uid ?? 0, gid: file.gid ?? 0 };
    });
    const secrets = Object.entries(inputs.secrets ?? {}).map(([name, content]) => {
        return { path: `${folder}/secrets/${name}`, content: Buffer.from(content), mode: 0o400, ...root };
    });
    return [...generated, ...files, ...secrets];
}

/** The folders of `scratch` mounts, to be made in the folder of the container or pod whose they are. */
export function scratchFolders(inputs: Pick<ContainerInputs, "mounts">, folder: string): Omit<NodeFile, "content">[] {
    const names = Object.values(inputs.mounts ?? {}).flatMap(({ scratch }) => (scratch === undefined ? [] : [scratch]));
    // For whatever user the process has, as with Kubernetes' emptyDir; nobody else on the node gets to it.
    const open = { mode: 0o777, uid: 0, gid: 0 };
    return [...new Set(names)].sort().map((name) => ({ path: scratchFolder(folder, name), ...open }));
}

/** The mounts of `files`, `secrets` and what is generated or taken from the node for `/etc`. */
export const withFiles: SpecOption = (spec, { inputs, folder, node }) => {
    const mounts = [...Object.keys(generatedFiles(inputs)), ...Object.keys(inputs.files ?? {})].map((target) =>
        bindMount(target, nodePath(folder, target), { readOnly: true }, node),
    );
    if (Object.keys(inputs.secrets ?? {}).length > 0) {
        mounts.push(bindMount(SECRETS_TARGET, `${folder}/secrets`, { readOnly: true }, node));
    }
    for (const { destination } of mounts) {
        if (inputs.mounts?.[destination] === undefined) continue;
        const reason = `${destination} is taken: ${destination === SECRETS_TARGET ? "secrets stand" : "a file of files stands"} there`;
        throw new ContainerdError("Invalid", reason, { property: `mounts[${JSON.stringify(destination)}]` });
    }
    return { ...spec, mounts: [...spec.mounts, ...nodeFiles(inputs), ...mounts] };
};

/** What the container has in `/etc` that no image can know, unless the program mounts something else there. */
function generatedFiles(inputs: ContainerInputs): Record<string, string> {
    const hostname = containerHostname(inputs);
    const files: Record<string, string> = {};
    if (hostname !== undefined) files["/etc/hostname"] = `${hostname}\n`;
    if (inputs.network === "none") files["/etc/hosts"] = hostsFile(hostname ?? inputs.name);
    return withoutGiven(files, inputs);
}

/**
 * With network `host`, the node's names: its `/etc/hosts` and `/etc/resolv.conf`, read-only. The node replacing such a file
 * (rather than writing into it) is seen from the next start on. With `none` there is nobody to ask: no resolv.conf. On any other
 * network both are written by the network's script, for all who share it.
 */
function nodeFiles(inputs: ContainerInputs): Mount[] {
    const sandbox = sandboxOf(inputs);
    const onHost = isOnHost(inputs.network);
    if (!sandbox && !onHost) return [];
    const hosts = sandbox && !onHost ? hostsPath(sandbox.folder) : "/etc/hosts";
    const resolver = sandbox && !onHost ? resolvConfPath(sandbox.folder) : "/etc/resolv.conf";
    const shared = withoutGiven({ "/etc/hosts": hosts, "/etc/resolv.conf": resolver }, inputs);
    return Object.entries(shared).map(([target, path]) => bindMount(target, path, { readOnly: true }));
}

/** The entries whose path is not already a file or a mount of the program's. */
function withoutGiven(files: Record<string, string>, inputs: ContainerInputs): Record<string, string> {
    const taken = (target: string) => inputs.files?.[target] !== undefined || inputs.mounts?.[target] !== undefined;
    return Object.fromEntries(Object.entries(files).filter(([target]) => !taken(target)));
}

function hostsFile(hostname: string): string {
    return ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", `127.0.0.1\t${hostname}`, ""].join(
        "\n",
    );
}

/** Named after the target's hash: any path becomes one short name that does not depend on the other files. */
function nodePath(folder: string, target: string): string {
    return `${folder}/files/${createHash("sha256").update(target).digest("hex").slice(0, 16)}`;
}
