/**
 * Makes and renews a container on a node. The container object comes first, and goes last (`remove-container.ts`): whatever is
 * killed in between is found by it.
 */
import type { Client } from "../containerd/client";
import { removeTree, writeFiles } from "../containerd/node-files";
import { readUsers } from "../containerd/snapshot-files";
import { findSnapshot, hasSnapshot, prepareSnapshot } from "../containerd/snapshots";
import { ContainerdError, hasCode } from "../errors";
import { findImage, imageConfig, type ImageForContainer, snapshotterFor } from "../images/inspect";
import { containerFolder } from "../node/folders";
import { loggerAnnotations } from "../node/log-uri";
import { parseReference } from "../registry/reference";
import { buildSpec } from "../spec/build";
import { filePaths } from "../spec/files";
import type { ContainerInputs } from "../spec/inputs";
import { linuxResources, updatedResources } from "../spec/resources";
import type { Spec } from "../spec/types";
import { needsUsers } from "../spec/user";
import { isDeepStrictEqual } from "node:util";
import { bringImage } from "./bring-image";
import { knownUid } from "./check/common";
import { labelChange } from "./labels";
import { clientForChange } from "./leases";
import { foreign, IMAGE_STOP_SIGNAL, LABEL, ownerLabels } from "./ownership";
import { assertMountSources } from "./mount-sources";
import { askPrivileges, type Privileges, privilegesOf, wantsEverything } from "./privileges";
import { processState, setLabels, startProcess, stopOf, stopProcess } from "./process";
import { removeContainer } from "./remove-container";
import { RESTART_LABELS } from "./restart";
import type { Run } from "./run";
import { leftovers, oursBefore, pullsBefore, sweepImages } from "./sweep";

const SPEC_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
const RESOURCES_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";
const DEFAULT_RUNTIME = "io.containerd.runc.v2";

/** Makes all of a container. What fails is undone before it throws. */
export async function makeContainer(run: Run, inputs: ContainerInputs): Promise<void> {
    const client = await clientForChange(run, inputs.node, inputs.namespace);
    await sweep(run, client, inputs);
    try {
        await assertMountSources(client, inputs.mounts);
        await reserve(client, inputs);
    } catch (error) {
        throw ContainerdError.from(error, { node: inputs.node });
    }
    try {
        const image = await imageOf(run, client, inputs);
        await makeSnapshot(client, inputs, image.chainId);
        const spec = await specOf(client, inputs, image, await privileges(client, inputs, image));
        await writeContainerFiles(client, inputs);
        const labels = { ...inputs.labels, ...ownLabels(inputs, "complete"), ...stopSignal(image) };
        await client.containers.update({
            container: { id: inputs.name, labels, spec: any(SPEC_TYPE, spec) },
            update_mask: { paths: ["labels", "spec"] },
        });
    } catch (error) {
        // What can't be undone now is swept by the next create, which finds it by its owner.
        await removeContainer(run, inputs).catch(() => undefined);
        throw ContainerdError.from(error, { node: inputs.node });
    }
}

/** Removes what earlier, killed creates of this owner left. */
async function sweep(run: Run, client: Client, inputs: ContainerInputs): Promise<void> {
    const { owner, node, namespace } = inputs;
    const [before] = await Promise.all([oursBefore(run, client), pullsBefore(run, client)]);
    for (const { name, labels } of leftovers(before.get(owner) ?? [], knownUid(run, owner))) {
        await removeContainer(run, { node, namespace, name, uid: labels[LABEL.uid] ?? "" });
    }
    await sweepImages(run, client, inputs);
}

/** Takes the name. Throws `Conflict` when somebody has it. */
async function reserve(client: Client, inputs: ContainerInputs): Promise<void> {
    const snapshotter = await snapshotterFor(client, inputs.snapshotter);
    const container = {
        id: inputs.name,
        image: imageName(inputs),
        labels: ownLabels(inputs, "creating"),
        snapshotter,
        snapshot_key: inputs.name,
        runtime: { name: inputs.runtime ?? DEFAULT_RUNTIME },
        spec: any(SPEC_TYPE, {}),
    };
    try {
        await client.containers.create({ container });
    } catch (error) {
        if (!hasCode(error, "AlreadyExists")) throw error;
        const { container: other } = await client.containers.get({ id: inputs.name });
        throw foreign("container", inputs.name, other?.labels ?? {}).with({ node: inputs.node });
    }
}

