/**
 * Blobs in containerd's content store: written in order, resumed where an earlier attempt stopped, in bounded memory, read
 * whole or as a stream. containerd itself checks the digest.
 */
import { ContainerdError, hasCode } from "../errors";
import type { Client, DuplexCall } from "./client";
import type { WriteContentRequest } from "./generated/containerd/services/content/v1/WriteContentRequest";
import type { WriteContentResponse__Output } from "./generated/containerd/services/content/v1/WriteContentResponse";

/** Bytes of one message: large enough that a message's cost does not count, small enough for many writers at once. */
const CHUNK = 1 << 20;
/** Messages that containerd has not confirmed yet, at most. */
const WINDOW = 4;
/** How often a write is begun again because somebody else's equal one was quicker. */
const TRIES = 3;
/** Bytes that {@link readBlob} reads at most: manifests and configurations, not layers. */
const READ_LIMIT = 8 << 20;

export interface BlobTarget {
    /** Name of the write while it goes on; the same one resumes it. One writer at a time. */
    ref: string;
    /** `sha256:` and so on. What arrives must have it. */
    digest: string;
    /** Bytes in all. */
    size: number;
    /** Labels, like those that hold other content; set as well where the blob is there already. */
    labels?: Record<string, string>;
    signal?: AbortSignal;
}

/** Gives the blob's bytes from an offset on: `() => fetch(…Range…)`. Called with 0 unless a write is resumed; once, as a rule. */
export type BlobSource = (offset: number) => AsyncIterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>>;

/**
 * Writes a blob, or finds it there. Under a client with a lease, the lease keeps it in both cases.
 *
 * @param onProgress is told the bytes that containerd has, whenever it confirms some.
 * @returns whether it was there already.
 * @throws `Conflict` when somebody else writes the same ref; `Failed` when the source gives too little, too much or other
 * bytes than the digest says, or throws itself (then what containerd has stays for the next attempt).
 */
export async function writeBlob(
    client: Client,
    target: BlobTarget,
    source: BlobSource,
    onProgress: (bytes: number) => void = () => {},
): Promise<{ existed: boolean }> {
    for (let attempt = 1; ; attempt++) {
        const call = client.content.write({ signal: target.signal });
        const writer = new Writer(client.node, call, target, onProgress);
        try {
            await writer.run(source);
            return { existed: false };
        } catch (thrown) {
            if (!hasCode(thrown, "AlreadyExists")) throw thrown;
            // Somebody else was quicker, and it is under their lease alone: only a write that is refused at once is under ours.
            if (writer.begun && attempt < TRIES) continue;
            await labelBlob(client, target.digest, target.labels ?? {});
            onProgress(target.size);
            return { existed: true };
        } finally {
            call.cancel();
        }
    }
}

/** The dialogue of one write: STAT, WRITE…, COMMIT (containerd.services.content.v1.Content.Write). */
class Writer {
    readonly #answers: AsyncIterator<WriteContentResponse__Output>;
    #unconfirmed = 0;
    /** containerd has taken it up. */
    begun = false;

    constructor(
        readonly node: string,
        readonly call: DuplexCall<WriteContentRequest, WriteContentResponse__Output>,
        readonly target: BlobTarget,
        readonly onProgress: (bytes: number) => void,
    ) {
        this.#answers = call[Symbol.asyncIterator]();
    }

