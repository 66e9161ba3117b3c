/**
 * Reads a few files of an image or a container, like `/etc/passwd`, without a process and without packing its whole root file
 * system. On overlayfs it packs one folder of one layer, from the top down, until the files are found: some milliseconds,
 * whatever the image's size. Elsewhere (native: a bind mount) it packs that folder of the snapshot.
 */
import { randomBytes } from "node:crypto";
import { posix } from "node:path";
import { hasCode } from "../errors";
import type { Client } from "./client";
import type { Mount, Mount__Output } from "./generated/containerd/types/Mount";
import { nodeFacts } from "./facts";
import { withLease } from "./leases";
import { collect, readMounts } from "./mount-files";

/** Symbolic links followed for one file. */
const LINKS = 8;
/** Bytes of a file that are read; what is larger is no passwd or group file, and is cut. */
const LIMIT = 4 << 20;

/** What is found under a name in a folder. */
type Found = { kind: "file"; content: Buffer } | { kind: "link"; to: string } | { kind: "gone" };

/**
 * The texts of `/etc/passwd` and `/etc/group` of an image that is unpacked; "" where it has none. Read once for each image
 * and connection.
 *
 * @param image `chainId` names its snapshot; "" for an image without layers.
 * @param snapshotter where the snapshot is. Default: overlayfs, or the first of the node's that has the snapshot.
 * @throws `NotFound` where the image is not unpacked.
 */
export async function readUsers(
    client: Client,
    image: { chainId: string },
    snapshotter?: string,
): Promise<{ passwd: string; group: string }> {
    if (image.chainId === "") return { passwd: "", group: "" };
    let known = users.get(client.connection);
    if (!known) users.set(client.connection, (known = new Map()));
    // A snapshot's name is the digest of what is in it, so it can't change; whether it is there is for others to ask.
    const found = known.get(image.chainId);
    if (found) return found;
    const reading = readImageFiles(client, image.chainId, ["/etc/passwd", "/etc/group"], snapshotter).then((files) => ({
        passwd: files.get("/etc/passwd")?.toString("utf8") ?? "",
        group: files.get("/etc/group")?.toString("utf8") ?? "",
    }));
    known.set(image.chainId, reading);
    reading.catch(() => known.delete(image.chainId));
    return reading;
}

const users = new WeakMap<object, Map<string, Promise<{ passwd: string; group: string }>>>();

/** Files of a committed snapshot, by absolute path, through a view that is gone afterwards. Throws `NotFound`. */
export async function readImageFiles(
    client: Client,
    chainId: string,
    paths: readonly string[],
    snapshotter?: string,
): Promise<Map<string, Buffer>> {
    return withLease(client, { owner: "files" }, async (leased) => {
        const key = `pulumi-containerd-read-${randomBytes(8).toString("hex")}`;
        const where = snapshotter ?? (await snapshotterOf(leased, chainId));
        const { mounts } = await leased.snapshots.view({ snapshotter: where, key, parent: chainId });
        try {
            return await readSnapshotFiles(leased, mounts, paths);
        } finally {
            // The lease's end would do; but a parent with a child can't be removed, so not a moment longer than needed.
            await leased.snapshots.remove({ snapshotter: where, key });
        }
    });
}

/** The snapshotter that has a snapshot: overlayfs first. The last refusal stands where none has. */
async function snapshotterOf(client: Client, name: string): Promise<string> {
    const { snapshotters } = await nodeFacts(client);
    for (const snapshotter of [...snapshotters].sort((a, b) => Number(b === "overlayfs") - Number(a === "overlayfs"))) {
        try {
            await client.snapshots.stat({ snapshotter, key: name });
            return snapshotter;
        } catch (thrown) {
            if (!hasCode(thrown, "NotFound")) throw thrown;
        }
    }
    return "overlayfs";
}

/**
 * Files below the mounts of a snapshot (what `Snapshots.Mounts`, `View` or `Prepare` gave), by absolute path; those that are
 * not there are not in the result. Symbolic links are followed within the snapshot where the last part of a path is one.
 */
