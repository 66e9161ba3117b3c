/**
 * Reads a few files of an image or a container, like `/etc/passwd`, without a process and without packing its whole root file
 * system: a layer of ours on top hides the folders that are large and not asked for, and the Diff service packs the rest.
 * The kernel says what is seen through the layers; whiteouts and opaque folders are its business.
 */
import { randomBytes } from "node:crypto";
import { posix } from "node:path";
import { pack } from "tar-stream";
import { hasCode } from "../errors";
import type { Client } from "./client";
import { nodeFacts } from "./facts";
import type { Mount, Mount__Output } from "./generated/containerd/types/Mount";
import { withLease } from "./leases";
import { collect, readMounts } from "./mount-files";
import { applyTar } from "./node-files";
import { hasSnapshot, prepareSnapshot, removeSnapshot, viewSnapshot } from "./snapshots";

/** Symbolic links followed for one file. */
const LINKS = 8;
/** Bytes of a file that are kept; what is larger is no passwd or group file. */
const LIMIT = 4 << 20;
/** What lies at the top of images and may be large. A name that is missing here costs time, nothing else. */
const HIDDEN = (
    "bin boot data dev etc home lib lib32 lib64 libx32 media mnt nix opt proc root run sbin srv sys tmp usr var " +
    "app application apps code dist go node_modules public server src static workspace www"
).split(" ");

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
        const mounts = await viewSnapshot(leased, { snapshotter: where, key, parent: chainId });
        try {
            return await readSnapshotFiles(leased, where, mounts, paths);
        } finally {
            // The lease's end would do; but a parent with a child can't be removed, so not a moment longer than needed.
            await removeSnapshot(leased, where, key);
        }
    });
}

/** The snapshotter that has a snapshot: overlayfs first, also where none has it. */
async function snapshotterOf(client: Client, name: string): Promise<string> {
    const { snapshotters } = await nodeFacts(client);
    for (const snapshotter of [...snapshotters].sort((a, b) => Number(b === "overlayfs") - Number(a === "overlayfs"))) {
        if (await hasSnapshot(client, snapshotter, name)) return snapshotter;
    }
    return "overlayfs";
}

/**
 * Files below the mounts of a snapshot (what `Snapshots.Mounts`, `View` or `Prepare` gave), by absolute path; those that are
 * not there are not in the result. Symbolic links are followed within the snapshot.
 *
 * @param snapshotter the snapshot's, which makes the layer of ours.
 */
export async function readSnapshotFiles(
    client: Client,
    snapshotter: string,
    mounts: readonly Mount__Output[],
    paths: readonly string[],
): Promise<Map<string, Buffer>> {
    const files = new Map<string, Buffer>();
    // Which file each path leads to, as far as is known.
    let wanted = new Map(paths.map((path) => [path, posix.normalize(path)]));
    for (let round = 0; wanted.size > 0 && round <= LINKS; round++) {
        const seen = await look(client, snapshotter, mounts, new Set(wanted.values()));
        const next = new Map<string, string>();
        for (const [path, target] of wanted) {
            const end = follow(target, seen.links);
            const content = seen.files.get(end);
            if (content) files.set(path, content);
            else if (end !== target) next.set(path, end);
        }
        wanted = next;
    }
    return files;
}

/** What a look at a snapshot has found, by absolute path. */
interface Seen {
    files: Map<string, Buffer>;
    links: Map<string, string>;
}

/** Packs what lies at and around some files, and keeps those files and all links. */
async function look(
    client: Client,
    snapshotter: string,
    mounts: readonly Mount__Output[],
    wanted: ReadonlySet<string>,
): Promise<Seen> {
    const layers = layersOf(mounts);
    if (!layers) return readEntries(client, [...mounts], wanted);
    return withLease(client, { owner: "files" }, async (leased) => {
        const shown = new Set([...wanted].map((path) => path.split("/")[1] ?? ""));
        const layer = await hidingLayer(leased, snapshotter, shown);
        const options = ["ro", `lowerdir=${[layer, ...layers].join(":")}`];
        try {
            return await readEntries(leased, [{ type: "overlay", source: "overlay", options }], wanted);
        } catch (thrown) {
            // A kernel or file system that can't do it: slower, and as right.
            if (!hasCode(thrown, "Failed")) throw thrown;
            return readEntries(leased, [...mounts], wanted);
        }
    });
}

/** A layer of overlayfs that hides all usual folders but those to be shown; its path. The lease keeps it, and ends it. */
async function hidingLayer(client: Client, snapshotter: string, shown: ReadonlySet<string>): Promise<string> {
    const key = `pulumi-containerd-hide-${randomBytes(8).toString("hex")}`;
    const mounts = await prepareSnapshot(client, { snapshotter, key });
    const tar = pack();
    for (const name of HIDDEN) {
        // overlayfs' own mark for what is gone: a character device 0:0.
        if (!shown.has(name))
            tar.entry({ name, type: "character-device", devmajor: 0, devminor: 0, mode: 0, mtime: new Date(0) });
    }
    tar.finalize();
    await applyTar(client, mounts, await collect(tar));
    return mounts[0]?.source ?? "";
}

async function readEntries(client: Client, mounts: Mount[], wanted: ReadonlySet<string>): Promise<Seen> {
    const seen: Seen = { files: new Map(), links: new Map() };
    for await (const { header, content } of readMounts(client, mounts)) {
        const path = posix.resolve("/", header.name);
        if (header.type === "symlink")
            seen.links.set(path, posix.resolve("/", posix.dirname(path), header.linkname ?? ""));
        else if (header.type === "link") seen.links.set(path, posix.resolve("/", header.linkname ?? ""));
        else if (header.type === "file" && wanted.has(path))
            seen.files.set(path, (await collect(content)).subarray(0, LIMIT));
    }
    return seen;
}

/** Where a path leads through links; as far as they go, and not in circles. */
export function follow(path: string, links: ReadonlyMap<string, string>): string {
    for (let round = 0; round <= LINKS; round++) {
        const parts = path.split("/");
        const at = parts.findIndex((_, index) => index > 0 && links.has(parts.slice(0, index + 1).join("/")));
        if (at < 0) return path;
        path = posix.join(links.get(parts.slice(0, at + 1).join("/")) ?? "/", ...parts.slice(at + 1));
    }
    return path;
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
