/** Whether what a container mounts is there on its node: asked before anything is made, because runc's own word comes late. */
import { posix } from "node:path";
import type { Client } from "../containerd/client";
import { knowsFileSystem, makeFolders, pathExists } from "../containerd/node-files";
import { ContainerdError } from "../errors";
import type { MountInputs } from "../spec/inputs";
import { volumePath } from "../spec/mounts";
import { volumeKey, volumeSource } from "../spec/volumes";
import { elsewhere } from "./check/container";
import { formatPath } from "./check/validate";

/**
 * Throws for the first mount that the node cannot have: `NotFound` for a bind mount's source or a volume that is not there,
 * `Invalid` for a volume of another node, `Unsupported` for a file system that its kernel does not know. Makes the `subPath` of a
 * volume that is a folder.
 */
export async function assertMountSources(client: Client, mounts: Record<string, MountInputs> = {}): Promise<void> {
    for (const [target, mount] of Object.entries(mounts)) {
        const { bind, volume } = mount;
        if (bind !== undefined) await assertThere(client, bind, ["mounts", target, "bind"]);
        if (volume !== undefined) await assertVolume(client, target, { ...mount, volume });
    }
}

async function assertThere(client: Client, path: string, property: string[]): Promise<void> {
    if (await pathExists(client, path)) return;
    throw new ContainerdError("NotFound", `the node has no ${path}: make it there before, or look at the path`, {
        node: client.node,
        property: formatPath(property),
    });
}

type VolumeMount = MountInputs & Required<Pick<MountInputs, "volume">>;

async function assertVolume(client: Client, target: string, mount: VolumeMount): Promise<void> {
    const { volume, subPath } = mount;
    const property = formatPath(["mounts", target, "volume"]);
    if (volume.node !== client.node)
        throw new ContainerdError("Invalid", elsewhere(volume.node, client.node), { property });
    const source = volumeSource(volume);
    if (source.kind === "mount") return assertFileSystem(client, source.type, property);
    if (source.kind === "bind") return assertThere(client, volumePath(mount) ?? "", ["mounts", target, "volume"]);
    try {
        const root = { mode: 0o755, uid: 0, gid: 0 };
        if (subPath !== undefined) await makeFolders(client, volume.path, foldersTo(volume.path, subPath, root));
        else if (!(await pathExists(client, volume.path))) throw new ContainerdError("NotFound", "");
    } catch (error) {
        if (!(error instanceof ContainerdError) || error.code !== "NotFound") throw error;
        throw new ContainerdError(
            "NotFound",
            `the folder of volume ${volumeKey(volume)} is gone from the node: run pulumi refresh, then up makes it anew (what it held is lost)`,
            { node: client.node, property },
        );
    }
}

function foldersTo<T>(base: string, path: string, as: T): (T & { path: string })[] {
    const parts = path.split("/");
    return parts.map((_, index) => ({ ...as, path: posix.join(base, ...parts.slice(0, index + 1)) }));
}

/** Throws `Unsupported` where the node's kernel does not know a type of file system. */
export async function assertFileSystem(client: Client, type: string, property: string): Promise<void> {
    if (type === "tmpfs" || (await knowsFileSystem(client, type))) return;
    throw new ContainerdError(
        "Unsupported",
        `the node's kernel cannot mount ${type}: it knows no such file system, and has no module for it (\`modprobe ${type}\` on the node ` +
            "says more; some distributions have the modules in a package of their own)",
        { node: client.node, property },
    );
}
