/** The SSH connections of one run: one a machine, whoever goes there or through it. */
import { ContainerdError } from "../../errors";
import type { Transport } from "../transport";
import type { Origin } from "./advice";
import { SshConnection } from "./connection";
import { type ConnectionSettings, DEFAULT_SOCKET } from "./settings";
import type { SshFiles } from "./ssh-files";
import { type Lookup, resolveTargets, type SshTarget } from "./target";
import { SshTransport } from "./transport";

/** A connection and how many need it: transports, and connections that go through it. */
interface Shared {
    connection: SshConnection;
    users: number;
    via: Shared | undefined;
}

/** Gives transports that share their connections. */
export class SshPool {
    readonly #connections = new Map<string, Shared>();

    /**
     * @param files what OpenSSH's own configuration says.
     * @param lookup the nodes that others may be reached through.
     */
    constructor(
        private readonly files: SshFiles,
        private readonly lookup: Lookup,
    ) {}

    /**
     * The way to a node. Connects at the first use. Throws `Invalid`, `Unsupported` for what its settings say.
     *
     * @param origin where the settings stand, for messages.
     */
    transport(node: string, settings: ConnectionSettings, origin: Origin = "config"): Transport {
        const { socket = DEFAULT_SOCKET, dial } = settings;
        const targets = this.#resolve(node, settings, origin);
        const shared = this.#share(targets);
        // A dial command takes the one session that sshd's MaxSessions may allow on a connection.
        const commands =
            dial === undefined ? undefined : new SshConnection(shared.connection.target, shared.via?.connection);
        const release = async () => {
            await commands?.close();
            await this.#release(shared);
        };
        return new SshTransport(shared.connection, { socket, dial }, release, commands);
    }

    #resolve(node: string, settings: ConnectionSettings, origin: Origin): SshTarget[] {
        try {
            return resolveTargets(node, settings, this.files, this.lookup, origin);
        } catch (thrown) {
            // What ssh_config says wrongly is of no node by itself.
            throw ContainerdError.from(thrown, { node });
        }
    }

    #share(targets: readonly SshTarget[]): Shared {
        const target = targets.at(-1);
        if (!target) throw new Error("a node has at least itself on its way");
        const known = this.#connections.get(target.key);
        if (known) {
            known.users++;
            return known;
        }
        const via = targets.length > 1 ? this.#share(targets.slice(0, -1)) : undefined;
        const made = { connection: new SshConnection(target, via?.connection), users: 1, via };
        this.#connections.set(target.key, made);
        return made;
    }

    async #release(shared: Shared): Promise<void> {
        if (--shared.users > 0) return;
        this.#connections.delete(shared.connection.target.key);
        await shared.connection.close();
        if (shared.via) await this.#release(shared.via);
    }
}
