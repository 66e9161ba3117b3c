/**
 * Files on a node through containerd alone, with no rights beyond the socket's and no shell: a tar in the content store is
 * applied to a bind mount of a folder (write, remove), or made from one (read). Source: containerd's Content and Diff services.
 */
import { createHash, randomBytes } from "node:crypto";
import { posix } from "node:path";
import { extract, type Header, pack } from "tar-stream";
import { ContainerdError } from "../errors";
import { readBlob, writeBlob } from "./blobs";
import type { Client } from "./client";
import type { Mount } from "./generated/containerd/types/Mount";
import { endLease, startLease, withLease } from "./leases";
import { collect, readMounts } from "./mount-files";

const TAR = "application/vnd.oci.image.layer.v1.tar";
/** How a layer says that something is gone. */
const WHITEOUT = ".wh.";
/** Says on leases what they are for; the next run ends a killed provider's (`lifecycle/leases.ts`), or they expire. */
const OWNER = "files";
/** Soon, because what they hold may be secret. Milliseconds. */
const EXPIRE = 10 * 60_000;
/** Files are written in this time. Milliseconds. */
const TIMEOUT = 120_000;

/** A file to be written, or a folder to be made. */
export interface FileToWrite {
    /** Absolute, below the folder that is written to. */
    path: string;
    /** Absent for a folder: what it holds stays. */
    content?: Uint8Array | string;
    mode: number;
    uid: number;
    gid: number;
}

/**
 * Writes files, and the folders above them: `folder` itself and what lies below are root's and 0700, 0755. A file that is
 * there is replaced by a new one (a new inode), whole or not at all.
 */
export async function writeFiles(client: Client, folder: string, files: readonly FileToWrite[]): Promise<void> {
    const base = posix.dirname(folder);
    const tar = pack();
    tar.entry(directory(posix.basename(folder), 0o700));
    const below = new Set(files.flatMap(({ path }) => foldersBetween(folder, path)));
    for (const path of [...below].sort()) tar.entry(directory(posix.relative(base, path), 0o755));
    for (const { path, content, mode, uid, gid } of files) {
        const name = posix.relative(base, path);
        if (content === undefined) tar.entry({ ...directory(name, mode), uid, gid });
        else tar.entry({ name, mode, uid, gid, type: "file", mtime: new Date(0) }, Buffer.from(content));
    }
    tar.finalize();
    await applyBelow(client, base, await collect(tar));
}

/**
 * Removes a file or a folder with all in it; what is not there counts as removed. What is mounted below it is not gone into: the
 * folder that it is mounted on is busy then, and that is an error.
 *
 * @param timeout milliseconds. Default: 120,000. A removal whose time is over goes on in containerd; call it again.
 */
export async function removeTree(client: Client, folder: string, path: string, timeout = TIMEOUT): Promise<void> {
    const tar = pack();
    // A layer says by such a file that something is gone: an image format's word, which the Diff service obeys anywhere.
    const name = posix.join(posix.dirname(path), `${WHITEOUT}${posix.basename(path)}`);
    tar.entry({ name, mode: 0o600, type: "file", mtime: new Date(0) }, "");
    tar.finalize();
    try {
        await apply(client, folder, await collect(tar), timeout);
    } catch (error) {
        if (!isMissing(error)) throw error;
    }
}

/**
 * Makes folders below one that is there, or gives those that are there this owner and mode; what they hold stays. Throws
 * `NotFound` where `folder` is not there.
 */
export async function makeFolders(
    client: Client,
    folder: string,
    folders: readonly Omit<FileToWrite, "content">[],
): Promise<void> {
    const tar = pack();
    for (const { path, mode, uid, gid } of folders) {
        tar.entry({ ...directory(posix.relative(folder, path), mode), uid, gid });
    }
    tar.finalize();
    try {
        await apply(client, folder, await collect(tar));
    } catch (error) {
        if (!isMissing(error)) throw error;
        throw new ContainerdError("NotFound", `the node has no ${folder}`, { node: client.node, cause: error });
    }
}

/**
 * Whether there is something at a path on the node. containerd has no call that looks at one: its Diff service is asked to unpack
 * an archive of nothing onto a read-only bind mount of it, which only a missing one refuses.
 */
export async function pathExists(client: Client, source: string): Promise<boolean> {
    try {
        await applyTar(client, [{ type: "bind", source, options: ["bind", "ro"] }], await nothing());
        return true;
    } catch (error) {
        if (isMissing(error)) return false;
        // A file or a socket cannot be mounted over the folder that containerd takes for it.
        if (/not a directory/.test(saidBy(error))) return true;
        throw error;
    }
}

/**
 * Whether the node's kernel knows a type of file system (its module may be loaded by this). It is asked to mount one of which it
 * is not told where it is: no server is asked, and what a kernel that knows the type says does not matter.
 */
export async function knowsFileSystem(client: Client, type: string): Promise<boolean> {
    try {
        await applyTar(client, [{ type, source: "none", options: ["ro"] }], await nothing());
        return true;
    } catch (error) {
        if (!(error instanceof ContainerdError) || error.code === "Unreachable") throw error;
        return !/no such device|unknown filesystem/i.test(error.reason);
    }
}

