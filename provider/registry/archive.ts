/** Images in an archive: an OCI layout in a tar, or what `docker save` writes; plain or compressed by gzip. */
import { createReadStream } from "node:fs";
import { mkdtemp, open, rm, stat, type FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { ContainerdError } from "../errors";
import { dockerArchiveOf } from "./docker-archive";
import { tarFiles } from "./files";
import { layoutOf, type LocalSourceOptions } from "./layout";
import type { ImageSource } from "./source";

/**
 * The image in an archive. Bytes are read where they lie, by offset: memory stays small whatever the archive's size. One
 * that is compressed is unpacked first into a file without a name in the system's temporary folder, which goes with the
 * process.
 *
 * Throws `Invalid` when the file is not there, is no image archive, or has several images; `Failed` when it is damaged.
 */
export async function archiveSource(file: string, options: LocalSourceOptions = {}): Promise<ImageSource> {
    const files = await tarFiles(await openTar(file), file);
    // `docker save` of version 25 and later is both; the OCI half is exact.
    if ((await files.size("index.json")) !== undefined) return layoutOf(files, options);
    if ((await files.size("manifest.json")) !== undefined) return dockerArchiveOf(files, options);
    await files.close();
    throw new ContainerdError(
        "Invalid",
        `${file} is no image archive: it has neither the index.json of an OCI layout nor the manifest.json of docker save`,
    );
}

async function openTar(file: string): Promise<FileHandle> {
    const is = await stat(file).catch((cause: unknown) => {
        throw new ContainerdError("Invalid", `${file}: no such file, or not to be read`, { cause });
    });
    if (!is.isFile())
        throw new ContainerdError(
            "Invalid",
            `${file} is no file: an archive is one; a folder with an OCI layout goes by \`layout\``,
        );
    const handle = await open(file, "r").catch((cause: unknown) => {
        throw new ContainerdError("Invalid", `${file} can't be read: ${(cause as Error).message}`, { cause });
    });
    const magic = Buffer.alloc(2);
    await handle.read(magic, 0, 2, 0);
    if (magic.toString("hex") !== "1f8b") return handle;
    await handle.close();
    return gunzip(file);
}

/** The content of a gzip file, as an open file whose name is gone already, so that no kill leaves it behind. */
async function gunzip(file: string): Promise<FileHandle> {
    const folder = await mkdtemp(join(tmpdir(), "pulumi-containerd-"));
    try {
        const handle = await open(join(folder, "archive.tar"), "wx+", 0o600);
        await rm(folder, { recursive: true });
        try {
            await pipeline(createReadStream(file), createGunzip(), (chunks) => handle.writeFile(chunks));
        } catch (cause) {
            await handle.close();
            throw new ContainerdError("Invalid", `${file} is no image archive: its gzip is damaged, or not all of it`, {
                cause,
            });
        }
        return handle;
    } finally {
        await rm(folder, { recursive: true, force: true });
    }
}
