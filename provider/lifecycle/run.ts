/**
 * One run of the engine: its config, its connections to nodes, and what was looked up already, so that nothing is asked twice.
 */
import { randomBytes } from "node:crypto";
import { Client, type Marks } from "../containerd/client";
import { BlobCache } from "../registry/blob-cache";
import { RegistryClient } from "../registry/client";
import { SshPool } from "../transport/ssh/pool";
import { type ConnectionSettings, DEFAULT_SOCKET } from "../transport/ssh/settings";
import type { SshFiles } from "../transport/ssh/ssh-files";
import type { Transport } from "../transport/transport";
import { unixTransport } from "../transport/unix";
import { RUN_LABEL, STACK_LABEL, stackOfUrn } from "./leases";
import { mayDeleteUnreachable, nodeSettings, type Settings } from "./settings";

/** How long a node may take to say that it is there. Milliseconds. */
const ANSWER_TIMEOUT = 10_000;

/** Tells the user what goes on. */
export interface Reporter {
    /** A short-lived line on the resource's own row; an empty one when done. */
    progress(owner: string, text: string): void;
    /** A warning that stays. */
    warn(owner: string, text: string): void;
}

/** What the resource that is worked on says about its node, beside the name: of a node that is a resource of the program. */
export interface Whereabouts {
    node?: string;
    claim?: string;
    connection?: ConnectionSettings;
}

/** What a run of the engine shares among all resources. */
class Shared {
    readonly transports = new Map<string, Transport>();
    readonly remembered = new Map<string, unknown>();
    readonly perConnection = new WeakMap<object, Map<string, Promise<unknown>>>();
    readonly pool: SshPool;
    readonly lost = new Set<string>();
    /** UUIDs of the claims that the state has. */
    readonly claims = new Set<string>();
    /** How the Nodes of these claims are reached now. */
    readonly connections = new Map<string, ConnectionSettings>();
    registries: RegistryClient | undefined;
    blobs: BlobCache | undefined;
    stack = "";

    constructor(settings: Settings, files: SshFiles) {
        this.pool = new SshPool(files, (name) => {
            const known = Object.hasOwn(settings.nodes, name) ? nodeSettings(settings, name) : undefined;
            return known?.host === undefined ? undefined : { ...known, host: known.host };
        });
    }
}

/** One run of the engine, as one resource sees it. */
export class Run {
    /** Tells what this run makes for a moment from what killed ones left. */
    readonly id: string;

    private constructor(
        readonly settings: Settings,
        readonly report: Reporter,
        private readonly shared: Shared,
        private readonly whereabouts: Whereabouts,
        id: string,
    ) {
        this.id = id;
    }

    /** @param files OpenSSH's own configuration, for nodes that are reached by SSH. */
    static start(settings: Settings, report: Reporter, files: SshFiles): Run {
        return new Run(settings, report, new Shared(settings, files), {}, randomBytes(6).toString("hex"));
    }

    /** The same run for one resource: its node may be reached as the resource itself says. */
    for(resource: Whereabouts & { owner?: unknown }): Run {
        if (typeof resource.owner === "string") this.shared.stack ||= stackOfUrn(resource.owner);
        const { node, claim, connection } = resource;
        return new Run(this.settings, this.report, this.shared, { node, claim, connection }, this.id);
    }

    /** Which stack this run is of, as its resources' URNs begin; known from the first one that is worked on. */
    get stack(): string {
        return this.shared.stack;
    }

    /** A client of a node's containerd, in one of its namespaces. Throws `Unreachable`, `Unauthorized`, `NotFound`. */
    client(node: string, namespace: string): Promise<Client> {
        return this.once(`client ${this.#keyOf(node)} ${namespace}`, () => {
            const marks: Marks = this.stack ? { [STACK_LABEL]: this.stack, [RUN_LABEL]: this.id } : {};
            return Client.connect(this.transport(node), namespace, marks);
        });
    }

    /** How a node is reached: one connection a node and run. Throws `NotFound`, `Invalid`, `Unsupported`. */
    transport(node: string): Transport {
        const key = this.#keyOf(node);
        const known = this.shared.transports.get(key);
        if (known) return known;
        const own = this.#connectionTo(node);
        const {
            host,
            socket = DEFAULT_SOCKET,
            ...rest
        }: Partial<ConnectionSettings> = own ?? nodeSettings(this.settings, node);
        const transport =
            host === undefined
                ? unixTransport(node, socket)
                : this.shared.pool.transport(node, { ...rest, host, socket }, own ? "connection" : "config");
        this.shared.transports.set(key, transport);
        return transport;
    }

