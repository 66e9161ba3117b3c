/** Keys of an SSH agent: asked for once, before a connection, so that an agent that is gone is an error of its own. */
import { BaseAgent, createAgent, type ParsedKey, type SignCallback, type SigningRequestOptions } from "ssh2";
import { ContainerdError } from "../../errors";
import { fingerprint } from "./known-hosts";
import type { SshAgentSource } from "./ssh-config";

/** An agent answers at once: it lists keys without asking anybody. */
const TIMEOUT = 5_000;

/**
 * The keys that an agent has and that ssh2 can use (no hardware tokens, no certificates). Throws `Unauthorized` when nothing
 * answers.
 */
export async function agentKeys({ path, from }: SshAgentSource): Promise<ParsedKey[]> {
    const gone = (why: string, cause?: unknown) =>
        new ContainerdError(
            "Unauthorized",
            `the SSH agent of ${from} ${why}: start one (\`eval "$(ssh-agent)"; ssh-add\`), or give the node an identityFile`,
            { cause },
        );
    if (path === undefined)
        throw gone(from === "SSH_AUTH_SOCK" ? "is not there: that variable is not set" : "is not set");
    return new Promise((resolve, reject) => {
        const late = () => reject(gone(`(${path}) does not answer within ${TIMEOUT / 1000} s`));
        const timer = setTimeout(late, TIMEOUT);
        createAgent(path).getIdentities((error, keys) => {
            clearTimeout(timer);
            if (error) reject(gone(`(${path}) does not answer`, error));
            else resolve((keys ?? []) as ParsedKey[]);
        });
    });
}

/** Some of an agent's keys, as an agent for ssh2: it offers those and no others, in this order. */
export class ChosenKeys extends BaseAgent<ParsedKey> {
    readonly #source: SshAgentSource;

    constructor(
        source: SshAgentSource & { path: string },
        readonly keys: readonly ParsedKey[],
    ) {
        super();
        this.#source = source;
    }

    getIdentities(done: (error?: Error | null, keys?: ParsedKey[]) => void): void {
        done(null, [...this.keys]);
    }

    sign(key: ParsedKey, data: Buffer, options: SigningRequestOptions | SignCallback, done?: SignCallback): void {
        const [said, reply] = typeof options === "function" ? [{}, options] : [options, done];
        createAgent(this.#source.path!).sign(key, data, said, (error, signature) => {
            if (!error) return reply?.(null, signature);
            const which = fingerprint(key.getPublicSSH());
            reply?.(
                new ContainerdError(
                    "Unauthorized",
                    `the SSH agent of ${this.#source.from} does not sign with its key ${which}: is it locked, or does it ask for ` +
                        "confirmation?",
                    { cause: error },
                ),
            );
        });
    }
}