/** The image, pulled where it is missing; claimed, unless an Image on the same node keeps it. */
async function imageOf(run: Run, client: Client, inputs: ContainerInputs): Promise<ImageForContainer> {
    const { node, namespace, imageFrom } = inputs;
    const { digest } = parseReference(inputs.image);
    if (digest === undefined) {
        throw new ContainerdError("Invalid", "has no digest: it was not known when the arguments were checked", {
            property: "image",
        });
    }
    if (imageFrom === `${node}/${namespace}` && (await findImage(client, inputs.image))) {
        const image = await imageConfig(client, digest);
        const snapshotter = await snapshotterFor(client, inputs.snapshotter);
        // The Image may be unpacked for another snapshotter than this container's.
        if (image.chainId === "" || (await hasSnapshot(client, snapshotter, image.chainId))) return image;
    }
    try {
        const { owner, uid, claim, retainOnDelete, snapshotter } = inputs;
        await bringImage(run, client, { owner, uid, claim, retainOnDelete, snapshotter, pinned: inputs.image });
    } catch (error) {
        throw ContainerdError.from(error, { property: "image" });
    }
    return imageConfig(client, digest);
}

/** Asks the node what it can give to a container that wants everything; undefined for any other. */
async function privileges(
    client: Client,
    inputs: ContainerInputs,
    image: ImageForContainer,
): Promise<Privileges | undefined> {
    if (!wantsEverything(inputs)) return undefined;
    const modest = {
        ...inputs,
        privileged: false,
        capabilities: undefined,
        files: undefined,
        secrets: undefined,
        network: "host" as const,
    };
    const spec = any(SPEC_TYPE, await specOf(client, modest, image));
    await client.containers.update({ container: { id: inputs.name, spec }, update_mask: { paths: ["spec"] } });
    return askPrivileges(client, inputs);
}

/** The OCI spec for these inputs on this node. `node` is what the node has to give to one that wants everything. */
export async function specOf(
    client: Client,
    inputs: ContainerInputs,
    image: ImageForContainer,
    node?: Privileges,
): Promise<Spec> {
    const folder = containerFolder(inputs.namespace, inputs.name);
    const snapshotter = await snapshotterFor(client, inputs.snapshotter);
    const users = needsUsers(inputs, image.config) ? await readUsers(client, image, snapshotter) : undefined;
    const spec = buildSpec({ inputs, image: image.config, users, folder, node });
    return { ...spec, annotations: { ...spec.annotations, ...loggerAnnotations({ folder, log: inputs.log }) } };
}

async function writeContainerFiles(client: Client, inputs: ContainerInputs): Promise<void> {
    const folder = containerFolder(inputs.namespace, inputs.name);
    const files = filePaths(inputs, folder);
    if (files.length) await writeFiles(client, folder, files);
}

async function makeSnapshot(client: Client, inputs: ContainerInputs, parent: string): Promise<void> {
    const snapshotter = await snapshotterFor(client, inputs.snapshotter);
    const request = { snapshotter, key: inputs.name, parent, labels: ownLabels(inputs, "complete") };
    try {
        await prepareSnapshot(client, request);
    } catch (error) {
        if (!hasCode(error, "AlreadyExists")) throw error;
        const other = await findSnapshot(client, snapshotter, inputs.name);
        throw foreign("snapshot", inputs.name, other?.labels ?? {});
    }
}

