/**
 * The folder of the blob cache: whole blobs by digest, what interrupted downloads left (`.partial`, one a machine, so that a
 * folder shared by several needs no locks between them), marks of who uses what, and the limit on all of it.
 *
 * Whatever the disk refuses is thrown as {@link CacheUnusable}: a cache that fails must not fail a pull.
 */
import { createHash, type Hash } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, statfs, utimes } from "node:fs/promises";
import path from "node:path";
import { type CacheEntry, toEvict } from "./blob-eviction";
import { liveMarks, machine, type OwnMark, setMark, tryToDownload } from "./blob-marks";
import { algorithmOf, type Descriptor } from "./oci";

/** The cache can't serve; whoever wanted a blob gets it from the registry. */
export class CacheUnusable extends Error {}

/** Bytes read at once. */
const CHUNK = 1 << 20;
const BLOB = /^sha\d+-[a-f0-9]+(?:\.[a-f0-9]{8}\.partial)?$/;

/** A blob that is whole and was held against its digest. */
export interface WholeBlob {
    handle: FileHandle;
    close(): Promise<void>;
}

export interface FolderLimits {
    /** Bytes that the folder may hold. */
    size: number;
    /** Bytes that have to stay free on its disk. */
    reserve: number;
}

/** File name of a blob; digests hold nothing but their algorithm and hex digits. */
export function nameOf({ digest }: Pick<Descriptor, "digest">): string {
    algorithmOf(digest);
    return digest.replace(":", "-");
}

export class BlobFolder {
    /** Whole files that were held against their digest by this process, by what would change with their content. */
    readonly #checked = new Map<string, Promise<boolean>>();

    constructor(
        readonly folder: string,
        readonly limits: FolderLimits,
    ) {}

    /** Makes the folder, for its owner alone. Blobs of private images lie in it. */
    prepare(): Promise<unknown> {
        return usable(() => mkdir(this.folder, { recursive: true, mode: 0o700 }));
    }

    /**
     * Opens a whole blob, and marks it as used and in use; undefined where there is none. One with another size or digest is
     * removed, and counts as none: once a process and file, all of it is read for that before any of it is given.
     */
    openWhole(descriptor: Pick<Descriptor, "digest" | "size">): Promise<WholeBlob | undefined> {
        const name = nameOf(descriptor);
        const file = path.join(this.folder, name);
        return usable(async () => {
            const handle = await open(file, "r").catch(absent);
            if (!handle) return undefined;
            let mark: OwnMark | undefined;
            const close = async (): Promise<void> => {
                await handle.close();
                await mark?.remove();
            };
            try {
                mark = await setMark(this.folder, name, "read");
                if (await this.#isRight(handle, descriptor)) {
                    // The time of last access by our own hand: file systems are often mounted without it.
                    await utimes(file, new Date(), (await handle.stat()).mtime);
                    return { handle, close };
                }
                await rm(file, { force: true });
            } catch (error) {
                await close();
                throw error;
            }
            await close();
            return undefined;
        });
    }

    async #isRight(handle: FileHandle, { digest, size }: Pick<Descriptor, "digest" | "size">): Promise<boolean> {
        const { ino, size: found, mtimeMs } = await handle.stat();
        if (found !== size) return false;
        const key = `${digest} ${ino} ${mtimeMs}`;
        let right = this.#checked.get(key);
        if (!right) {
            right = hashOf(handle, size, digest).then(({ hash }) => hash.digest("hex") === digest.split(":")[1]);
            this.#checked.set(key, right);
            right.catch(() => this.#checked.delete(key));
        }
        return right;
    }

    /** Opens what earlier downloads left of a blob, or an empty file. */
    openPartial(name: string): Promise<FileHandle> {
        return usable(() =>
            open(this.#partial(name), "r+").catch(async (error: unknown) => {
                absent(error);
                return open(this.#partial(name), "wx+", 0o600);
            }),
        );
    }

