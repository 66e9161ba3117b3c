/**
 * Files below a root, as an image's layout has them: in a folder, or in a tar that is read by offset and never held in
 * memory. Paths are relative with `/`; those that leave the root are refused.
 */
import type { FileHandle } from "node:fs/promises";
import { open, realpath, stat } from "node:fs/promises";
import { join, posix, relative, isAbsolute } from "node:path";
import { Readable } from "node:stream";
import { ContainerdError } from "../errors";

/** Read access to files below a root. */
export interface Files {
    /** Path of the root, for messages. */
    readonly name: string;
    /** Bytes of a file; `undefined` where there is none. Throws `Invalid` for a path or a link that leaves the root. */
    size(path: string): Promise<number | undefined>;
    /** The bytes from `offset` on. Throws `NotFound`. */
    stream(path: string, offset: number): AsyncIterable<Uint8Array>;
    close(): Promise<void>;
}

/** Bytes read at once. */
const chunkSize = 1 << 20;

/** A whole file. Throws `NotFound`, and `Failed` when it has more than `limit` bytes. */
export async function readFile(files: Files, path: string, limit: number): Promise<Buffer> {
    const size = await files.size(path);
    if (size === undefined) throw missing(files, path);
    if (size > limit)
        throw new ContainerdError("Failed", `${files.name}: ${path} has ${size} bytes; the most we take is ${limit}`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of files.stream(path, 0)) chunks.push(chunk);
    return Buffer.concat(chunks);
}

/** The files of a folder. Throws `Invalid` when it is none. */
export async function folderFiles(folder: string): Promise<Files> {
    const is = await stat(folder).catch((cause: unknown) => {
        throw new ContainerdError("Invalid", `${folder}: no such folder (${codeOf(cause)})`, { cause });
    });
    if (!is.isDirectory())
        throw new ContainerdError(
            "Invalid",
            `${folder} is no folder: an OCI layout is one; an archive goes by \`archive\``,
        );
    const root = await realpath(folder);

    /** Where a file really lies; links are followed, but not out of the folder. */
    const locate = async (path: string): Promise<string | undefined> => {
        const real = await realpath(join(root, inside(path, folder))).catch((cause: unknown) => {
            if (codeOf(cause) === "ENOENT" || codeOf(cause) === "ENOTDIR") return undefined;
            throw new ContainerdError("Failed", `${folder}: ${path} can't be read (${codeOf(cause)})`, { cause });
        });
        const way = real === undefined ? "" : relative(root, real);
        if (way.startsWith("..") || isAbsolute(way)) throw leaves(path, folder);
        return real;
    };
    const files: Files = {
        name: folder,
        size: async (path) => {
            const file = await locate(path);
            const found = file === undefined ? undefined : await stat(file);
            return found?.isFile() ? found.size : undefined;
        },
        stream: async function* (path, offset) {
            const file = await locate(path);
            if (file === undefined) throw missing(files, path);
            const handle = await open(file, "r");
            try {
                yield* read(handle, offset, (await handle.stat()).size - offset);
            } finally {
                await handle.close();
            }
        },
        close: async () => undefined,
    };
    return files;
}

type Entry = { offset: number; size: number } | { target: string };

/**
 * The files of a tar. Reads it once, to learn where each file begins. Closes `handle` when closed, and when this fails.
 * Throws `Invalid` for what is no tar, or has paths that leave it.
 *
 * @param name for messages
 */
export async function tarFiles(handle: FileHandle, name: string): Promise<Files> {
    let entries: Map<string, Entry>;
    try {
        entries = await indexTar(handle, name);
    } catch (cause) {
        await handle.close();
        if (cause instanceof ContainerdError) throw cause;
        throw new ContainerdError("Invalid", `${name} is no image archive: it is no tar, or not all of one`, { cause });
    }
    const find = (path: string): { offset: number; size: number } | undefined => {
        let at = inside(path, name);
        // Docker links equal layers to each other; a chain of links is short, or a circle.
        for (let hop = 0; hop < 8; hop++) {
            const entry = entries.get(at);
            if (!entry || "offset" in entry) return entry;
            at = entry.target;
        }
        return undefined;
    };
    let closed: Promise<void> | undefined;
    const files: Files = {
        name,
        size: async (path) => find(path)?.size,
        stream: async function* (path, offset) {
            const entry = find(path);
            if (!entry) throw missing(files, path);
            yield* read(handle, entry.offset + offset, entry.size - offset);
        },
        close: () => (closed ??= handle.close()),
    };
    return files;
}

async function indexTar(handle: FileHandle, name: string): Promise<Map<string, Entry>> {
    const entries = new Map<string, Entry>();
    // Loaded here: few programs read archives.
    const { extract } = await import("tar-stream");
    const tar = extract();
    // Not a stream of the handle's own: that would keep the handle from closing.
    const source = Readable.from(read(handle, 0, (await handle.stat()).size));
    source.on("error", (error) => tar.destroy(error));
    source.pipe(tar);
    try {
        for await (const entry of tar) {
            // tar-stream says where the content begins, though its types don't.
            const header: typeof entry.header & { byteOffset?: number } = entry.header;
            const path = inside(header.name, name);
            if (header.type === "file" || header.type === "contiguous-file")
                entries.set(path, { offset: header.byteOffset ?? Number.NaN, size: header.size ?? 0 });
            else if (header.type === "symlink")
                entries.set(path, { target: linked(posix.dirname(path), header.linkname ?? "", name) });
            else if (header.type === "link") entries.set(path, { target: inside(header.linkname ?? "", name) });
            entry.resume();
        }
    } finally {
        source.destroy();
    }
    return entries;
}

/** The bytes of an open file, in chunks that are the reader's to keep. */
async function* read(handle: FileHandle, start: number, length: number): AsyncGenerator<Uint8Array, void, undefined> {
    let position = start;
    const end = start + length;
    while (position < end) {
        const buffer = Buffer.allocUnsafe(Math.min(chunkSize, end - position));
        const { bytesRead } = await handle.read(buffer, 0, buffer.byteLength, position);
        if (bytesRead === 0) return; // It is shorter than it was: who compares sizes sees it.
        position += bytesRead;
        yield buffer.subarray(0, bytesRead);
    }
}

/** Where a symbolic link in `folder` leads. Throws `Invalid` when that is out of the root. */
function linked(folder: string, link: string, root: string): string {
    return inside(posix.isAbsolute(link) ? link : posix.join(folder, link), root);
}

/** A path without `.` and `..`. Throws `Invalid` when it leaves the root. */
function inside(path: string, root: string): string {
    const clean = posix.normalize(path);
    if (posix.isAbsolute(clean) || clean === ".." || clean.startsWith("../") || path.includes("\0"))
        throw leaves(path, root);
    return clean.replace(/\/$/, "");
}

function leaves(path: string, root: string): ContainerdError {
    return new ContainerdError("Invalid", `${root}: "${path}" leads out of it; refused`);
}

function missing(files: Files, path: string): ContainerdError {
    return new ContainerdError("NotFound", `${files.name}: ${path} is not in it`);
}

function codeOf(thrown: unknown): string {
    return thrown instanceof Error && "code" in thrown ? String(thrown.code) : String(thrown);
}
