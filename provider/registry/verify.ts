/** Holds a stream of bytes against the descriptor that announced it. */
import { createHash } from "node:crypto";
import { ContainerdError } from "../errors";
import { algorithmOf, type Descriptor } from "./oci";

/**
 * The same chunks, unchanged; throws `Failed` with both sizes as soon as there are too many bytes or, at the end, too few,
 * and with both digests when the content is another. The last chunk has been given by then: commit nothing before the end.
 *
 * @param start bytes that were skipped because they are there already. With any, only the size is checked here (the digest
 *   is that of the whole): containerd checks it when the content is committed.
 */
export async function* verified(
    descriptor: Pick<Descriptor, "digest" | "size">,
    stream: AsyncIterable<Uint8Array>,
    start = 0,
): AsyncGenerator<Uint8Array, void, undefined> {
    const algorithm = algorithmOf(descriptor.digest);
    const hash = start === 0 ? createHash(algorithm) : undefined;
    let position = start;
    for await (const chunk of stream) {
        position += chunk.byteLength;
        if (position > descriptor.size)
            throw new ContainerdError(
                "Failed",
                `${descriptor.digest} has more than the ${descriptor.size} bytes that its manifest says`,
            );
        hash?.update(chunk);
        yield chunk;
    }
    if (position !== descriptor.size)
        throw new ContainerdError(
            "Failed",
            `${descriptor.digest} has ${position} bytes; its manifest says ${descriptor.size}`,
        );
    if (hash) assertDigest(descriptor.digest, `${algorithm}:${hash.digest("hex")}`);
}

/** Throws `Failed` with both digests unless they are the same. */
export function assertDigest(expected: string, actual: string): void {
    if (expected !== actual)
        throw new ContainerdError(
            "Failed",
            `the content is not what was asked for: expected ${expected}, got ${actual}. It was changed or damaged on its way`,
        );
}