    /** Bytes of a download that goes on. */
    async partialSize(name: string): Promise<number> {
        return (await stat(this.#partial(name)).catch(() => undefined))?.size ?? 0;
    }

    /** A download is whole, and was held against its digest while it was written. */
    commit(descriptor: Pick<Descriptor, "digest">, handle: FileHandle): Promise<void> {
        const name = nameOf(descriptor);
        return usable(async () => {
            await rename(this.#partial(name), path.join(this.folder, name));
            const { ino, mtimeMs } = await handle.stat();
            this.#checked.set(`${descriptor.digest} ${ino} ${mtimeMs}`, Promise.resolve(true));
            await this.#evict(0, name);
        });
    }

    /** Removes what a download has written. */
    async discard(name: string): Promise<void> {
        await rm(this.#partial(name), { force: true }).catch(() => undefined);
    }

    /** The right to download a blob; see {@link tryToDownload}. */
    claim(name: string): Promise<OwnMark | undefined> {
        return usable(() => tryToDownload(this.folder, name));
    }

    /** Removes what was not used for long until `size` bytes more fit in. Throws {@link CacheUnusable} when they don't. */
    makeRoom(name: string, size: number): Promise<void> {
        return usable(() => this.#evict(size, name));
    }

    /** Throws {@link CacheUnusable} when the disk has less left than it should. */
    async assertFree(): Promise<void> {
        if ((await usable(() => this.#free())) < this.limits.reserve) throw this.#full();
    }

    async #evict(incoming: number, keep: string): Promise<void> {
        const entries = (await this.#entries()).filter(({ name }) => blobOf(name) !== keep || incoming === 0);
        const { size: limit, reserve } = this.limits;
        const room = { limit, incoming, free: await this.#free(), reserve: incoming === 0 ? 0 : reserve };
        const victims = toEvict(entries, room);
        if (!victims && incoming > 0) throw this.#full();
        for (const { name } of victims ?? []) await rm(path.join(this.folder, name), { force: true });
    }

    async #entries(): Promise<CacheEntry[]> {
        const used = new Set((await liveMarks(this.folder)).map(({ blob }) => blob));
        const entries: CacheEntry[] = [];
        for (const name of (await readdir(this.folder)).filter((file) => BLOB.test(file))) {
            // Another process may remove some at the same time.
            const found = await stat(path.join(this.folder, name)).catch(() => undefined);
            if (!found) continue;
            const { size, atimeMs, mtimeMs } = found;
            entries.push({ name, size, used: Math.max(atimeMs, mtimeMs), inUse: used.has(blobOf(name)) });
        }
        return entries;
    }

    async #free(): Promise<number> {
        const { bavail, bsize } = await statfs(this.folder);
        return bavail * bsize;
    }

    #full(): CacheUnusable {
        return new CacheUnusable("its disk has too little space left, or all that it holds is in use");
    }

    #partial(name: string): string {
        return path.join(this.folder, `${name}.${machine}.partial`);
    }
}

function blobOf(file: string): string {
    return file.split(".")[0]!;
}

/** The hash of a file's first bytes, to be gone on with, and how many there were. */
export async function hashOf(
    handle: FileHandle,
    length: number,
    digest: string,
): Promise<{ hash: Hash; length: number }> {
    const hash = createHash(algorithmOf(digest));
    // One buffer for all: each new one would count as memory, and have V8 look for garbage.
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK, Math.max(1, length)));
    let position = 0;
    while (position < length) {
        const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, length - position), position);
        if (bytesRead === 0) break;
        hash.update(buffer.subarray(0, bytesRead));
        position += bytesRead;
    }
    return { hash, length: position };
}

/** Up to a megabyte of an open file from `position` on, but not beyond `end`; the reader's to keep. */
export function readSome(handle: FileHandle, position: number, end: number): Promise<Buffer> {
    return usable(async () => {
        const buffer = Buffer.allocUnsafe(Math.min(CHUNK, end - position));
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
        if (bytesRead === 0) throw new CacheUnusable("a blob in it became shorter while it was read");
        return buffer.subarray(0, bytesRead);
    });
}

/** Does something with the disk. */
export async function usable<T>(work: () => Promise<T>): Promise<T> {
    try {
        return await work();
    } catch (cause) {
        if (cause instanceof CacheUnusable) throw cause;
        const why = cause instanceof Error ? cause.message : String(cause);
        throw new CacheUnusable(codeOf(cause) === "ENOSPC" ? "its disk is full" : why, { cause });
    }
}

function absent(error: unknown): undefined {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
}

function codeOf(error: unknown): unknown {
    return error instanceof Error && "code" in error ? error.code : undefined;
}
