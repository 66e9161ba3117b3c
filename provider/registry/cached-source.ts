/** An image in a registry whose blobs go through the cache, for those who may have them. */
import type { BlobCache } from "./blob-cache";
import type { ImageSource } from "./source";

/**
 * The same image, its blobs by the cache.
 *
 * A registry's authorization holds for cached blobs as well: none is given before the registry has given a manifest of this
 * reference, or has said that it is there, with the credentials of this source. As a rule that takes no further request, since
 * the manifests are read first; where they are on the node already, the registry is asked for the root by HEAD.
 *
 * `close` gives the source up when the last download that others still follow is over, and does not wait for that.
 */
export function cachedSource(source: ImageSource, cache: BlobCache): ImageSource {
    let allowed = false;
    let asking: Promise<unknown> | undefined;
    const vouching = async <T>(answer: Promise<T>): Promise<T> => {
        const given = await answer;
        allowed = true;
        return given;
    };
    return {
        name: source.name,
        resolve: () => vouching(source.resolve()),
        manifest: (digest) => vouching(source.manifest(digest)),
        blob: async function* (descriptor, offset, signal) {
            if (!allowed) {
                asking ??= vouching(source.resolve()).finally(() => (asking = undefined));
                await asking;
            }
            yield* cache.blob(source, descriptor, offset, signal);
        },
        close: async () => {
            if (!cache.needs(source)) return source.close();
            void cache.left(source).then(() => source.close());
        },
    };
}
