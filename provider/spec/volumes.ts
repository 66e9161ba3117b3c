/**
 * Volumes as they lie on a node, and how a container mounts one. No agent mounts anything beforehand: a container's own spec
 * says the mount, so that runc does it at each start, also after a reboot. Pure.
 */
import { isIP } from "node:net";
import { NODE_FOLDER } from "../node/folders";
import type { MountInputs, VolumeInputs } from "./inputs";

/** All volumes of ours on a node. Root's alone: what the containers write into them is not for the node's other users. */
export const VOLUMES_FOLDER = `${NODE_FOLDER}/volumes`;
/** A file for each volume, apart from what it holds: all of them are read at once. No volume's folder has a name like it. */
export const RECORDS_FOLDER = `${VOLUMES_FOLDER}/records`;

/** What no two volumes on a node share: `NAME@NAMESPACE`. */
export function volumeKey({ name, namespace }: { name: string; namespace: string }): string {
    return `${name}@${namespace}`;
}

/** The folder that a `local` volume without options is. */
export function volumeFolder(key: string): string {
    return `${VOLUMES_FOLDER}/${key}/data`;
}

/** Where a volume's record lies. */
export function volumeRecord(key: string): string {
    return `${RECORDS_FOLDER}/${key}.json`;
}

/** Label of a container that mounts a volume: such a volume cannot be deleted. Its value is the volume's uid. */
export function volumeLabel(key: string): string {
    return `pulumi-containerd/volume.${key}`;
}

/** The labels that say which volumes a container mounts. */
export function volumeLabels(mounts: Record<string, MountInputs> = {}): Record<string, string> {
    const volumes = Object.values(mounts).flatMap(({ volume }) => (volume ? [volume] : []));
    return Object.fromEntries(volumes.map((volume) => [volumeLabel(volumeKey(volume)), volume.uid]));
}

/** What a volume is made of. */
export type VolumeSource =
    /** A folder of ours. */
    | { kind: "folder" }
    /** A folder of the node's. */
    | { kind: "bind"; device: string; options: string[] }
    /** What the kernel mounts in each container anew. */
    | { kind: "mount"; type: string; device: string; options: string[] };

/** What is meant by a volume's driver and options; they are valid ({@link volumeProblem}). */
export function volumeSource({ driver, options }: Pick<VolumeInputs, "driver" | "options">): VolumeSource {
    const { type, device = "", o = "" } = options ?? {};
    const given = o.split(",").filter(Boolean);
    if (driver === "local" && type === undefined && !given.some(isBind)) return { kind: "folder" };
    if (driver === "local" && (type === undefined || type === "none" || type === "bind")) {
        return { kind: "bind", device, options: given.filter((option) => !isBind(option)) };
    }
    const kind = type ?? driver;
    if (kind === "tmpfs") return { kind: "mount", type: kind, device: "tmpfs", options: given };
    return { kind: "mount", type: kind, device, options: [...given, ...addressOption(kind, device, given)] };
}

function isBind(option: string): boolean {
    return option === "bind" || option === "rbind";
}

/** The kernel takes the server's address as an option; what else would look it up (`mount.nfs`) is not asked. */
function addressOption(type: string, device: string, given: readonly string[]): string[] {
    if (!isNetworked(type) || given.some((option) => /^(?:addr|ip)=/.test(option))) return [];
    const address = serverOf(type, device);
    return address === undefined ? [] : [`addr=${address}`];
}

function isNetworked(type: string): boolean {
    return ["nfs", "nfs4", "cifs", "smb3"].includes(type);
}

/** The server in `HOST:/path` or `//HOST/share`, without brackets. */
function serverOf(type: string, device: string): string | undefined {
    const pattern = type.startsWith("nfs") ? /^(?:\[([^\]]+)\]|([^:/]+)):/ : /^\/\/(?:\[([^\]]+)\]|([^/]+))\//;
    const found = pattern.exec(device);
    return found?.[1] ?? found?.[2];
}

/** What is wrong with a driver and its options: the option's name, and a sentence. */
export function volumeProblem({
    driver,
    options = {},
}: Pick<VolumeInputs, "driver" | "options">): { option: string; reason: string } | undefined {
    const { type, device, o = "" } = options;
    const given = o.split(",");
    if (driver !== "local" && type !== undefined && !type.startsWith(driver)) {
        return {
            option: "type",
            reason: `is not what the driver ${driver} mounts: leave it out, or say driver: "local"`,
        };
    }
    const source = volumeSource({ driver, options });
    if (source.kind === "folder") {
        const [useless] = Object.keys(options);
        return useless === undefined
            ? undefined
            : { option: useless, reason: "says nothing without `type`: leave it out for a plain folder" };
    }
    if (source.kind === "bind") {
        if (device?.startsWith("/")) return undefined;
        return { option: "device", reason: "must be an absolute path on the node, which is bound" };
    }
    if (source.type === "tmpfs") return undefined;
    if (!device) return { option: "device", reason: `must say what is mounted${exampleOf(source.type)}` };
    const address = given.find((option) => /^(?:addr|ip)=/.test(option))?.replace(/^[^=]*=/, "");
    if (isNetworked(source.type) && isIP(address ?? serverOf(source.type, device) ?? "") === 0) {
        return {
            option: address === undefined ? "device" : "o",
            reason: "needs the server's address and not its name, because the kernel looks up none: write it there, or as addr=ADDRESS in `o`",
        };
    }
    return undefined;
}

function exampleOf(type: string): string {
    if (type.startsWith("nfs")) return ', like "10.0.0.5:/export"';
    if (type === "cifs" || type === "smb3") return ', like "//10.0.0.5/share"';
    return "";
}
