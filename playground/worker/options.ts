/** What a worker of the playground can be asked to be. */
import type { ContainerdOptions } from "../containerd-config";
import type { Switch } from "../network/switch";
import type { SshdOptions } from "../ssh/settings";

export interface WorkerOptions extends ContainerdOptions {
    /** Unique on this machine. Default: a random one. */
    name?: string;
    /** Default: its name. */
    hostname?: string;
    /** Its folder, absolute; its parent holds nothing else. Default: one below `/var/tmp/pulumi-containerd`. */
    dir?: string;
    /** Goes on when this process ends; `openWorker` finds it again. Default: false. */
    persistent?: boolean;
    /**
     * `host`: this machine's. `own`: a network namespace with an address on its cluster's network, without a way out, and
     * sshd on port 22; then `/etc`, `/tmp` and `/var/log` are its own too, and its `dir` is not below `/tmp`.
     * Default: `host`, which starts faster.
     */
    network?: "host" | "own";
    /** With a network of its own: settings of its sshd. */
    sshd?: SshdOptions;
    /**
     * With a network of its own: ports of this machine's loopback that are on the worker's loopback too, like that of a
     * registry, whose references then are the same there. Default: none, the worker has no way out.
     */
    reach?: readonly number[];
    /** @internal The switch of its cluster, and which of its addresses the worker gets. Default: a switch of its own. */
    plug?: { switch: Switch; index: number };
}