export async function readSnapshotFiles(
    client: Client,
    mounts: readonly Mount__Output[],
    paths: readonly string[],
): Promise<Map<string, Buffer>> {
    const files = new Map<string, Buffer>();
    // Which file each path leads to, so far.
    let wanted = new Map(paths.map((path) => [path, posix.normalize(path)]));
    for (let round = 0; wanted.size > 0 && round <= LINKS; round++) {
        const next = new Map<string, string>();
        const folders = new Set([...wanted.values()].map((path) => posix.dirname(path)));
        for (const folder of folders) {
            const here = [...wanted].filter(([, target]) => posix.dirname(target) === folder);
            const found = await readFolder(
                client,
                mounts,
                folder.slice(1),
                new Set(here.map(([, target]) => posix.basename(target))),
            );
            for (const [path, target] of here) {
                const entry = found.get(posix.basename(target));
                if (entry?.kind === "file") files.set(path, entry.content);
                if (entry?.kind === "link") next.set(path, posix.resolve("/", folder, entry.to));
            }
        }
        wanted = next;
    }
    return files;
}

/** Some entries of one folder. */
async function readFolder(
    client: Client,
    mounts: readonly Mount__Output[],
    folder: string,
    names: ReadonlySet<string>,
): Promise<Map<string, Found>> {
    const layers = layersOf(mounts);
    // A file system of its own kind (btrfs, zfs, a block device): no folder of it can be mounted, so all is packed.
    if (layers === undefined) return readNamed(client, [...mounts], folder, names);

    const withFolder: string[] = [];
    let found = new Map<string, Found>();
    for (const layer of layers) {
        const path = posix.join(layer, folder);
        const entries = await readNamed(client, [bind(path)], "", names);
        if (!entries.has("")) continue;
        withFolder.push(path);
        found = new Map([...entries, ...found]);
        if ([...names].every((name) => found.has(name))) break;
    }
    // The kernel says what of several layers is seen: one may have made the folder anew (an opaque one hides those below).
    if (withFolder.length > 1) {
        const options = ["ro", `lowerdir=${withFolder.join(":")}`];
        return readNamed(client, [{ type: "overlay", source: "overlay", options }], "", names);
    }
    return found;
}

/** The named entries of a folder below the mounts; also "", the root of the mounts itself, where there is something to mount. */
async function readNamed(
    client: Client,
    mounts: Mount[],
    folder: string,
    names: ReadonlySet<string>,
): Promise<Map<string, Found>> {
    const found = new Map<string, Found>();
    const links: [string, string][] = [];
    const prefix = folder && `${folder}/`;
    for await (const { header, content } of readMounts(client, mounts)) {
        found.set("", { kind: "gone" });
        const path = header.name.replace(/^\.?\//, "");
        const name = path.slice(prefix.length);
        if (!path.startsWith(prefix) || !names.has(name)) continue;
        if (header.type === "file")
            found.set(name, { kind: "file", content: (await collect(content)).subarray(0, LIMIT) });
        else if (header.type === "symlink") found.set(name, { kind: "link", to: header.linkname ?? "" });
        else if (header.type === "link") links.push([name, header.linkname ?? ""]);
        // overlayfs marks what is removed by a character device 0:0.
        else found.set(name, { kind: "gone" });
    }
    // A hard link to another one of the named files, which came earlier in the tar.
    for (const [name, to] of links) {
        const target = found.get(to.replace(/^\.?\//, "").slice(prefix.length));
        if (target) found.set(name, target);
    }
    return found;
}

/** The folders of a snapshot's layers, top first; undefined where it is neither overlayfs nor a bind mount. */
export function layersOf(mounts: readonly Pick<Mount__Output, "type" | "source" | "options">[]): string[] | undefined {
    const [mount, ...others] = mounts;
    if (!mount || others.length > 0) return undefined;
    if (mount.type === "bind") return [mount.source];
    if (mount.type !== "overlay") return undefined;
    const option = (name: string) => mount.options.find((text) => text.startsWith(`${name}=`))?.slice(name.length + 1);
    const upper = option("upperdir");
    return [...(upper === undefined ? [] : [upper]), ...(option("lowerdir")?.split(":") ?? [])];
}

function bind(source: string): Mount {
    return { type: "bind", source, options: ["rbind", "ro"] };
}