    /** A machine that was made anew under the same name is another one. */
    #keyOf(node: string): string {
        const connection = this.#connectionTo(node);
        return connection ? `${node} ${JSON.stringify(connection)}` : node;
    }

    /** How the resource's own Node is reached: what its state says may be older than what the Node says. */
    #connectionTo(node: string): ConnectionSettings | undefined {
        const { node: own, claim, connection } = this.whereabouts;
        if (node !== own || !connection) return undefined;
        return this.shared.connections.get(claim ?? "") ?? connection;
    }

    /** Hears how the Node of a claim is reached, from the Node itself. */
    noteConnection(claim: string, connection: ConnectionSettings): void {
        this.shared.connections.set(claim, connection);
    }

    /** Hears of a claim that the state has. */
    noteClaim(claim: string): void {
        this.shared.claims.add(claim);
    }

    /** Whether a claim is one of this state's, as far as the Nodes that this run has looked at tell. */
    hasClaim(claim: string): boolean {
        return this.shared.claims.has(claim);
    }

    /** Whether a node's containerd answers now. */
    async answers(node: string): Promise<boolean> {
        try {
            const client = await this.client(node, "default");
            await client.version.version({}, { timeout: ANSWER_TIMEOUT });
            return true;
        } catch {
            // Why it does not, whoever asks knows already.
            return false;
        }
    }

    /** Whether what lies on a node that does not answer may be dropped from the state. */
    mayDeleteUnreachable(node: string): boolean {
        return mayDeleteUnreachable(this.settings, node);
    }

    /** Hears that a Node is declared lost; what lies on it may be deleted later in this run, and knows nothing of it yet. */
    declareLost(node: string, claim: string): void {
        this.shared.lost.add(`${node} ${claim}`);
    }

    /** Whether that was declared in this run. */
    isLost(node: string, claim: string): boolean {
        return this.shared.lost.has(`${node} ${claim}`);
    }

    /** A client of the registries as the stack's config and Docker's describe them. */
    get registries(): RegistryClient {
        return (this.shared.registries ??= new RegistryClient({ registries: this.settings.registries }));
    }

    /**
     * The cache of blobs that nodes do not pull by themselves; undefined where it is turned off, and while the stack has one node
     * alone: writing and checking each byte takes a twentieth of a pull or more, and nobody else would have use of it.
     *
     * @param owner of the resource on whose row is said, once a run, that it can't be used
     */
    blobCache(owner: string): BlobCache | undefined {
        const { cache = {}, nodes } = this.settings;
        const several = Math.max(Object.keys(nodes).length, this.shared.transports.size) > 1;
        if (cache.size === 0 || !several) return undefined;
        return (this.shared.blobs ??= new BlobCache({
            ...cache,
            onUnusable: (reason) =>
                void this.once("blob cache", async () =>
                    this.report.warn(
                        owner,
                        `the cache of images on this machine can't be used, so each node's are downloaded anew: ${reason}. ` +
                            "Where it lies and how much it holds is set by `pulumi config set --path containerd:cache.folder` and `.size`; 0 turns it off",
                    ),
                ),
        }));
    }

    /** The value under a key: made once a run, also when asked for twice at the same time. A failure is not kept. */
    once<T>(key: string, make: () => Promise<T>): Promise<T> {
        return onceIn(this.shared.remembered as Map<string, Promise<unknown>>, key, make);
    }

    /** The same, once a run, node and namespace. */
    onceAt<T>(client: Client, key: string, make: () => Promise<T>): Promise<T> {
        const { perConnection } = this.shared;
        const kept = perConnection.get(client.connection) ?? new Map<string, Promise<unknown>>();
        perConnection.set(client.connection, kept);
        return onceIn(kept, `${client.namespace} ${key}`, make);
    }

    /** The value under a key, as first set in this run: later ones do not change it. */
    first<T>(key: string, value: T): T {
        const { remembered } = this.shared;
        if (!remembered.has(key)) remembered.set(key, value);
        return remembered.get(key) as T;
    }

    /** What {@link first} was given under a key, if it was. */
    remembered<T>(key: string): T | undefined {
        return this.shared.remembered.get(key) as T | undefined;
    }

    /** Gives up all connections. The engine ends the provider without this; other callers are polite. */
    async close(): Promise<void> {
        await Promise.all([...this.shared.transports.values()].map((transport) => transport.close()));
    }
}

function onceIn<T>(kept: Map<string, Promise<unknown>>, key: string, make: () => Promise<T>): Promise<T> {
    const found = kept.get(key) as Promise<T> | undefined;
    if (found) return found;
    const made = make();
    kept.set(key, made);
    made.catch(() => kept.delete(key));
    return made;
}
