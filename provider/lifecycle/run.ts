/**
 * One run of the engine: its config, its connections to nodes, and what was looked up already, so that nothing is asked twice.
 */
import { randomBytes } from "node:crypto";
import { Client, type Marks } from "../containerd/client";
import { ContainerdError } from "../errors";
import { RegistryClient } from "../registry/client";
import type { Transport } from "../transport/transport";
import { unixTransport } from "../transport/unix";
import { RUN_LABEL, STACK_LABEL, stackOfUrn } from "./leases";
import { nodeSettings, type Settings } from "./settings";

/** Tells the user what goes on. */
export interface Reporter {
    /** A short-lived line on the resource's own row; an empty one when done. */
    progress(owner: string, text: string): void;
    /** A warning that stays. */
    warn(owner: string, text: string): void;
}

/** What a run of the engine shares among all resources. */
export class Run {
    readonly #transports = new Map<string, Transport>();
    #registries: RegistryClient | undefined;
    readonly #remembered = new Map<string, unknown>();
    /** Tells what this run makes for a moment from what killed ones left. */
    readonly id = randomBytes(6).toString("hex");
    #stack = "";

    constructor(
        readonly settings: Settings,
        readonly report: Reporter,
    ) {}

    /** Which stack this run is of, as its resources' URNs begin; known from the first one that is worked on. */
    get stack(): string {
        return this.#stack;
    }

    /** Hears the URN of a resource that is worked on. */
    serve(owner: string | undefined): void {
        if (owner !== undefined) this.#stack ||= stackOfUrn(owner);
    }

    /** A client of a node's containerd, in one of its namespaces. Throws `Unreachable`, `NotFound`. */
    client(node: string, namespace: string): Promise<Client> {
        return this.once(`client ${node} ${namespace}`, () => {
            const marks: Marks = this.stack ? { [STACK_LABEL]: this.stack, [RUN_LABEL]: this.id } : {};
            return Client.connect(this.transport(node), namespace, marks);
        });
    }

    /** How a node is reached: one connection a node and run. Throws `NotFound`, `Unsupported`. */
    transport(node: string): Transport {
        const known = this.#transports.get(node);
        if (known) return known;
        const { host, socket } = nodeSettings(this.settings, node);
        if (host !== undefined || socket === undefined) {
            throw new ContainerdError(
                "Unsupported",
                "this version reaches nodes by a `socket` on this machine only, not by SSH",
                {
                    node,
                    property: `config containerd:nodes.${node}.host`,
                },
            );
        }
        const transport = unixTransport(node, socket);
        this.#transports.set(node, transport);
        return transport;
    }

    /** A client of the registries as the stack's config and Docker's describe them. */
    get registries(): RegistryClient {
        return (this.#registries ??= new RegistryClient({ registries: this.settings.registries }));
    }

    /** The value under a key: made once a run, also when asked for twice at the same time. A failure is not kept. */
    once<T>(key: string, make: () => Promise<T>): Promise<T> {
        const kept = this.#remembered.get(key) as Promise<T> | undefined;
        if (kept) return kept;
        const made = make();
        this.#remembered.set(key, made);
        made.catch(() => this.#remembered.delete(key));
        return made;
    }

    /** The value under a key, as first set in this run: later ones do not change it. */
    first<T>(key: string, value: T): T {
        if (!this.#remembered.has(key)) this.#remembered.set(key, value);
        return this.#remembered.get(key) as T;
    }

    /** What {@link first} was given under a key, if it was. */
    remembered<T>(key: string): T | undefined {
        return this.#remembered.get(key) as T | undefined;
    }
}