    async run(source: BlobSource): Promise<void> {
        const { ref, digest, size, labels } = this.target;
        await this.#send({ action: "STAT", ref, total: size, expected: digest });
        let offset = Number((await this.#confirmed()).offset);
        this.begun = true;
        this.onProgress(offset);
        if (offset < size) {
            const join = joiner(Math.min(CHUNK, size - offset));
            for await (const chunk of chunks(await source(offset), CHUNK, join)) {
                if (offset + chunk.length > size)
                    throw this.#failed(`is longer than the ${size} bytes that it should have`);
                await this.#send({ action: "WRITE", offset, data: chunk });
                offset += chunk.length;
                if (this.#unconfirmed >= WINDOW) this.onProgress(Number((await this.#confirmed()).offset));
            }
        }
        while (this.#unconfirmed > 0) this.onProgress(Number((await this.#confirmed()).offset));
        if (offset !== size) throw this.#failed(`ended after ${offset} of ${size} bytes`);
        try {
            await this.#send({ action: "COMMIT", offset, total: size, expected: digest, labels });
            await this.#confirmed();
        } catch (thrown) {
            // "unexpected commit digest": the bytes are wrong and containerd has dropped them.
            if (hasCode(thrown, "Conflict") && /digest/.test(thrown.reason))
                throw this.#failed("does not have that digest", thrown);
            throw thrown;
        }
        this.call.end();
    }

    async #send(request: WriteContentRequest): Promise<void> {
        this.#unconfirmed++;
        try {
            await this.call.send(request);
        } catch (thrown) {
            // Why containerd ended the call stands in its answer.
            for (;;) if ((await this.#answers.next()).done) throw thrown;
        }
    }

    async #confirmed(): Promise<WriteContentResponse__Output> {
        const { done, value } = await this.#answers.next();
        if (done) throw this.#failed("was not taken to the end: containerd ended the call");
        this.#unconfirmed--;
        return value;
    }

    #failed(reason: string, cause?: unknown): ContainerdError {
        return new ContainerdError("Failed", `the content of ${this.target.digest} ${reason}`, {
            node: this.node,
            cause,
        });
    }
}

/**
 * The same bytes in pieces of one size, the last one smaller. Copies only where pieces must be joined, by `join`.
 * What that gives may be the same memory again: it is valid until the next piece is asked for.
 */
export async function* chunks(
    source: AsyncIterable<Uint8Array>,
    size: number,
    join: (pieces: readonly Uint8Array[]) => Buffer = Buffer.concat,
): AsyncGenerator<Buffer> {
    let pieces: Uint8Array[] = [];
    let held = 0;
    for await (let piece of source) {
        while (held + piece.length >= size) {
            pieces.push(piece.subarray(0, size - held));
            yield pieces.length === 1 ? asBuffer(pieces[0]!) : join(pieces);
            piece = piece.subarray(size - held);
            pieces = [];
            held = 0;
        }
        if (piece.length > 0) pieces.push(piece);
        held += piece.length;
    }
    if (held > 0) yield join(pieces);
}

/**
 * Joins pieces, of `size` bytes together as a rule, in one buffer that is used again and again. A new one each time would have
 * V8 collect garbage every few megabytes: half of the time that a pull takes.
 */
function joiner(size: number): (pieces: readonly Uint8Array[]) => Buffer {
    const buffer = Buffer.allocUnsafe(size);
    return (pieces) => {
        // More than there should be: whoever asked will say so.
        if (pieces.reduce((sum, { length }) => sum + length, 0) > size) return Buffer.concat(pieces);
        let end = 0;
        for (const piece of pieces) {
            buffer.set(piece, end);
            end += piece.length;
        }
        return buffer.subarray(0, end);
    };
}

function asBuffer(bytes: Uint8Array): Buffer {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Sets labels of a blob; those not named stay. An empty value deletes one. Throws `NotFound`. */
export async function labelBlob(client: Client, digest: string, labels: Record<string, string>): Promise<void> {
    const paths = Object.keys(labels).map((key) => `labels.${key}`);
    if (paths.length) await client.content.update({ info: { digest, labels }, update_mask: { paths } });
}

/** Whether the blob is there (complete), in this namespace. */
export async function hasBlob(client: Client, digest: string): Promise<boolean> {
    try {
        await client.content.info({ digest });
        return true;
    } catch (thrown) {
        if (hasCode(thrown, "NotFound")) return false;
        throw thrown;
    }
}

/** A blob as it comes from containerd. Throws `NotFound`. Leaving the loop ends the call. */
export async function* streamBlob(
    client: Client,
    digest: string,
    options: { signal?: AbortSignal; offset?: number } = {},
): AsyncGenerator<Buffer> {
    const { signal, offset = 0 } = options;
    for await (const { data } of client.content.read({ digest, offset }, { signal })) yield data;
}

/** A small blob, whole. Throws `NotFound`; `Failed` over 8 MiB. */
export async function readBlob(client: Client, digest: string): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let length = 0;
    for await (const piece of streamBlob(client, digest)) {
        length += piece.length;
        if (length > READ_LIMIT)
            throw new ContainerdError(
                "Failed",
                `${digest} is larger than ${READ_LIMIT} bytes: no manifest or configuration is`,
                { node: client.node },
            );
        pieces.push(piece);
    }
    return Buffer.concat(pieces, length);
}
