/** Counts what a pull has done, and tells a listener after each change. */
import type { Documents } from "./documents";
import type { ProgressListener, PullProgress } from "./progress";

/** The state of one pull. Bytes are those of the layers: documents weigh nothing. */
export class Meter {
    readonly #bytes = new Map<string, number>();
    #phase: PullProgress["phase"] = "resolving";
    #layers = { done: 0, total: 0 };
    #total = 0;
    #done = 0;

    constructor(readonly listener: ProgressListener | undefined) {}

    /** What is to be done is known. */
    begin({ layers }: Pick<Documents, "layers">): void {
        // A layer that stands twice in an image is one blob.
        const sizes = new Map(layers.map(({ descriptor }) => [descriptor.digest, descriptor.size]));
        this.#total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
        this.#layers = { done: 0, total: layers.length };
        this.phase("downloading");
    }

    /** Another phase. Phases do not go back. */
    phase(phase: PullProgress["phase"]): void {
        this.#phase = phase;
        this.#tell();
    }

    /** So many bytes of a blob are on the node. */
    blob(digest: string, bytes: number): void {
        this.#done += bytes - (this.#bytes.get(digest) ?? 0);
        this.#bytes.set(digest, bytes);
        this.#tell();
    }

    /** So many layers are complete and unpacked. */
    layers(done: number): void {
        this.#layers.done = done;
        this.#tell();
    }

    #tell(): void {
        this.listener?.({
            phase: this.#phase,
            layers: { ...this.#layers },
            bytes: { done: Math.min(this.#done, this.#total), total: this.#total },
        });
    }
}
