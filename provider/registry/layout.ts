/** Images in an OCI image layout (image-layout.md of the OCI image specification), be it a folder or a tar. */
import { ContainerdError, hasCode } from "../errors";
import { folderFiles, readFile, type Files } from "./files";
import { algorithmOf, digestOf, maxManifestSize, mediaTypeOf, parseIndex, type Descriptor } from "./oci";
import { parseReference } from "./reference";
import type { ImageSource } from "./source";
import { assertDigest } from "./verify";

/** Which image of several is meant. */
export interface LocalSourceOptions {
    /** Its name in the layout or archive: a whole reference, or the tag alone. May be absent where there is one image only. */
    reference?: string;
}

/** The image in an OCI layout folder. Throws `Invalid` when the folder is not there, is no layout, or has several images. */
export async function layoutSource(folder: string, options: LocalSourceOptions = {}): Promise<ImageSource> {
    return layoutOf(await folderFiles(folder), options);
}

/** The image in a layout. Closes `files` when closed, and when this fails. */
export async function layoutOf(files: Files, options: LocalSourceOptions): Promise<ImageSource> {
    let root: Descriptor;
    try {
        root = await rootOf(files, options.reference);
    } catch (error) {
        await files.close();
        throw error;
    }
    return {
        name: files.name,
        resolve: async () => root,
        manifest: async (digest) => {
            const bytes = await readFile(files, pathOf(digest), maxManifestSize);
            assertDigest(digest, digestOf(bytes, algorithmOf(digest)));
            return { bytes, mediaType: mediaTypeOf(bytes, undefined, `${files.name}@${digest}`) };
        },
        blob: (descriptor, offset) => sized(files, pathOf(descriptor.digest), descriptor, offset),
        close: () => files.close(),
    };
}

/** A file's bytes. Throws `Failed` at once when it has not the size that its descriptor says. */
export async function* sized(
    files: Files,
    path: string,
    descriptor: Descriptor,
    offset: number,
): AsyncGenerator<Uint8Array, void, undefined> {
    const size = await files.size(path);
    if (size !== undefined && size !== descriptor.size)
        throw new ContainerdError(
            "Failed",
            `${files.name}: ${path} has ${size} bytes; its manifest says ${descriptor.size}`,
        );
    yield* files.stream(path, offset);
}

/** The only entry, whatever its name; of several, the one whose name is asked for. Throws `Invalid` with the names that there are. */
export function chooseByName<T>(
    entries: T[],
    namesOf: (entry: T) => string[],
    wanted: string | undefined,
    where: string,
): T {
    const found =
        wanted === undefined || entries.length === 1
            ? entries
            : entries.filter((entry) => namesOf(entry).some((name) => same(name, wanted)));
    if (found.length === 1) return found[0]!;
    const names = entries.flatMap(namesOf);
    const there = names.length > 0 ? `there are ${names.join(", ")}` : `its ${entries.length} images have no names`;
    if (entries.length === 0) throw new ContainerdError("Invalid", `${where} has no image in it`);
    if (wanted === undefined)
        throw new ContainerdError("Invalid", `${where} has ${entries.length} images: say which; ${there}`);
    throw new ContainerdError(
        "Invalid",
        found.length === 0 ? `${where} has no image "${wanted}"; ${there}` : `${where} has "${wanted}" more than once`,
    );
}

async function rootOf(files: Files, reference: string | undefined): Promise<Descriptor> {
    if ((await files.size("index.json")) === undefined)
        throw new ContainerdError("Invalid", `${files.name} is no OCI layout: there is no index.json in it`);
    const bytes = await readFile(files, "index.json", maxManifestSize);
    const { manifests } = parseIndex(bytes, files.name);
    const { mediaType, digest, size } = chooseByName(manifests, namesOf, reference, files.name);
    const actual = await files.size(pathOf(digest));
    if (actual === undefined)
        throw new ContainerdError("Invalid", `${files.name} is not complete: its image ${digest} is not in it`);
    if (actual !== size)
        throw new ContainerdError(
            "Failed",
            `${files.name}: ${digest} has ${actual} bytes; its index.json says ${size}`,
        );
    return { mediaType, digest, size };
}

function namesOf({ annotations = {} }: Descriptor): string[] {
    const names = [annotations["org.opencontainers.image.ref.name"], annotations["io.containerd.image.name"]];
    return names.filter((name) => name !== undefined);
}

/** Whether two names mean the same image: as they stand, or written out. */
function same(name: string, wanted: string): boolean {
    return name === wanted || canonical(name) === canonical(wanted);
}

function canonical(name: string): string {
    try {
        return parseReference(name).toString();
    } catch (error) {
        if (hasCode(error, "Invalid")) return name;
        throw error;
    }
}

function pathOf(digest: string): string {
    const algorithm = algorithmOf(digest);
    return `blobs/${algorithm}/${digest.slice(algorithm.length + 1)}`;
}
