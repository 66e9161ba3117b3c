/**
 * A cache on disk for the blobs that nodes do not pull by themselves: what several nodes of one run, and several runs, want is
 * downloaded once.
 */
import os from "node:os";
import path from "node:path";
import { hasCode } from "../errors";
import { type Cursor, Download } from "./blob-download";
import { BlobFolder, CacheUnusable, nameOf, readSome } from "./blob-folder";
import type { Descriptor } from "./oci";
import type { ImageSource } from "./source";

export const DEFAULT_CACHE_SIZE = 10 * 2 ** 30;
/** What stays free on the cache's disk, in bytes. */
const RESERVE = 2 ** 30;
/** How long another process's download is waited for without seeing it get on, in milliseconds. Default of {@link BlobCacheOptions}. */
const PATIENCE = 60_000;
/** Failed downloads of others, from the same place, after which a reader does not try by itself. */
const FAILURES = 2;

export interface BlobCacheOptions {
    /** Default: {@link defaultCacheFolder}. Made with mode 0700. */
    folder?: string;
    /** Bytes that it holds at most, the least recently used going first. Default: 10 GiB. A blob that is larger passes by. */
    size?: number;
    /** Bytes that stay free on its disk. Default: 1 GiB. */
    reserve?: number;
    /** Default: a minute. */
    patience?: number;
    /** Is told why the cache can't be used, each time. Pulls go on without it. */
    onUnusable?: (reason: string) => void;
}

/** `$XDG_CACHE_HOME/pulumi-containerd/blobs`, else `~/.cache/pulumi-containerd/blobs` (XDG Base Directory Specification). */
export function defaultCacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
    const base = environment.XDG_CACHE_HOME;
    // "All paths set in these environment variables must be absolute", else they are to be ignored.
    const cache = base !== undefined && path.isAbsolute(base) ? base : path.join(os.homedir(), ".cache");
    return path.join(cache, "pulumi-containerd", "blobs");
}

/**
 * The cache. Several processes may use one folder. Nothing of it is given that does not have its digest, and it never makes a
 * pull fail: what it can't do is done without it.
 *
 * It does not know who may have a blob: use it by {@link cachedSource}, which asks the registry.
 */
export class BlobCache {
    readonly #downloads = new Map<string, Download>();
    readonly #size: number;
    readonly #patience: number;
    readonly #onUnusable: (reason: string) => void;
    readonly #folder: BlobFolder;
    #prepared: Promise<unknown> | undefined;

    constructor(options: BlobCacheOptions = {}) {
        this.#size = options.size ?? DEFAULT_CACHE_SIZE;
        this.#patience = options.patience ?? PATIENCE;
        this.#onUnusable = options.onUnusable ?? (() => undefined);
        const limits = { size: this.#size, reserve: options.reserve ?? RESERVE };
        this.#folder = new BlobFolder(options.folder ?? defaultCacheFolder(), limits);
    }

    /**
     * The bytes of a blob from `offset` on: of the cache, of a download that goes on, of one that this begins, or where none of
     * these works, of the source. Errors are the source's; where another reader's download fails, this one takes over and goes
     * on with what is there.
     */
    async *blob(
        source: ImageSource,
        descriptor: Descriptor,
        offset: number,
        signal?: AbortSignal,
    ): AsyncGenerator<Uint8Array, void, undefined> {
        const cursor: Cursor = { position: offset };
        if (descriptor.size <= this.#size) {
            try {
                return yield* this.#cached(source, descriptor, cursor, signal);
            } catch (error) {
                if (!(error instanceof CacheUnusable)) throw error;
                this.#onUnusable(error.message);
            }
        }
        yield* source.blob(descriptor, cursor.position, signal);
    }

    async *#cached(
        source: ImageSource,
        descriptor: Descriptor,
        cursor: Cursor,
        signal?: AbortSignal,
    ): AsyncGenerator<Uint8Array, void, undefined> {
        await (this.#prepared ??= this.#folder.prepare());
        for (let failures = 0; ;) {
            signal?.throwIfAborted();
            const whole = await this.#folder.openWhole(descriptor);
            if (whole) {
                try {
                    while (cursor.position < descriptor.size) {
                        const chunk = await readSome(whole.handle, cursor.position, descriptor.size);
                        cursor.position += chunk.length;
                        yield chunk;
                    }
                    return;
                } finally {
                    await whole.close();
                }
            }
            const download = this.#downloads.get(nameOf(descriptor)) ?? this.#begin(source, descriptor);
            const outcome = yield* download.follow(cursor, signal);
            if ("whole" in outcome) return;
            if ("again" in outcome) continue;
            if (download.source === source || outcome.error instanceof CacheUnusable) throw outcome.error;
            if (download.source.name === source.name && isNotOfRights(outcome.error) && ++failures >= FAILURES)
                throw outcome.error;
        }
    }

    #begin(source: ImageSource, descriptor: Descriptor): Download {
        const name = nameOf(descriptor);
        const download = new Download(this.#folder, descriptor, source, this.#patience, () =>
            this.#downloads.delete(name),
        );
        this.#downloads.set(name, download);
        return download;
    }

    /** Waits until no download needs the source any more; gives at once where none does. */
    async left(source: ImageSource): Promise<void> {
        const running = [...this.#downloads.values()].filter((download) => download.source === source);
        await Promise.all(running.map(({ over }) => over));
    }

    /** Whether a download of that source goes on. */
    needs(source: ImageSource): boolean {
        return [...this.#downloads.values()].some((download) => download.source === source);
    }
}

/** A refusal says nothing about what another reader may do, who may have other credentials. */
function isNotOfRights(error: unknown): boolean {
    return !hasCode(error, "Unauthorized", "NotFound");
}
