/**
 * The services of containerd, as types: promises for unary calls, async iterables for streams, made from the generated
 * types, so that a wrong field does not compile. Here is no code that runs but the table of names.
 */
import type { ClientDuplexStream, ClientReadableStream } from "@grpc/grpc-js";
import type { ContainersClient, ContainersDefinition } from "./generated/containerd/services/containers/v1/Containers";
import type { ContentClient, ContentDefinition } from "./generated/containerd/services/content/v1/Content";
import type { DiffClient, DiffDefinition } from "./generated/containerd/services/diff/v1/Diff";
import type { EventsClient, EventsDefinition } from "./generated/containerd/services/events/v1/Events";
import type { ImagesClient, ImagesDefinition } from "./generated/containerd/services/images/v1/Images";
import type {
    IntrospectionClient,
    IntrospectionDefinition,
} from "./generated/containerd/services/introspection/v1/Introspection";
import type { LeasesClient, LeasesDefinition } from "./generated/containerd/services/leases/v1/Leases";
import type { NamespacesClient, NamespacesDefinition } from "./generated/containerd/services/namespaces/v1/Namespaces";
import type { SnapshotsClient, SnapshotsDefinition } from "./generated/containerd/services/snapshots/v1/Snapshots";
import type { StreamingClient, StreamingDefinition } from "./generated/containerd/services/streaming/v1/Streaming";
import type { TasksClient, TasksDefinition } from "./generated/containerd/services/tasks/v1/Tasks";
import type { TransferClient, TransferDefinition } from "./generated/containerd/services/transfer/v1/Transfer";
import type { VersionClient, VersionDefinition } from "./generated/containerd/services/version/v1/Version";

/** What one call may be told. */
export interface CallOptions {
    /**
     * Milliseconds until the call is given up with `Timeout`. Default 30,000; `Infinity` for none. Streams that have no
     * natural end (`content.read`, `content.write`, `events.subscribe`, `streaming.stream`) have none by default.
     */
    timeout?: number;
    /** The lease that keeps what this call makes. Default: the client's (see `Client.withLease`), else none. */
    lease?: string;
    /** Cancels the call. It fails then with `Failed`, and the signal's reason as the cause. */
    signal?: AbortSignal;
    /** Path of the user's argument that the call is about, for the error. */
    property?: string;
}

/** Messages from containerd, in order. The call has begun already; leaving a loop over it cancels it. One loop only. */
export interface ServerStream<Response> extends AsyncIterable<Response> {
    /** Ends the call early. A loop over it ends without an error. */
    cancel(): void;
}

/** A call with messages both ways. */
export interface DuplexCall<Request, Response> extends ServerStream<Response> {
    /** Sends a message; resolves once it is handed to the connection, which is what bounds memory. */
    send(request: Request): Promise<void>;
    /** Says that nothing more will be sent. */
    end(): void;
}

/** The method names of a generated definition, without its index signature. */
type MethodNames<D> = keyof { [M in keyof D as string extends M ? never : number extends M ? never : M]: true } &
    string;

/** One method: `C`, the generated client interface, tells by its overloads which way it streams. */
type Method<C, M extends keyof C, D> = C[M] extends (...args: never[]) => ClientDuplexStream<never, unknown>
    ? (options?: CallOptions) => DuplexCall<RequestOf<D>, ResponseOf<D>>
    : C[M] extends (...args: never[]) => ClientReadableStream<unknown>
      ? (request: RequestOf<D>, options?: CallOptions) => ServerStream<ResponseOf<D>>
      : (request: RequestOf<D>, options?: CallOptions) => Promise<ResponseOf<D>>;

/** What a method's definition takes, and what comes back. */
type RequestOf<D> = D extends { requestSerialize: (value: infer Request) => Buffer } ? Request : never;
type ResponseOf<D> = D extends { responseDeserialize: (bytes: Buffer) => infer Response } ? Response : never;

/**
 * A service with its methods in lower camel case. Unary methods are `(request, options?) => Promise<Response>` and throw
 * `ContainerdError`; methods with a stream of answers give a {@link ServerStream}, those with both a {@link DuplexCall}.
 */
export type Service<D, C> = {
    readonly [M in MethodNames<D> as Uncapitalize<M>]: M extends keyof C ? Method<C, M, D[M]> : never;
};

/** Name of each service on the wire; the key is its name in {@link Services} and in messages. */
export const SERVICE_NAMES = {
    containers: "containerd.services.containers.v1.Containers",
    tasks: "containerd.services.tasks.v1.Tasks",
    images: "containerd.services.images.v1.Images",
    content: "containerd.services.content.v1.Content",
    snapshots: "containerd.services.snapshots.v1.Snapshots",
    diff: "containerd.services.diff.v1.Diff",
    leases: "containerd.services.leases.v1.Leases",
    namespaces: "containerd.services.namespaces.v1.Namespaces",
    version: "containerd.services.version.v1.Version",
    introspection: "containerd.services.introspection.v1.Introspection",
    events: "containerd.services.events.v1.Events",
    streaming: "containerd.services.streaming.v1.Streaming",
    transfer: "containerd.services.transfer.v1.Transfer",
} as const;

/** All services that this package uses. */
export interface Services {
    containers: Service<ContainersDefinition, ContainersClient>;
    tasks: Service<TasksDefinition, TasksClient>;
    images: Service<ImagesDefinition, ImagesClient>;
    content: Service<ContentDefinition, ContentClient>;
    snapshots: Service<SnapshotsDefinition, SnapshotsClient>;
    diff: Service<DiffDefinition, DiffClient>;
    leases: Service<LeasesDefinition, LeasesClient>;
    namespaces: Service<NamespacesDefinition, NamespacesClient>;
    version: Service<VersionDefinition, VersionClient>;
    introspection: Service<IntrospectionDefinition, IntrospectionClient>;
    events: Service<EventsDefinition, EventsClient>;
    streaming: Service<StreamingDefinition, StreamingClient>;
    /** containerd 1.7 and later. */
    transfer: Service<TransferDefinition, TransferClient>;
}
