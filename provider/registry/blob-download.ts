/**
 * One download of a blob into the cache, for all who want the blob at that time. It writes to the disk as fast as the registry
 * gives; each reader follows the file as fast as its node takes, so a slow node holds nobody back, and no bytes are held in
 * memory for it.
 */
import { EventEmitter, once } from "node:events";
import type { Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { ContainerdError } from "../errors";
import { type BlobFolder, CacheUnusable, hashOf, nameOf, readSome, usable } from "./blob-folder";
import type { OwnMark } from "./blob-marks";
import type { Descriptor } from "./oci";
import type { ImageSource } from "./source";

/** Bytes that are written at once. */
const BATCH = 512 << 10;
/** Bytes between two looks at what the disk has left. */
const LOOK = 64 << 20;
/** How often another process's download is looked at, in milliseconds. */
const POLL = 100;

/** How a download ended: whole, or why not; `again` where nothing is known but that somebody has to look or begin anew. */
export type Outcome = { whole: true } | { again: true } | { error: unknown };

/** Where a reader is. */
export interface Cursor {
    position: number;
}

/** Nobody wants the blob any more. */
class Unwanted extends Error {}

export class Download {
    /** Settles when it is over, whatever came of it. */
    readonly over: Promise<void>;
    readonly #name: string;
    readonly #events = new EventEmitter().setMaxListeners(0);
    #handle: FileHandle | undefined;
    #outcome: Outcome | undefined;
    /** Bytes that are on the disk. */
    #written = 0;
    /** Readers may have what is written: it is all of this download, and not what an earlier one left unchecked. */
    #open = false;
    #readers = 0;

    /**
     * Begins it. The first reader has to {@link follow} at once.
     *
     * @param patience how long another process that downloads the same blob is waited for without seeing it get on, in
     * milliseconds
     * @param onEnd called as soon as nobody should follow any more
     */
    constructor(
        readonly folder: BlobFolder,
        readonly descriptor: Descriptor,
        readonly source: ImageSource,
        readonly patience: number,
        onEnd: () => void,
    ) {
        this.#name = nameOf(descriptor);
        this.over = this.#run().then(async (outcome) => {
            this.#outcome = outcome;
            onEnd();
            this.#events.emit("change");
            await this.#closeWhenLeft();
        });
    }

    /** The blob's bytes from the cursor on, as they come; moves the cursor. Gives how it ended, after all bytes that can be had. */
    async *follow(cursor: Cursor, signal?: AbortSignal): AsyncGenerator<Uint8Array, Outcome, undefined> {
        this.#readers++;
        try {
            for (;;) {
                const available = this.#open ? this.#written : 0;
                if (this.#handle && cursor.position < available) {
                    const chunk = await readSome(this.#handle, cursor.position, available);
                    cursor.position += chunk.length;
                    yield chunk;
                } else if (this.#outcome) {
                    return this.#outcome;
                } else {
                    await once(this.#events, "change", { signal });
                }
            }
        } finally {
            this.#readers--;
            await this.#closeWhenLeft();
        }
    }

    async #closeWhenLeft(): Promise<void> {
        if (!this.#outcome || this.#readers > 0) return;
        const handle = this.#handle;
        this.#handle = undefined;
        await handle?.close().catch(() => undefined);
    }

    async #run(): Promise<Outcome> {
        let mark: OwnMark | undefined;
        try {
            mark = await this.#turn();
            if (!mark) return { again: true };
            const whole = await this.folder.openWhole(this.descriptor);
            await whole?.close();
            if (whole) return { again: true };
            await this.folder.makeRoom(this.#name, this.descriptor.size);
            this.#handle = await this.folder.openPartial(this.#name);
            await this.#fill(this.#handle);
            await this.folder.commit(this.descriptor, this.#handle);
            return { whole: true };
        } catch (error) {
            // What fills the disk should not go on doing so.
            if (error instanceof CacheUnusable && mark) await this.folder.discard(this.#name);
            return error instanceof Unwanted ? { again: true } : { error };
        } finally {
            await mark?.remove().catch(() => undefined);
        }
    }

    /** Waits for the right to download; undefined when another process has brought the blob meanwhile, or given up. */
    async #turn(): Promise<OwnMark | undefined> {
        let seen = -1;
        let since = performance.now();
        for (let waited = false; ; waited = true) {
            const mark = await this.folder.claim(this.#name);
            if (mark && waited) {
                // What came of the other's work is looked at from the beginning.
                await mark.remove();
                return undefined;
            }
            if (mark) return mark;
            this.#assertWanted();
            const size = await this.folder.partialSize(this.#name);
            if (size !== seen) [seen, since] = [size, performance.now()];
            else if (performance.now() - since > this.patience)
                throw new CacheUnusable("another process downloads the same blob into it and does not get on");
            // Not at one pace: two that meet should not meet again.
            await sleep(POLL * (0.5 + Math.random()));
        }
    }

    /** Goes on with what is there; where the whole turns out to be wrong because of that, begins once more with nothing. */
    async #fill(handle: FileHandle): Promise<void> {
        const { size } = await usable(() => handle.stat());
        if (size > 0 && size <= this.descriptor.size) {
            const { hash, length } = await usable(() => hashOf(handle, size, this.descriptor.digest));
            if (await this.#write(handle, hash, length)) return this.#release();
        }
        await usable(() => handle.truncate(0));
        const { hash } = await hashOf(handle, 0, this.descriptor.digest);
        this.#written = 0;
        this.#release();
        if (await this.#write(handle, hash, 0)) return;
        await this.folder.discard(this.#name);
        throw new ContainerdError(
            "Failed",
            `the content of ${this.descriptor.digest} does not have that digest: ${this.source.name} gave other bytes`,
        );
    }

    /** Lets readers have what is written. */
    #release(): void {
        this.#open = true;
        this.#events.emit("change");
    }

    /** Writes the rest of the blob; whether the whole has the right digest. */
    async #write(handle: FileHandle, hash: Hash, from: number): Promise<boolean> {
        const { digest, size } = this.descriptor;
        let received = from;
        let looked = from;
        this.#written = from;
        for await (const batch of batches(this.source.blob(this.descriptor, from))) {
            this.#assertWanted();
            for (const piece of batch) {
                hash.update(piece);
                received += piece.length;
            }
            if (received > size)
                throw new ContainerdError("Failed", `${digest} is longer than the ${size} bytes that it should have`);
            await usable(() => writeAll(handle, batch, this.#written));
            this.#written = received;
            this.#events.emit("change");
            if (received - looked >= LOOK) {
                await this.folder.assertFree();
                looked = received;
            }
        }
        if (received < size) throw new ContainerdError("Failed", `${digest} ended after ${received} of ${size} bytes`);
        return hash.digest("hex") === digest.split(":")[1];
    }

    #assertWanted(): void {
        if (this.#readers === 0) throw new Unwanted();
    }
}

/** Pieces together, as many as should be written at once. */
async function* batches(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array[]> {
    let batch: Uint8Array[] = [];
    let held = 0;
    for await (const piece of source) {
        batch.push(piece);
        held += piece.length;
        if (held < BATCH) continue;
        yield batch;
        [batch, held] = [[], 0];
    }
    if (held > 0) yield batch;
}

/** The kernel may take less than it is given when the disk is nearly full. */
async function writeAll(handle: FileHandle, pieces: Uint8Array[], position: number): Promise<void> {
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const { bytesWritten } = await handle.writev(pieces, position);
    if (bytesWritten === length) return;
    const rest = Buffer.concat(pieces).subarray(bytesWritten);
    for (let done = 0; done < rest.length;)
        done += (await handle.write(rest, done, rest.length - done, position + bytesWritten + done)).bytesWritten;
}
