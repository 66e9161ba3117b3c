/** What went wrong with an SSH connection, as a sentence for the user. Pure. */
import { ContainerdError, type ErrorCode } from "../../errors";
import type { SshTarget } from "./target";

/** What ssh2 and the socket below it throw. */
export interface SshFailure {
    message: string;
    /** ssh2's: where it happened. */
    level?: string;
    /** An errno of the socket. */
    code?: string | number;
    /** Of a channel that was not opened: RFC 4254, 5.1. */
    reason?: string | number;
}

/** Whether the login was refused. Of too many offered keys sshd says so by a disconnect, to which ssh2 gives no level. */
export function isRefusedLogin({ level, message }: SshFailure): boolean {
    return level === "client-authentication" || /too many authentication failures/i.test(message);
}

/** Why no connection stands. `via` is the machine on the way. */
export function connectFailure(
    cause: SshFailure,
    { node, host, port, connectTimeout }: SshTarget,
    label: string,
    via?: string,
): ContainerdError {
    const error = (code: ErrorCode, reason: string) => new ContainerdError(code, reason, { node, cause });
    const through = via === undefined ? "" : ` (through ${via})`;
    if (cause.level === "agent") return error("Unauthorized", cause.message);
    if (cause.level === "client-timeout" || cause.code === "ETIMEDOUT") {
        return error(
            "Unreachable",
            `${label}${through} did not answer within ${connectTimeout / 1000} s: is the machine on, and is a firewall in between?`,
        );
    }
    switch (cause.code) {
        case "ENOTFOUND":
        case "EAI_AGAIN":
            return error("Unreachable", `no address is known for the host ${host}: is its name right (${cause.code})?`);
        case "ECONNREFUSED":
            return error(
                "Unreachable",
                `${label}${through} refuses connections: does sshd run there, and is port ${port} right?`,
            );
        case "EHOSTUNREACH":
        case "ENETUNREACH":
            return error("Unreachable", `there is no way to ${label}${through} (${cause.code}): is the network up?`);
    }
    if (/before handshake|closed the connection/i.test(cause.message) || cause.code === "ECONNRESET") {
        return error(
            "Unreachable",
            `${label}${through} closed the connection before the login: sshd's MaxStartups, a firewall, or something that is not sshd`,
        );
    }
    if (/no matching|handshake failed/i.test(cause.message)) {
        return error("Unsupported", `${label}: no common algorithm with this sshd (${cause.message})`);
    }
    return error("Unreachable", `no SSH connection to ${label}${through}: ${cause.message}`);
}

/** RFC 4254, 5.1: `SSH_OPEN_ADMINISTRATIVELY_PROHIBITED`, `SSH_OPEN_CONNECT_FAILED`. */
const PROHIBITED = 1;
const CONNECT_FAILED = 2;

/** What to do about an sshd that opens no streams. */
export const FORWARDING_FORBIDDEN =
    "the node's sshd forbids it: set `AllowStreamLocalForwarding yes` and `AllowTcpForwarding yes` (and no `DisableForwarding`) for this user in its " +
    "sshd_config, and no `restrict` or `no-port-forwarding` in authorized_keys; or set `dial` for this node";

/** Whether sshd tried to connect a stream further, and nobody answered there. It says the same of a unix socket that its settings forbid. */
export function isConnectFailure(cause: unknown): boolean {
    return Number((cause as SshFailure | undefined)?.reason) === CONNECT_FAILED;
}

/** Why a stream was not opened over a connection that stands. */
export function openFailure(what: string, cause: SshFailure, { node }: SshTarget): ContainerdError {
    const error = (code: ErrorCode, reason: string) => new ContainerdError(code, `${what}: ${reason}`, { node, cause });
    if (Number(cause.reason) === PROHIBITED || /administratively prohibited/i.test(cause.message)) {
        return error("Unsupported", FORWARDING_FORBIDDEN);
    }
    return error("Unreachable", cause.message);
}
