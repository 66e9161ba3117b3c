/** Where an image's bytes come from: a registry, an OCI layout folder or an archive, behind one interface. */
import { RegistryClient, type RegistryOptions } from "./client";
import { withCredentials } from "./config";
import type { Descriptor } from "./oci";
import { parseReference, type Reference } from "./reference";

export { archiveSource } from "./archive";
export { layoutSource } from "./layout";

/** One image, wherever it lies. Made by `registrySource`, `layoutSource` or `archiveSource`; close it when done. */
export interface ImageSource {
    /** What it is, for messages: the reference, or the path. */
    readonly name: string;
    /** Media type, digest and size of the root: an index or a manifest. */
    resolve(): Promise<Descriptor>;
    /** An index or a manifest by its digest, which is checked; at most 4 MiB. Throws `NotFound`, `Failed`. */
    manifest(digest: string): Promise<{ bytes: Buffer; mediaType: string }>;
    /**
     * The bytes of a config or a layer from `offset` on. **Its digest is not checked here**: wrap it in `verified`.
     * A broken connection is resumed inside. What has to be waited for before the first byte is given up by the signal.
     */
    blob(descriptor: Descriptor, offset: number, signal?: AbortSignal): AsyncIterable<Uint8Array>;
    /** Gives up what was opened. Safe to call twice. */
    close(): Promise<void>;
}

/** What {@link registrySource} takes besides the reference. */
export interface RegistrySourceOptions extends RegistryOptions {
    /** A client to share; `close` leaves it open. Default: one of its own, made with the other options. */
    client?: RegistryClient;
    /** For the registry of the reference; not together with `client`. */
    credentials?: { username: string; password: string };
}

/** An image in a registry. Touches no network before it is asked something. */
export function registrySource(reference: Reference | string, options: RegistrySourceOptions = {}): ImageSource {
    const image = typeof reference === "string" ? parseReference(reference) : reference;
    const { client: shared, credentials, registries = {}, ...rest } = options;
    const client =
        shared ??
        new RegistryClient({
            ...rest,
            registries: credentials ? withCredentials(registries, image.registry, credentials) : registries,
        });
    return {
        name: image.toString(),
        resolve: () => client.resolve(image),
        manifest: (digest) => client.manifest(image, digest),
        blob: (descriptor, offset) => client.blob(image, descriptor.digest, offset, descriptor.size),
        close: async () => {
            if (!shared) await client.close();
        },
    };
}
