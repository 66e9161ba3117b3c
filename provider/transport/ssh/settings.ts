/** What a user says about how a machine is reached: in the stack config `containerd:nodes`, or as a Node's `connection`. */

/** Absent values come from ssh_config, then from OpenSSH's defaults. */
export interface ConnectionSettings {
    /** Host name, address, or a `Host` of ssh_config. */
    host: string;
    /** Default 22. */
    port?: number;
    /** Default: as `ssh` does it, the name of the user who runs Pulumi. containerd's socket is root's. */
    user?: string;
    /** Path of a private key on the machine that runs Pulumi. */
    identityFile?: string;
    /** Path of an agent's socket; `none` for no agent. Default: `$SSH_AUTH_SOCK`. */
    agent?: string;
    /** Path of an OpenSSH certificate for the key. */
    certificate?: string;
    /** The machine's key: `SHA256:…`, `ssh-ed25519 AAAA…`, or a line of known_hosts. Default: known_hosts decides. */
    hostKey?: string;
    /** The machine on the way, as `ProxyJump` has it: `user@host:port`, or a name; several by commas; `none`. */
    jump?: string;
    /** Path of containerd's socket on the machine. Default `/run/containerd/containerd.sock`. */
    socket?: string;
    /** A command there whose stdin and stdout are a connection to the socket, like `sudo -n socat - UNIX-CONNECT:…`. */
    dial?: string;
    /** The private key itself. A secret. */
    privateKey?: string;
    /** Of the private key. A secret. */
    passphrase?: string;
    /** A secret. */
    password?: string;
}

/** Those of {@link ConnectionSettings} that are secrets. */
export const SECRET_SETTINGS = ["privateKey", "passphrase", "password"] as const;

/** containerd's socket where nothing else is said. */
export const DEFAULT_SOCKET = "/run/containerd/containerd.sock";
