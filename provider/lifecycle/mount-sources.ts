/** Whether what a container mounts is there on its node: asked before anything is made, because runc's own word comes late. */
import { pack } from "tar-stream";
import type { Client } from "../containerd/client";
import { collect } from "../containerd/mount-files";
import { applyTar } from "../containerd/node-files";
import { ContainerdError } from "../errors";
import type { MountInputs } from "../spec/inputs";
import { formatPath } from "./check/validate";

/**
 * Throws `NotFound` for the first bind mount whose source the node does not have. containerd has no call that looks at a path:
 * its Diff service is asked to unpack an archive of nothing onto a read-only bind mount of it, which only a missing one refuses.
 */
export async function assertMountSources(client: Client, mounts: Record<string, MountInputs> = {}): Promise<void> {
    for (const [target, { bind }] of Object.entries(mounts)) {
        if (bind === undefined || (await exists(client, bind))) continue;
        const property = formatPath(["mounts", target, "bind"]);
        throw new ContainerdError("NotFound", `the node has no ${bind}: make it there before, or look at the path`, {
            node: client.node,
            property,
        });
    }
}

async function exists(client: Client, source: string): Promise<boolean> {
    const nothing = pack();
    nothing.finalize();
    try {
        await applyTar(client, [{ type: "bind", source, options: ["bind", "ro"] }], await collect(nothing));
        return true;
    } catch (error) {
        const said = error instanceof Error ? error.message : String(error);
        if (/no such file or directory/.test(said)) return false;
        // A file or a socket cannot be mounted over the folder that containerd takes for it.
        if (/not a directory/.test(said)) return true;
        throw error;
    }
}
