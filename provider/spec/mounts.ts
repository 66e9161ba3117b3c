/** The container's file systems: the kernel's own, and `mounts`. */
import { posix } from "node:path";
import { ContainerdError } from "../errors";
import { type NodeFacts, type SpecOption, kernelAtLeast } from "./context";
import type { MountInputs } from "./inputs";
import { scratchHome } from "./sandbox";
import type { Mount } from "./types";
import { volumeSource } from "./volumes";

/** Docker's 64 MiB. */
const SHM_SIZE = 64 * 1024 * 1024;

/**
 * What every Linux container has (config-linux.md, "Default Filesystems"), as Docker mounts it: no tmpfs on `/run`, which
 * containerd's own default has and which hides what an image keeps there.
 *
 * sysfs shows the network namespace it is mounted in; with network `host` that is the node's, read-only all the same. Only
 * with a user namespace would the kernel refuse that mount.
 */
export const withDefaultMounts: SpecOption = (spec, { inputs }) => {
    const access = inputs.privileged ? "rw" : "ro";
    const defaults: Mount[] = [
        kernelMount("/proc", "proc", "nosuid", "noexec", "nodev"),
        kernelMount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        kernelMount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        {
            ...kernelMount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", `size=${SHM_SIZE}`),
            source: "shm",
        },
        kernelMount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        kernelMount("/sys", "sysfs", "nosuid", "noexec", "nodev", access),
        kernelMount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", access),
    ];
    return { ...spec, mounts: [...spec.mounts, ...defaults] };
};

/** `mounts`. One at the place of a default mount replaces it, and one at `/dev` all that lies below, as with Docker. */
export const withMounts: SpecOption = (spec, { inputs, folder, node }) => {
    const given = Object.entries(inputs.mounts ?? {});
    const replaced = (mount: Mount) =>
        given.some(
            ([target]) => mount.destination === target || (target === "/dev" && mount.destination.startsWith("/dev/")),
        );
    const own = given.map(([target, mount]) => toMount(target, mount, scratchHome(inputs, folder), node));
    return { ...spec, mounts: [...spec.mounts.filter((mount) => !replaced(mount)), ...own] };
};

/** `readOnly`: the root file system; mounts are as they say. */
export const withReadOnly: SpecOption = (spec, { inputs }) =>
    inputs.readOnly ? { ...spec, root: { ...spec.root, readonly: true } } : spec;

/** Puts mounts in the order in which none hides another: what is less deep first, else as they came. Applied last. */
export const inMountOrder: SpecOption = (spec) => {
    const depth = ({ destination }: Mount) => destination.split("/").filter(Boolean).length;
    return { ...spec, mounts: [...spec.mounts].sort((a, b) => depth(a) - depth(b)) };
};

/**
 * A recursive bind mount. Read-only means also what is mounted below, where the kernel is known to be 5.12 or later, as
 * with Docker; where it is not known (containerd does not tell), what is mounted below stays writable. `propagation` is private unless said, and always recursive.
 */
export function bindMount(target: string, source: string, mount: Omit<MountInputs, "bind">, node?: NodeFacts): Mount {
    const propagation =
        mount.propagation === undefined || mount.propagation === "private" ? "rprivate" : mount.propagation;
    const readOnly = kernelAtLeast(node, 5, 12, false) ? ["ro", "rro"] : ["ro"];
    const options = ["rbind", propagation, ...(mount.readOnly ? readOnly : [])];
    return { destination: target, type: "bind", source, options };
}

/** A tmpfs with Docker's options. Without a mode it has that of the image's folder at that path, else 1777. */
function tmpfsMount(target: string, { tmpfs = {}, readOnly }: MountInputs): Mount {
    const options = ["noexec", "nosuid", "nodev"];
    if (readOnly) options.push("ro");
    if (tmpfs.mode !== undefined) options.push(`mode=${tmpfs.mode}`);
    if (tmpfs.size !== undefined) options.push(`size=${tmpfs.size}`);
    return { destination: target, type: "tmpfs", source: "tmpfs", options };
}

/** Where a `scratch` mount's folder lies, in the folder of the container or pod whose it is. */
export function scratchFolder(folder: string, name: string): string {
    return `${folder}/scratch/${name}`;
}

function toMount(target: string, mount: MountInputs, folder: string, node: NodeFacts | undefined): Mount {
    const property = `mounts[${JSON.stringify(target)}]`;
    if (!posix.isAbsolute(target) || posix.normalize(target) !== target || target === "/") {
        const reason = "the path in the container must be absolute, plain (no .., no trailing /), and not / itself";
        throw new ContainerdError("Invalid", reason, { property });
    }
    const { bind, tmpfs, scratch, volume } = mount;
    if ([bind, tmpfs, scratch, volume].filter((kind) => kind !== undefined).length !== 1) {
        throw new ContainerdError("Invalid", "say exactly one of bind, tmpfs, scratch and volume", { property });
    }
    if (volume !== undefined) return volumeMount(target, { ...mount, volume }, node);
    if (scratch !== undefined) return bindMount(target, scratchFolder(folder, scratch), mount, node);
    if (bind === undefined) return tmpfsMount(target, mount);
    if (!posix.isAbsolute(bind)) {
        const reason = `${JSON.stringify(bind)} is not an absolute path on the node`;
        throw new ContainerdError("Invalid", reason, { property: `${property}.bind` });
    }
    return bindMount(target, bind, mount, node);
}

type VolumeMount = MountInputs & Required<Pick<MountInputs, "volume">>;

/** The path on the node that a volume's mount binds; undefined for what the kernel mounts in each container. */
export function volumePath({ volume, subPath = "" }: VolumeMount): string | undefined {
    const source = volumeSource(volume);
    if (source.kind === "mount") return undefined;
    return posix.join(source.kind === "folder" ? volume.path : source.device, subPath);
}

function volumeMount(target: string, mount: VolumeMount, node: NodeFacts | undefined): Mount {
    const source = volumeSource(mount.volume);
    const { subPath, readOnly } = mount;
    const bound = volumePath(mount);
    if (bound !== undefined || source.kind !== "mount") {
        const plain = bindMount(target, bound ?? "", mount, node);
        const options = source.kind === "bind" ? source.options : [];
        return { ...plain, options: [...(plain.options ?? []), ...options] };
    }
    if (source.type === "tmpfs") {
        return {
            destination: target,
            type: "tmpfs",
            source: "tmpfs",
            options: ["noexec", "nosuid", "nodev", ...source.options, ...(readOnly ? ["ro"] : [])],
        };
    }
    return {
        destination: target,
        type: source.type,
        source: subPath === undefined ? source.device : `${source.device.replace(/\/$/, "")}/${subPath}`,
        options: [...source.options, ...(readOnly ? ["ro"] : [])],
    };
}

function kernelMount(destination: string, type: string, ...options: string[]): Mount {
    return { destination, type, source: type, options };
}