/** The names of what lies in a folder on the node (not what lies further below), or undefined where it is not there. */
export async function listFolder(client: Client, folder: string): Promise<string[] | undefined> {
    // What makes it into an empty one is to remove each of these.
    const left = [{ type: "bind", source: folder, options: ["bind", "ro"] }];
    const right = [{ type: "tmpfs", source: "tmpfs", options: ["ro"] }];
    const { leased, id } = await startLease(client, { owner: OWNER, expire: EXPIRE });
    try {
        const ref = `pulumi-containerd-list-${randomBytes(8).toString("hex")}`;
        const { diff } = await leased.diff.diff({ left, right, media_type: TAR, ref }, { timeout: TIMEOUT });
        const unpacking = extract();
        unpacking.end(await readBlob(leased, diff?.digest ?? ""));
        const names: string[] = [];
        for await (const entry of unpacking) {
            const { dir, base } = posix.parse(entry.header.name.replace(/^\.?\//, ""));
            if (dir === "" && base.startsWith(WHITEOUT)) names.push(base.slice(WHITEOUT.length));
            entry.resume();
        }
        return names.sort();
    } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
    } finally {
        await endLease(client, id);
    }
}

/** An archive of nothing. */
function nothing(): Promise<Buffer> {
    const tar = pack();
    tar.finalize();
    return collect(tar);
}

const making = new WeakMap<object, Map<string, Promise<void>>>();

/**
 * Makes a folder of root's, once a connection. Once, because a mount of the folder above it (`/var/lib`) shows containerd's own
 * temporary mounts too: two such at a time hold each other, and neither can be unmounted.
 */
function makeFolder(client: Client, folder: string): Promise<void> {
    let known = making.get(client.connection);
    if (!known) making.set(client.connection, (known = new Map()));
    const made = known.get(folder);
    if (made) return made;
    const tar = pack();
    tar.entry(directory(posix.basename(folder), 0o755));
    tar.finalize();
    const work = collect(tar).then((bytes) => applyBelow(client, posix.dirname(folder), bytes));
    known.set(folder, work);
    // It may be gone again when the next one asks.
    work.catch(() => undefined).finally(() => known.delete(folder));
    return work;
}

/** Unpacks a tar in a folder, which is made where it is missing. */
async function applyBelow(client: Client, folder: string, tar: Buffer): Promise<void> {
    try {
        await apply(client, folder, tar);
    } catch (error) {
        if (!isMissing(error) || folder === "/") throw error;
        await makeFolder(client, folder);
        await apply(client, folder, tar);
    }
}

/** Whether a folder to be mounted is not there. */
function isMissing(error: unknown): boolean {
    return error instanceof Error && /no such file or directory/.test(error.message);
}

function saidBy(error: unknown): string {
    return error instanceof Error ? error.message : String(error);
}

/** A file that was read. */
export interface FileRead {
    /** Relative to the folder that was read. */
    path: string;
    header: Header;
    content: Buffer;
}

/**
 * Files of a folder with their contents; with `wanted`, only those whose path it likes. A folder that is not there has none.
 */
export async function readFiles(
    client: Client,
    folder: string,
    wanted: (path: string) => boolean = () => true,
): Promise<FileRead[]> {
    const found: FileRead[] = [];
    const mounts = [{ type: "bind", source: folder, options: ["rbind", "ro"] }];
    for await (const { header, content } of readMounts(client, mounts)) {
        const path = header.name.replace(/^\.?\//, "");
        if (header.type !== "directory" && wanted(path)) found.push({ path, header, content: await collect(content) });
    }
    return found;
}

/** A bind without what is mounted below, see `makeFolder`. */
function apply(client: Client, folder: string, tar: Buffer, timeout?: number): Promise<void> {
    return applyTar(client, [{ type: "bind", source: folder, options: ["bind", "rw"] }], tar, timeout);
}

/** Unpacks a tar onto mounts. It may hold secrets: it is in the content store only for that moment. */
export async function applyTar(client: Client, mounts: Mount[], tar: Buffer, timeout = TIMEOUT): Promise<void> {
    const digest = `sha256:${createHash("sha256").update(tar).digest("hex")}`;
    await withLease(client, { owner: OWNER, expire: Math.max(EXPIRE, timeout) }, async (leased) => {
        const ref = `pulumi-containerd-write-${randomBytes(8).toString("hex")}`;
        await writeBlob(leased, { ref, digest, size: tar.byteLength }, async function* (offset) {
            yield tar.subarray(offset);
        });
        const descriptor = { media_type: TAR, digest, size: String(tar.byteLength) };
        await leased.diff.apply({ diff: descriptor, mounts }, { timeout });
    });
}

function directory(name: string, mode: number): Partial<Header> & { name: string } {
    return { name: `${name}/`, mode, uid: 0, gid: 0, type: "directory", mtime: new Date(0) };
}

/** The folders below `folder` that lead to a file. */
function foldersBetween(folder: string, path: string): string[] {
    const parts = path.slice(folder.length + 1).split("/");
    return parts.slice(0, -1).map((_, index) => `${folder}/${parts.slice(0, index + 1).join("/")}`);
}
