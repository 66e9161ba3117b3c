/** Types of arguments that several resources share. Types only: nothing here remains at run time. */
import type * as pulumi from "@pulumi/pulumi";
import type { Node } from "./node";

/** A value, an Output of one, or nothing. */
export type Optional<T> = pulumi.Input<T | undefined>;

/** Values by name. A name whose value is undefined counts as absent. */
export type Dict<T> = Record<string, Optional<T>>;

/** A length of time with its unit: `"30s"`, `"1m30s"`, `"500ms"`, `"2h"`. */
export type Duration = Optional<string>;

/** Bytes as a number, or a text with a unit: `"512MiB"`, `"1.5GiB"`; also Docker's short `"512m"`, `"2g"` (powers of 1024). */
export type Size = Optional<number | string>;

/** A machine: by its name, or as the resource that it is in this program. */
export type NodeRef = Optional<string> | Node;

/** Where a resource goes and what it is called there. */
export interface PlacedArgs {
    /**
     * The node: a name out of the stack config `containerd:nodes`, a `Host` of `~/.ssh/config`, or a Node. Default: the stack
     * config `containerd:node`; without any configured node, this machine (`localhost`, its
     * `/run/containerd/containerd.sock`).
     */
    node?: NodeRef;
    /** containerd's namespace. Default: the stack config `containerd:namespace`, else `default`. */
    namespace?: Optional<string>;
}

/** When containerd starts the process again by itself. */
export type Restart = "no" | "always" | "unless-stopped" | "on-failure" | `on-failure:${number}`;

/** How to find out whether the process does its work. Exactly one of `exec`, `http` and `tcp`. */
export type Health = HealthTiming &
    (
        | {
              /** A command inside the container; exit status 0 is healthy. Words of `self` are filled in. */
              exec: pulumi.Input<pulumi.Input<string>[]>;
              http?: never;
              tcp?: never;
          }
        | {
              /** A GET from the node to the container (with network `host`, to `127.0.0.1`); `status` defaults to any of 200 to 399. */
              http: { port: pulumi.Input<number>; path?: Optional<string>; status?: Optional<number> };
              exec?: never;
              tcp?: never;
          }
        | {
              /** A connection from the node to the container (with network `host`, to `127.0.0.1`). */
              tcp: { port: pulumi.Input<number> };
              exec?: never;
              http?: never;
          }
    );

/** How often, and how patiently, health is asked. The names are Docker's. */
export interface HealthTiming {
    /** Time between two probes. Default `"10s"`; while starting, every half second. */
    interval?: Duration;
    /** Time for one probe. Default `"5s"`. */
    timeout?: Duration;
    /** How many failures in a row, after `startPeriod`, mean unhealthy. Default 3. */
    retries?: Optional<number>;
    /** How long failures are forgiven after the start. Default `"30s"`. */
    startPeriod?: Duration;
}
