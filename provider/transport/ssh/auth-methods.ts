/** The ways to log in at a machine, from the stack's config and ssh_config: keys, an agent's keys, a password. */
import type { AnyAuthMethod, AuthenticationType, KeyboardInteractiveAuthMethod, ParsedKey } from "ssh2";
import { ContainerdError } from "../../errors";
import { type Origin, passphraseOf, settingName } from "./advice";
import { agentKeys, ChosenKeys } from "./agent";
import { readIdentity, readPublicKey } from "./identity";
import { fingerprint } from "./known-hosts";
import type { SshAgentSource, SshHost } from "./ssh-config";
import { expandHome } from "./ssh-config-values";
import type { SshFiles } from "./ssh-files";

/** A method of ssh2's, and what it is called in messages, without any secret. */
export interface AuthMethod {
    /** Like `publickey (~/.ssh/id_ed25519, SHA256:…)`. */
    label: string;
    method: AnyAuthMethod & { type: AuthenticationType };
}

/** What the stack's config says of the credentials (`containerd:nodes`, and `containerd:credentials` for the secret ones). */
export interface AuthSettings {
    /** Path of a private key, or several; `~` is the home. Instead of what ssh_config says. */
    identityFile?: string | readonly string[];
    /** A private key's text. */
    privateKey?: string;
    /** Opens the keys that are locked. */
    passphrase?: string;
    password?: string;
    /** Path of an agent's socket, `SSH_AUTH_SOCK`, or `none`. Default: as ssh_config says. */
    agent?: string;
    /** Path of an OpenSSH certificate. */
    certificate?: string;
}

/** ssh's own, less those of hardware tokens. */
const USUAL_IDENTITIES = ["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"];

/** Collects the ways to log in. See `prepareAuth`. */
export class AuthMethods {
    readonly methods: AuthMethod[] = [];
    readonly problems: string[] = [];
    /** Public keys that are used, or named: what IdentitiesOnly lets through of an agent's. */
    readonly #used: Buffer[] = [];
    readonly #named: Buffer[] = [];
    #agent: Promise<ParsedKey[]> | undefined;

    constructor(
        readonly of: { node: string; origin: Origin },
        readonly settings: AuthSettings,
        readonly host: SshHost,
        readonly files: SshFiles,
    ) {}

    async collect(): Promise<void> {
        const { settings, host } = this;
        if (settings.certificate !== undefined) throw this.#noCertificate(settings.certificate);
        for (const path of host.certificateFiles) this.#passOver(path);
        if (settings.privateKey !== undefined) {
            const property = this.#name("privateKey");
            await this.#said(property, () => this.#key(settings.privateKey!, "the key", undefined));
        }
        const said = settings.identityFile;
        const own = said === undefined ? undefined : typeof said === "string" ? [said] : said;
        const property = this.#name("identityFile");
        for (const path of own ?? []) await this.#said(property, () => this.#file(path, true));
        const keyGiven = own !== undefined || settings.privateKey !== undefined;
        if (!keyGiven) {
            for (const path of host.identityFiles ?? []) await this.#tried(() => this.#file(path, true));
            // With a password in the config, the usual files are not tried.
            if (host.identityFiles === undefined && settings.password === undefined) {
                for (const path of USUAL_IDENTITIES) await this.#tried(() => this.#file(path, false));
            }
        }
        await this.#agentMethod(keyGiven || settings.password !== undefined);
        this.#password();
    }

