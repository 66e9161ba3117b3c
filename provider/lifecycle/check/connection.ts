/** The descriptions of how a machine is reached: in the config `containerd:nodes`, and as a Node's `connection`. */
import { ContainerdError } from "../../errors";
import { parsePinnedKey } from "../../transport/ssh/pinned-key";
import * as s from "./schema";

function absolute(path: string): string | undefined {
    return path.startsWith("/") ? undefined : "must be an absolute path";
}

/** What could be taken for an option or another word, on its way to ssh_config or a resolver. */
function hostProblem(host: string): string | undefined {
    if (/^[^\s,/@-][^\s,/@]*$/.test(host)) return undefined;
    if (host.includes("@")) return "is a host alone: the user goes into `user`";
    return "must be a host name or an address";
}

function pinProblem(hostKey: string): string | undefined {
    try {
        parsePinnedKey(hostKey);
        return undefined;
    } catch (error) {
        return ContainerdError.from(error).reason;
    }
}

/** Secret parts: not in `containerd:nodes`, which is no secret. */
export const secretArguments = {
    privateKey: s.optional(s.text("a private key")),
    passphrase: s.optional(s.text()),
    password: s.optional(s.text()),
};

export const connectionArguments = {
    ...secretArguments,
    host: s.text("a host name or address", hostProblem),
    port: s.optional(s.number({ min: 1, max: 65535 })),
    user: s.optional(s.text()),
    identityFile: s.optional(s.text("a path")),
    agent: s.optional(s.text("the path of an agent's socket")),
    certificate: s.optional(s.text("a path")),
    hostKey: s.optional(s.text("a host key", pinProblem)),
    jump: s.optional(s.text('a host to go through, like "user@host:port"')),
    socket: s.optional(s.text("an absolute path", absolute)),
    dial: s.optional(s.text("a command", (value) => (value.trim() ? undefined : "must not be empty"))),
};

export const capacityArgument = s.object({
    cpus: s.optional(s.number({ min: 0, fraction: true })),
    memory: s.optional(s.size()),
});
