/**
 * What a node has to give to a container that wants everything: the capabilities that its containerd has itself (a node that is
 * a virtual machine or a container may lack some, and runc refuses what it cannot give), and its devices.
 */
import type { Client } from "../containerd/client";
import { readFiles, removeTree } from "../containerd/node-files";
import { ContainerdError } from "../errors";
import { containerFolder } from "../node/folders";
import { READY_MARK } from "../node/gate.sh";
import { shellQuote } from "../node/shell";
import { capabilitiesOfMask } from "../spec/capabilities";
import type { NodeFacts } from "../spec/context";
import type { ContainerInputs } from "../spec/inputs";
import type { LinuxDevice, Spec } from "../spec/types";
import { stopProcess } from "./process";

/** What of {@link NodeFacts} is asked here. */
export type Privileges = Pick<NodeFacts, "capabilities" | "devices">;

/** Whether a container wants so much that the node has to be asked. */
export function wantsEverything({
    privileged,
    capabilities,
}: Pick<ContainerInputs, "privileged" | "capabilities">): boolean {
    return privileged === true || (capabilities?.add?.includes("ALL") ?? false);
}

/** What a container was given when it was made, read from its spec. */
export function privilegesOf(inputs: ContainerInputs, spec: Spec): Privileges | undefined {
    if (!wantsEverything(inputs)) return undefined;
    const capabilities = spec.process.capabilities?.bounding?.map((name) => name.replace(/^CAP_/, ""));
    return { capabilities, devices: spec.linux.devices };
}

const known = new WeakMap<object, Promise<Privileges>>();

/**
 * Asks the node, once a connection, by the process of a container that is being made: its logger runs on the node with what
 * containerd has. The container must have a snapshot, and a spec that starts.
 */
export function askPrivileges(client: Client, { namespace, name }: ContainerInputs): Promise<Privileges> {
    const found = known.get(client.connection);
    if (found) return found;
    const asked = ask(client, namespace, name);
    known.set(client.connection, asked);
    asked.catch(() => known.delete(client.connection));
    return asked;
}

const ASKED = "asked";
const FILE = "privileges";
const CREATE_TIMEOUT = 30_000;

async function ask(client: Client, namespace: string, name: string): Promise<Privileges> {
    const folder = containerFolder(namespace, name);
    const { container } = await client.containers.get({ id: name });
    const { mounts } = await client.snapshots.mounts({
        snapshotter: container?.snapshotter ?? "",
        key: container?.snapshot_key ?? "",
    });
    const uri = `binary:///bin/sh?-c=${encodeURIComponent(script(`${folder}/${ASKED}`))}`;
    try {
        await client.tasks.create(
            { container_id: name, rootfs: mounts, stdout: uri, stderr: uri },
            { timeout: CREATE_TIMEOUT },
        );
    } finally {
        await stopProcess(client, name, { signal: "SIGKILL", timeout: "0s" });
    }
    const [file] = await readFiles(client, `${folder}/${ASKED}`, (path) => path === FILE);
    await removeTree(client, folder, ASKED);
    if (!file)
        throw new ContainerdError("Failed", "the node did not say which capabilities it has", { node: client.node });
    return parsePrivileges(file.content.toString());
}

/** Asks the kernel in the folder given, says ready, and reads the container's output to its end. */
function script(folder: string): string {
    return [
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin; umask 077",
        `folder=${shellQuote(folder)}; mkdir -p "$folder"`,
        `{ timeout 5 grep ^CapPrm: /proc/self/status; timeout 5 find /dev -xdev ! -name console \\( -type b -o -type c \\) -exec stat -c '%F|%t|%T|%a|%u|%g|%n' {} +; } >"$folder/${FILE}" 3<&- 4<&- 5>&-`,
        `: >${READY_MARK}`,
        "exec 5>&-; cat <&4 >/dev/null & exec cat <&3 >/dev/null",
    ].join("\n");
}

/** Reads what the script wrote. Pure. */
export function parsePrivileges(text: string): Privileges {
    const mask = /^CapPrm:\s*([0-9a-f]+)$/m.exec(text)?.[1];
    if (mask === undefined) throw new ContainerdError("Failed", "the node did not say which capabilities it has");
    const devices = text
        .split("\n")
        .filter((line) => line.includes("|"))
        .map((line): LinuxDevice => {
            const [kind = "", major = "", minor = "", mode = "", uid = "", gid = "", ...path] = line.split("|");
            return {
                type: kind.startsWith("block") ? "b" : "c",
                path: path.join("|"),
                major: parseInt(major, 16),
                minor: parseInt(minor, 16),
                fileMode: parseInt(mode, 8),
                uid: Number(uid),
                gid: Number(gid),
            };
        })
        .sort((a, b) => (a.path < b.path ? -1 : 1));
    return { capabilities: capabilitiesOfMask(mask), devices };
}
