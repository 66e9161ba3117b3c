/**
 * What a node's containerd is and can do: asked once a connection, so that whatever a node lacks is refused by its name before
 * anything is touched. Source: containerd's Version and Introspection services.
 */
import type { Client } from "./client";

/** A node's containerd. */
export interface NodeFacts {
    /** As containerd says it, like `1.6.20` or `v2.4.2`. */
    version: string;
    major: number;
    minor: number;
    /** Plugins that are loaded, by `type.id`, like `io.containerd.grpc.v1.transfer`. */
    plugins: readonly string[];
    /** Names of the snapshotters, in alphabetical order. */
    snapshotters: readonly string[];
    /** The restart monitor is there. */
    restartMonitor: boolean;
    /** Images of this platform run here, like `linux/amd64`. */
    platform: string;
}

const known = new WeakMap<object, Promise<NodeFacts>>();

/** The facts of a client's node. Throws what a call throws, and asks anew after that. */
export function nodeFacts(client: Client): Promise<NodeFacts> {
    const found = known.get(client.connection);
    if (found) return found;
    const asked = ask(client);
    known.set(client.connection, asked);
    asked.catch(() => known.delete(client.connection));
    return asked;
}

async function ask(client: Client): Promise<NodeFacts> {
    const [{ version }, { plugins }] = await Promise.all([
        client.version.version({}),
        client.introspection.plugins({}),
    ]);
    const loaded = plugins.filter((plugin) => !plugin.init_err?.code);
    const ids = loaded.map(({ type, id }) => `${type}.${id}`);
    const [major = 0, minor = 0] = (/(\d+)\.(\d+)/.exec(version) ?? []).slice(1).map(Number);
    const platform = loaded.find(({ type }) => type.startsWith("io.containerd.snapshotter."))?.platforms[0];
    return {
        version,
        major,
        minor,
        plugins: ids,
        snapshotters: loaded
            .filter(({ type }) => type === "io.containerd.snapshotter.v1")
            .map(({ id }) => id)
            .sort(),
        restartMonitor:
            ids.includes("io.containerd.internal.v1.restart") ||
            ids.includes("io.containerd.monitor.container.v1.restart"),
        platform: platform
            ? [platform.os, platform.architecture, platform.variant].filter(Boolean).join("/")
            : "linux/amd64",
    };
}
