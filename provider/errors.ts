/**
 * The one error of this package. Every failure that a user can see is a `ContainerdError`: it says what failed, on which
 * node, because of which argument, and what to do; what it came from stands in `cause`.
 */

/** What kind of failure it is: few enough to switch over. */
export type ErrorCode =
    /** It is not there. */
    | "NotFound"
    /** Something of that name is there already. */
    | "AlreadyExists"
    /** The node, its containerd or a registry does not answer. Says nothing about what exists there. */
    | "Unreachable"
    /** Credentials are missing or refused. */
    | "Unauthorized"
    /** An argument is wrong; nothing was touched. */
    | "Invalid"
    /** The node (its kernel, containerd, runc) cannot do it. */
    | "Unsupported"
    /** It belongs to somebody else, or changed meanwhile. */
    | "Conflict"
    /** It took longer than allowed. */
    | "Timeout"
    /** It was tried and failed. */
    | "Failed";

/** Where an error happened and what it came from; all optional. */
export interface ErrorDetails {
    /** The node's name, as the program or the stack's config calls it. */
    node?: string;
    /** Path of the argument at fault, like `mounts["/data"].bind`. */
    property?: string;
    /** What this error came from. */
    cause?: unknown;
}

/**
 * A failure of this package.
 *
 * @example
 * throw new ContainerdError("NotFound", "no image docker.io/library/nginx:1.72: is the tag right?", { node: "edge-1" });
 */
export class ContainerdError extends Error {
    override readonly name = "ContainerdError";
    readonly code: ErrorCode;
    readonly node: string | undefined;
    readonly property: string | undefined;
    /** The message without the node and the property in front of it. */
    readonly reason: string;

    constructor(code: ErrorCode, reason: string, details: ErrorDetails = {}) {
        const where = [details.node && `node ${details.node}`, details.property].filter(Boolean).join(", ");
        super(where ? `${where}: ${reason}` : reason, { cause: details.cause });
        this.code = code;
        this.reason = reason;
        this.node = details.node;
        this.property = details.property;
    }

    /** The same error, with the node or property filled in where it has none yet. */
    with(details: Pick<ErrorDetails, "node" | "property">): ContainerdError {
        return new ContainerdError(this.code, this.reason, {
            node: this.node ?? details.node,
            property: this.property ?? details.property,
            cause: this.cause,
        });
    }

    /** Anything thrown, as a `ContainerdError`: itself if it is one, else `Failed` with it as the cause. */
    static from(thrown: unknown, details: ErrorDetails = {}): ContainerdError {
        if (thrown instanceof ContainerdError) return thrown.with(details);
        const reason = thrown instanceof Error ? thrown.message : String(thrown);
        return new ContainerdError("Failed", reason, { ...details, cause: thrown });
    }
}

/** Whether something thrown is a `ContainerdError` of one of these codes. */
export function hasCode(thrown: unknown, ...codes: ErrorCode[]): thrown is ContainerdError {
    return thrown instanceof ContainerdError && codes.includes(thrown.code);
}
