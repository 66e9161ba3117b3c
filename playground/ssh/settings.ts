/** Settings of a worker's sshd, and what is known of it by who logs in. Pure. */
import { createHash } from "node:crypto";

/**
 * Settings by their names in sshd_config(5), like `{ MaxSessions: 1, AllowStreamLocalForwarding: "no" }`. A list gives the
 * keyword once for each of its values.
 */
export type SshdOptions = Record<string, string | number | readonly string[]>;

/** What is needed to reach a worker by SSH. All of it is of this worker alone, and goes with it. */
export interface WorkerSsh {
    /** Loopback of this machine. */
    host: string;
    port: number;
    /** `root`, to whom containerd's socket belongs. */
    user: string;
    /** Path of the private key (ed25519, no passphrase) for `user` and `dialUser`. */
    identityFile: string;
    /** Host key as it stands in known_hosts, without a name: `ssh-ed25519 AAAA…`. */
    hostKey: string;
    /** The host key's fingerprint: `SHA256:…`. */
    fingerprint: string;
    /** Path of a known_hosts file that knows the worker at `host` and `port`. */
    knownHostsFile: string;
    /** A user who may do one thing as root: `dial`. The same key lets him in. */
    dialUser: string;
    /** Command by which `dialUser` reaches containerd's socket. */
    dial: string;
    /** A user who comes in by password alone, and may do nothing. */
    passwordUser: string;
    password: string;
}

/** What is written down of a worker's sshd. */
export interface SshdRegistration {
    hostKey: string;
    fingerprint: string;
    password: string;
    options: SshdOptions;
}

/** What the user `DIAL_USER` runs to reach containerd. */
export const DIAL = "sudo -n socat - UNIX-CONNECT:/run/containerd/containerd.sock";
export const DIAL_USER = "deploy";
export const PASSWORD_USER = "visitor";
const DEFAULTS: SshdOptions = {
    Port: 22,
    HostKey: "/etc/ssh/playground_host_ed25519_key",
    // Root's files in /root are this machine's.
    AuthorizedKeysFile: "/etc/ssh/authorized_keys.d/%u",
    // What root's shell reads at a login is this machine's too: a worker that is killed meanwhile would leave its locks there.
    SetEnv: "HOME=/var/lib",
    PidFile: "/run/sshd.pid",
    PermitRootLogin: "prohibit-password",
    KbdInteractiveAuthentication: "no",
    UsePAM: "yes",
    UseDNS: "no",
    PrintMotd: "no",
    PrintLastLog: "no",
    Subsystem: "sftp internal-sftp",
};

/** sshd's configuration; what is not given is as Debian's sshd has it, but for what keeps worker and machine apart. */
export function sshdConfig(options: SshdOptions = {}): string {
    const lines = Object.entries({ ...DEFAULTS, ...options }).flatMap(([keyword, value]) =>
        (typeof value === "object" ? value : [value]).map((one) => `${keyword} ${one}`),
    );
    return `${lines.join("\n")}\n`;
}

/** Fingerprint of a public key's line, as OpenSSH writes it. */
export function fingerprintOf(publicKey: string): string {
    const blob = Buffer.from(publicKey.split(" ")[1] ?? "", "base64");
    return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}