/** Makes what is there into what is wanted, on the running process too where that can be; restarts it where files say so. */
export async function renewContainer(run: Run, olds: ContainerInputs, news: ContainerInputs): Promise<void> {
    const client = await clientForChange(run, news.node, news.namespace);
    const image = await imageOf(run, client, news);
    const { container } = await client.containers.get({ id: news.name });
    const spec = await specOf(client, news, image, privilegesOf(news, specIn(container?.spec)));
    await writeContainerFiles(client, news);
    await removeOldFiles(client, olds, news);
    const labels = { ...labelChange(olds.labels, news.labels), ...ownLabels(news, "complete"), ...stopSignal(image) };
    for (const key of [LABEL.retain, LABEL.node]) labels[key] ??= ""; // an empty value takes a label away
    await client.containers.update({
        container: { id: news.name, labels, spec: any(SPEC_TYPE, spec) },
        update_mask: { paths: ["spec", ...Object.keys(labels).map((key) => `labels.${key}`)] },
    });
    const interrupted = (await labelsOf(client, news.name))[LABEL.restarting];
    const running = (await processState(client, news.name))?.status === "running";
    if (interrupted || (running && needsRestart(olds, news))) await restart(client, news.name);
    else if (running) await updateLimits(client, olds, news);
}

/** Whether the process has to start anew to see its files. */
export function needsRestart(olds: ContainerInputs, news: ContainerInputs): boolean {
    if (!isDeepStrictEqual(olds.secrets ?? {}, news.secrets ?? {})) return true;
    const [before, after] = [olds.files ?? {}, news.files ?? {}];
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].some((path) => {
        if (isDeepStrictEqual(before[path], after[path])) return false;
        return before[path] === undefined || after[path] === undefined || after[path].onChange !== "none";
    });
}

async function updateLimits(client: Client, olds: ContainerInputs, news: ContainerInputs): Promise<void> {
    if (isDeepStrictEqual(linuxResources(olds), linuxResources(news))) return;
    const resources = any(RESOURCES_TYPE, updatedResources(olds, news));
    await client.tasks.update({ container_id: news.name, resources });
}

/** Stops the process and starts it anew. What it is to be again is written down first: a killed restart is gone on with. */
async function restart(client: Client, name: string): Promise<void> {
    const labels = await labelsOf(client, name);
    const kept = labels[LABEL.restarting] ?? JSON.stringify(monitorLabels(labels));
    await setLabels(client, name, { [LABEL.restarting]: kept });
    await stopProcess(client, name, stopOf(labels));
    await startProcess(client, name);
    await setLabels(client, name, { ...(JSON.parse(kept) as Record<string, string>), [LABEL.restarting]: "" });
}

function monitorLabels(labels: Record<string, string>): Record<string, string> {
    return Object.fromEntries(Object.entries(labels).filter(([key]) => RESTART_LABELS.some((one) => one === key)));
}

async function labelsOf(client: Client, name: string): Promise<Record<string, string>> {
    return (await client.containers.get({ id: name })).container?.labels ?? {};
}

async function removeOldFiles(client: Client, olds: ContainerInputs, news: ContainerInputs): Promise<void> {
    const folder = containerFolder(news.namespace, news.name);
    const wanted = new Set(filePaths(news, folder).map(({ path }) => path));
    for (const { path } of filePaths(olds, folder)) {
        if (!wanted.has(path)) await removeTree(client, folder, path.slice(folder.length + 1));
    }
}

function ownLabels(inputs: ContainerInputs, phase: "creating" | "complete"): Record<string, string> {
    return ownerLabels({ ...inputs, phase });
}

function stopSignal({ config }: ImageForContainer): Record<string, string> {
    const signal = config.config?.StopSignal;
    return signal ? { [IMAGE_STOP_SIGNAL]: signal } : {};
}

/** The reference without its digest, as people know it. */
function imageName({ image }: ContainerInputs): string {
    const at = image.indexOf("@");
    return at < 0 ? image : image.slice(0, at);
}

/** The spec that a container has. */
export function specIn(packed: { value?: Uint8Array | string } | null | undefined): Spec {
    return JSON.parse(Buffer.from((packed?.value ?? "{}") as Uint8Array).toString()) as Spec;
}

function any(type_url: string, value: object): { type_url: string; value: Buffer } {
    return { type_url, value: Buffer.from(JSON.stringify(value)) };
}
