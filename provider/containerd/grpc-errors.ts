/**
 * What a failed call to containerd means: gRPC's status, and the text beside it, as a `ContainerdError`.
 * Pure; the table test beside it shows every case.
 */
import { ContainerdError, type ErrorCode } from "../errors";

/** Where a call went and what it was about. */
export interface CallContext {
    /** The node's name. */
    node: string;
    /** Service and method, like `containers.create`. */
    method: string;
    /** What the call is about, like a container's id. Empty when there is nothing to name. */
    subject?: string;
    /** Path of the argument that led to the call. */
    property?: string;
    /** Path of containerd's socket on the node, for messages. */
    socket?: string;
    /** The deadline, in milliseconds. */
    timeout?: number;
}

/** The part of grpc-js's `ServiceError` that counts here. */
export interface GrpcFailure {
    code: number;
    details: string;
}

/** gRPC's status codes by number (grpc-js's enum would load grpc-js). */
const OK_TO_UNAUTHENTICATED = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
] as const;

const CODES: Partial<Record<(typeof OK_TO_UNAUTHENTICATED)[number], ErrorCode>> = {
    NOT_FOUND: "NotFound",
    ALREADY_EXISTS: "AlreadyExists",
    UNAVAILABLE: "Unreachable",
    DEADLINE_EXCEEDED: "Timeout",
    UNAUTHENTICATED: "Unauthorized",
    PERMISSION_DENIED: "Unauthorized",
    INVALID_ARGUMENT: "Invalid",
    UNIMPLEMENTED: "Unsupported",
    FAILED_PRECONDITION: "Conflict",
};

/** A failed call as the one error of this package. `cause` is what grpc-js threw. */
export function fromGrpc(failure: GrpcFailure, context: CallContext, cause: unknown = failure): ContainerdError {
    const status = OK_TO_UNAUTHENTICATED[failure.code] ?? "UNKNOWN";
    const details = failure.details.trim() || status;
    const { node, property } = context;
    const what = [context.method, context.subject].filter(Boolean).join(" ");
    const error = (code: ErrorCode, reason: string) =>
        new ContainerdError(code, `${what}: ${reason}`, { node, property, cause });

    if (status === "UNAVAILABLE") {
        // A second writer on the same ref of the content store: containerd is well, somebody else is at it.
        if (/\blocked\b/.test(details)) return error("Conflict", `another process is writing it: ${details}`);
        return error("Unreachable", unreachable(details, context.socket));
    }
    // containerd has the deadline too, and where its side of the clock is first, it says so in words of its own.
    if (status === "DEADLINE_EXCEEDED" || (status !== "OK" && /\bdeadline exceeded\b/i.test(details))) {
        const within = context.timeout === undefined ? "in time" : `within ${context.timeout / 1000} s`;
        return error("Timeout", `containerd did not answer ${within}`);
    }
    if (status === "UNIMPLEMENTED")
        return error("Unsupported", `this version of containerd does not have it (${details})`);
    if (status === "CANCELLED") return error("Failed", `cancelled (${details})`);
    return error(CODES[status] ?? "Failed", details);
}

/** Why nobody answers, from the text of an errno (`connect ENOENT /x/y`) or of a lost connection. */
export function unreachable(details: string, path?: string): string {
    const socket = ["containerd's socket", path].filter(Boolean).join(" ");
    switch (/\bE[A-Z]{4,}\b/.exec(details)?.[0]) {
        case "ENOENT":
        case "ENOTDIR":
            return `${socket} does not exist: is containerd running?`;
        case "EACCES":
        case "EPERM":
            return `permission to open ${socket} was denied: run as a user who may, usually root`;
        case "ECONNREFUSED":
            return `${socket} refuses connections: is containerd running?`;
        case "ENOTSOCK":
        case "EPROTOTYPE":
            return `${socket} is not a stream socket: is the path right?`;
        case "ECONNRESET":
        case "EPIPE":
            return `${socket} was closed in the middle of the call: did containerd stop? What it had begun may be done`;
        case undefined:
            break;
        default:
            return `${socket} does not answer: ${details}`;
    }
    if (
        /connection (dropped|closed|reset)|socket (closed|hang up)|stream removed|goaway|RST_STREAM|channel has been shut down/i.test(
            details,
        )
    )
        return `${socket} was closed in the middle of the call: did containerd stop? What it had begun may be done`;
    return `${socket} does not answer: ${details}`;
}

/** What a request is about, for messages: the first of its fields that names something. */
export function subjectOf(request: object): string {
    const fields = request as Readonly<Record<string, unknown>>;
    for (const key of ["id", "container_id", "name", "key", "digest", "ref"]) {
        const value = fields[key];
        if (typeof value !== "string" || value === "") continue;
        const exec = fields["exec_id"];
        return key === "container_id" && typeof exec === "string" && exec ? `${value}/${exec}` : value;
    }
    for (const key of ["container", "image", "namespace", "info", "diff", "resource"]) {
        const inner = fields[key];
        if (inner && typeof inner === "object") return subjectOf(inner);
    }
    return "";
}
