/** What the processes that carry a cluster's connections say to each other, and what is said to them. */

/** To the crossing: answer a server's connections (its handle comes along) by ones to a port of the worker's address. */
export interface CrossForward {
    do: "forward";
    worker: string;
    host: string;
    port: number;
}

/** To the crossing. */
export interface CrossLink {
    do: "link" | "reset" | "remove";
    worker: string;
    delay?: number;
}

export type CrossMessage = (CrossForward | CrossLink) & { id: number };

/** Requests to the carrier: each is a path of its socket, with this as JSON. */
export interface CarrierRequests {
    /** A port of this machine's loopback becomes a port of the worker. `listen`: which one; 0 takes a free one. */
    forward: { worker: string; host: string; port: number; listen: number };
    /** The same port of the worker's loopback becomes a port of this machine's; `pid` is a process of the worker. */
    reach: { worker: string; pid: number; ports: number[] };
    /** How the connections of a worker fare. */
    link: { worker: string; delay?: number; cut?: boolean };
    /** Resets the connections of a worker. */
    reset: { worker: string };
    /** The worker is off: nothing of ours stays in its namespaces. */
    off: { worker: string };
    /** The worker is gone for good. */
    remove: { worker: string };
    status: Record<string, never>;
}

/** The carrier's answers. */
export interface CarrierAnswers {
    forward: { port: number };
    reach: Record<string, never>;
    link: Record<string, never>;
    reset: Record<string, never>;
    off: Record<string, never>;
    remove: Record<string, never>;
    /** A process in the switch's network namespace, and the workers of which it knows. */
    status: { crossing: number; workers: string[] };
}
