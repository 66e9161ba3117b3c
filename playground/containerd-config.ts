/** Configuration of a worker's containerd. */
import type { ContainerdVersion } from "./environment";

export interface ContainerdOptions {
    /** Debian's containerd 1.6 or the 2.x built from its Go module. */
    version: ContainerdVersion;
    /** Interval of containerd's restart monitor. Default: `1s`. */
    restartInterval?: string;
    /** More of containerd's configuration (TOML), put at the end. */
    config?: string;
}

/** containerd's configuration. The file's version and the restart monitor's name differ between 1.6 and 2.x. */
export function containerdConfig({ version, restartInterval = "1s", config = "" }: ContainerdOptions): string {
    const modern = version === "2";
    const monitor = modern ? "io.containerd.monitor.container.v1.restart" : "io.containerd.internal.v1.restart";
    const cri = [
        "io.containerd.grpc.v1.cri",
        ...(modern ? ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"] : []),
    ];
    return [
        `version = ${modern ? 3 : 2}`,
        'root = "/var/lib/containerd"',
        'state = "/run/containerd"',
        // Kubernetes' door: nobody comes through it here, and it would look for CNI plugins.
        `disabled_plugins = ${JSON.stringify(cri)}`,
        "[grpc]",
        'address = "/run/containerd/containerd.sock"',
        `[plugins."${monitor}"]`,
        `interval = "${restartInterval}"`,
        config,
        "",
    ].join("\n");
}
