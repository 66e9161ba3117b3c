/** How to log in at a machine: the methods in order, and one attempt with them, as ssh2's `authHandler` wants it. */
import type { AuthenticationType, AuthHandlerMiddleware } from "ssh2";
import { ContainerdError } from "../../errors";
import type { Origin } from "./advice";
import { type AuthMethod, AuthMethods, type AuthSettings } from "./auth-methods";
import type { SshHost } from "./ssh-config";
import type { SshFiles } from "./ssh-files";

export type { AuthMethod, AuthSettings } from "./auth-methods";

/** How to log in. */
export interface Authentication {
    user: string;
    /** At least one, in order. */
    methods: AuthMethod[];
    /** What could not be used, a sentence each: for the message when the others were refused. */
    problems: string[];
}

/**
 * The ways to log in: the key in the config, key files, the agent's keys, the password.
 *
 * Keys are read and the agent is asked now. What the stack's config names and cannot be used is thrown (`NotFound`,
 * `Unauthorized`, `Invalid`, `Unsupported`); what only ssh_config or ssh's habits name is left out, with a sentence in `problems`.
 *
 * Where the stack's config names a key or a password, the agent of SSH_AUTH_SOCK and the usual files are not tried: a server
 * counts refused keys, and six of an agent's would be the end before the password's turn.
 *
 * @param node the node's name, for messages.
 * @param origin where `settings` stand, for messages.
 */
export async function prepareAuth(
    settings: AuthSettings,
    host: SshHost,
    files: SshFiles,
    node = host.name,
    origin: Origin = "config",
): Promise<Authentication> {
    const found = new AuthMethods({ node, origin }, settings, host, files);
    await found.collect();
    const { methods, problems } = found;
    if (methods.length === 0 && problems.length > 0) {
        throw new ContainerdError("Unauthorized", `no way to log in as ${host.user}: ${problems.join("; ")}`, { node });
    }
    // Nothing to show: some servers let in whom they know otherwise, the others say what they want.
    if (methods.length === 0) methods.push({ label: "none", method: { type: "none", username: host.user } });
    return { user: host.user, methods, problems };
}

/** One login: its state is for one connection. */
export interface AuthAttempt {
    /** ssh2's `authHandler`. */
    handler: AuthHandlerMiddleware;
    /** What to say when ssh2 fails at the level `client-authentication`. */
    failure(node: string): ContainerdError;
}

/** Each method once, in order, passing over those that the server said it does not take. */
export function authAttempt({ user, methods, problems }: Authentication): AuthAttempt {
    const left = [...methods];
    const tried: string[] = [];
    let accepted: readonly string[] | null = null;
    const takes = (type: AuthenticationType) =>
        accepted === null || type === "none" || accepted.includes(type === "agent" ? "publickey" : type);
    return {
        handler: (methodsLeft: readonly string[] | null) => {
            accepted = methodsLeft ?? accepted;
            while (left.length > 0) {
                const { label, method } = left.shift()!;
                if (!takes(method.type)) continue;
                tried.push(label);
                return method;
            }
            return false;
        },
        failure: (node) =>
            new ContainerdError(
                "Unauthorized",
                `the login as ${user} was refused; tried: ${tried.join(", ") || "nothing that the server takes"}` +
                    (accepted ? `; the server takes ${accepted.join(", ")}` : "") +
                    problems.map((problem) => `; ${problem}`).join("") +
                    (tried.every((label) => label === "none")
                        ? ". No key was found here: set `identityFile`, `password` or `agent` for this node, or IdentityFile in ~/.ssh/config"
                        : `. Is the public key in ~/.ssh/authorized_keys of ${user} there, and is ${user} the right user?`),
                { node },
            ),
    };
}
