/** The resource Task: the running process of a Container, and that it keeps running. */
import * as pulumi from "@pulumi/pulumi";
import type { Duration, Health, Optional, Restart } from "./arguments";
import type { Container } from "./container";
import { runs } from "./idle";
import { placement } from "./placement";
import { ContainerdResource } from "./resource";

/** Arguments of a {@link Task}. */
export interface TaskArgs {
    /** The Container whose process this is. */
    container: Container;
    /**
     * When containerd starts it again, also at boot. Default `always`; with `once`, `no`. The node's restart monitor looks at
     * its own interval (10 s by default). `on-failure` from containerd 1.7 on does not start at boot; before, our gate keeps it,
     * which does, and needs perl on the node.
     */
    restart?: Optional<Restart>;
    /** How `up` finds out that it works; without it, a process that runs is enough. */
    health?: Health | false;
    /** How it is stopped. Default: the image's signal, else SIGTERM; `timeout` 10 s, then SIGKILL. */
    stop?: Optional<{ signal?: Optional<string>; timeout?: Duration }>;
    /** A job: runs to its end, exit status 0 is its goal and stays so. A non-zero status fails the `up`. Default false. */
    once?: boolean;
    /** A changed value runs it anew. */
    triggers?: pulumi.Input<pulumi.Input<unknown>[] | undefined>;
    /** `stopped` keeps the Container without its process. Default `running`. */
    desired?: Optional<"running" | "stopped">;
}

/**
 * The process of a Container. `up` waits until it runs and, with `health`, until it is healthy.
 *
 * @example
 * new containerd.Task("web", { container: web, restart: "always", health: { http: { port: 80 } } });
 *
 * Throws (as the resource's failure): `Failed` with the exit status and the last log lines, `Timeout` when it does not get
 * healthy, `Unsupported` for a restart policy that the node's containerd does not know. Source: containerd's Tasks service
 * and restart monitor.
 */
export class Task extends ContainerdResource {
    /** Whether it runs and, with `health`, was seen healthy; for a job, whether it ended with 0. */
    declare readonly ready: pulumi.Output<boolean>;
    /** `running` or `stopped`, as last seen. */
    declare readonly status: pulumi.Output<string>;
    /** Exit status of a job (`once`). */
    declare readonly exitCode: pulumi.Output<number | undefined>;

    constructor(name: string, args: TaskArgs, opts?: pulumi.CustomResourceOptions) {
        const { container, ...rest } = args;
        super(
            "Task",
            name,
            {
                ...rest,
                ...(container && placement.get(container)),
                container: container?.id,
                ...(container && { hasContainer: true }),
                node: container?.node,
                generation: container?.generation,
                ready: undefined,
                status: undefined,
                exitCode: undefined,
            },
            opts,
        );
        runs(container);
    }

    /** A task that another program manages, by its id; only read, never changed. */
    static get(name: string, id: pulumi.Input<pulumi.ID>, opts?: pulumi.CustomResourceOptions): Task {
        return new Task(name, {} as TaskArgs, { ...opts, id });
    }
}