    #name(setting: "privateKey" | "identityFile" | "agent" | "certificate"): string {
        return settingName(this.of.node, setting, this.of.origin);
    }

    /** What the stack's config, or the Node, says has to work. */
    async #said(property: string, add: () => Promise<void>): Promise<void> {
        try {
            await add();
        } catch (thrown) {
            throw ContainerdError.from(thrown, { node: this.of.node, property });
        }
    }

    /** What others say is tried. */
    async #tried(add: () => Promise<void>): Promise<void> {
        try {
            await add();
        } catch (thrown) {
            this.problems.push(ContainerdError.from(thrown).reason);
        }
    }

    async #file(said: string, wanted: boolean): Promise<void> {
        const path = expandHome(said, this.files.home);
        const text = this.files.read(path);
        const pub = this.files.read(`${path}.pub`);
        const publicKey = pub === undefined ? undefined : readPublicKey(pub);
        // ssh takes the certificate that lies beside a key.
        if (this.files.read(`${path}-cert.pub`) !== undefined) this.#passOver(`${path}-cert.pub`);
        if (text !== undefined) return this.#key(text, `the key ${path}`, publicKey);
        // As ssh: the public half alone chooses a key of the agent's.
        if (publicKey && (await this.#fromAgent(publicKey, path))) return;
        if (wanted) throw new ContainerdError("NotFound", `there is no key file ${path}`);
    }

    async #key(text: string, what: string, beside: Buffer | undefined): Promise<void> {
        const identity = readIdentity(text, what, this.settings.passphrase);
        const label = what === "the key" ? "of the stack's config" : what.replace("the key ", "");
        if (identity.kind === "private") {
            const { key } = identity;
            this.#used.push(key.getPublicSSH());
            this.#add(`publickey (${label}, ${fingerprint(key.getPublicSSH())})`, { type: "publickey", key });
            return;
        }
        const publicKey = identity.publicKey ?? beside;
        if (publicKey && (await this.#fromAgent(publicKey, label))) return;
        if (identity.kind === "public") {
            throw new ContainerdError(
                "Invalid",
                `${what} is a public key, and no agent has its other half: give the private one`,
            );
        }
        throw new ContainerdError(
            "Unauthorized",
            `${what} is locked by a passphrase, and none is given: ` +
                `${passphraseOf(this.of.node, this.of.origin)}, or put the key into an agent (ssh-add)`,
        );
    }

    /** Takes one key from the agent; `false` when it does not have it. */
    async #fromAgent(publicKey: Buffer, label: string): Promise<boolean> {
        this.#named.push(publicKey);
        const source = this.#source();
        if (source === undefined) return false;
        const keys = await this.#keys(source).catch(() => []);
        const key = keys.find((one) => one.getPublicSSH().equals(publicKey));
        if (!key) return false;
        this.#used.push(publicKey);
        const agent = new ChosenKeys(source, [key]);
        this.#add(`publickey (${label}, ${fingerprint(publicKey)}, by the agent of ${source.from})`, {
            type: "agent",
            agent,
        });
        return true;
    }

    async #agentMethod(othersGiven: boolean): Promise<void> {
        const { agent } = this.settings;
        const said = agent !== undefined && agent !== "none";
        const source = this.#source();
        if (source === undefined) {
            // Only a wanted agent that is not there is worth a word.
            if (said) await this.#said(this.#name("agent"), () => this.#offer(this.#wanted()));
            return;
        }
        if (said) return this.#said(this.#name("agent"), () => this.#offer(source));
        if (othersGiven && source.from === "SSH_AUTH_SOCK") return;
        await this.#tried(() => this.#offer(source));
    }

    async #offer(source: SshAgentSource): Promise<void> {
        const keys = await this.#keys(source);
        const among = (list: readonly Buffer[]) => (key: ParsedKey) =>
            list.some((one) => one.equals(key.getPublicSSH()));
        const only = this.host.identitiesOnly && this.settings.agent === undefined;
        const usable = keys.filter((key) => !among(this.#used)(key) && (!only || among(this.#named)(key)));
        if (usable.length > 0 && source.path !== undefined) {
            const agent = new ChosenKeys({ ...source, path: source.path }, usable);
            this.#add(`publickey (${usable.length} of the agent of ${source.from})`, { type: "agent", agent });
        } else if (keys.length === 0) {
            throw new ContainerdError(
                "Unauthorized",
                `the SSH agent of ${source.from} has no key that can be used here: ssh-add`,
            );
        }
    }

    /** Where the agent is, if one is to be asked and its path is known. */
    #source(): (SshAgentSource & { path: string }) | undefined {
        const { path, from } = this.#wanted();
        return path === undefined ? undefined : { path, from };
    }

    #wanted(): SshAgentSource {
        const { agent } = this.settings;
        if (agent === undefined) return this.host.identityAgent;
        if (agent === "none") return { path: undefined, from: "the stack's config" };
        if (agent === "SSH_AUTH_SOCK") {
            return { path: this.files.env.SSH_AUTH_SOCK || undefined, from: "SSH_AUTH_SOCK" };
        }
        return { path: expandHome(agent, this.files.home), from: "the stack's config" };
    }

    /** Asked once, whoever wants to know. */
    #keys(source: SshAgentSource): Promise<ParsedKey[]> {
        return (this.#agent ??= agentKeys(source));
    }

    #password(): void {
        const { password } = this.settings;
        if (password === undefined) return;
        this.#add("password", { type: "password", password });
        // PAM asks in this way where sshd's own password method is off. An answer that would be shown is none of ours.
        const prompt: KeyboardInteractiveAuthMethod["prompt"] = (_name, _instructions, _lang, prompts, finish) =>
            finish(prompts.map(({ echo }) => (echo ? "" : password)));
        this.#add("keyboard-interactive (the password)", { type: "keyboard-interactive", prompt });
    }

    #add(label: string, method: Unnamed<AuthMethod["method"]>): void {
        this.methods.push({ label, method: { ...method, username: this.host.user } });
    }

    #passOver(certificate: string): void {
        const { reason } = this.#noCertificate(certificate);
        if (!this.problems.includes(reason)) this.problems.push(reason);
    }

    /**
     * Tried with ssh2 1.17 and sshd 9.2: sshd accepts the certificate itself, and then not the signature, in which ssh2 writes the
     * certificate's type (`ssh-ed25519-cert-v01@openssh.com`) where the key's has to stand. No public means of ssh2 changes that.
     */
    #noCertificate(path: string): ContainerdError {
        return new ContainerdError(
            "Unsupported",
            `the certificate ${path} cannot be used: ssh2 does not log in by OpenSSH certificates. Let the node's sshd take the key ` +
                "itself (authorized_keys)",
            { node: this.of.node, property: this.#name("certificate") },
        );
    }
}

type Unnamed<Method> = Method extends unknown ? Omit<Method, "username"> : never;
