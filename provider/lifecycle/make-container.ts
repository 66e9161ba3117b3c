/**
 * Makes and renews a container on a node. The container object comes first, and goes last (`remove-container.ts`): whatever is
 * killed in between is found by it.
 */
import { isDeepStrictEqual } from "node:util";
import type { Client } from "../containerd/client";
import { readUsers } from "../containerd/snapshot-files";
import { findSnapshot, hasSnapshot, prepareSnapshot } from "../containerd/snapshots";
import { ContainerdError, hasCode } from "../errors";
import { findImage, imageConfig, type ImageForContainer, snapshotterFor } from "../images/inspect";
import { networkScriptPath } from "../network/settings";
import { containerFolder } from "../node/folders";
import { loggerAnnotations } from "../node/log-uri";
import { parseReference } from "../registry/reference";
import { buildSpec } from "../spec/build";
import type { ContainerInputs } from "../spec/inputs";
import { sandboxOf } from "../spec/sandbox";
import { withSelf } from "../spec/self";
import { linuxResources, updatedResources } from "../spec/resources";
import type { Spec } from "../spec/types";
import { needsUsers } from "../spec/user";
import { volumeLabels } from "../spec/volumes";
import { bringImage } from "./bring-image";
import { knownUid } from "./check/common";
import { needsRestart, renewContainerFiles, tellOfFiles, writeContainerFiles } from "./file-changes";
import { labelChange } from "./labels";
import { clientForChange } from "./leases";
import { exposedBy, settlePorts } from "./network/host-ports";
import { networkFiles, type Networking, networkOf, reserveNetwork } from "./network/networking";
import { ensureNetwork } from "./network/node-network";
import { foreign, IMAGE_STOP_SIGNAL, LABEL, ownerLabels } from "./ownership";
import { assertMountSources } from "./mount-sources";
import { askPrivileges, type Privileges, privilegesOf, wantsEverything } from "./privileges";
import { processState, setLabels, startProcess, stopOf, stopProcess } from "./process";
import { removeContainer } from "./remove-container";
import { freshUriOf, RESTART_LABELS } from "./restart";
import type { Run } from "./run";
import { leftovers, oursBefore, pullsBefore, sweepImages } from "./sweep";

const SPEC_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
const RESOURCES_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";
const DEFAULT_RUNTIME = "io.containerd.runc.v2";

/** Makes all of a container, after what killed creates left of it was removed. What fails is undone before it throws. */
export async function makeContainer(run: Run, inputs: ContainerInputs): Promise<Networking> {
    const client = await clientForChange(run, inputs.node, inputs.namespace);
    await sweep(run, client, inputs);
    return makeAlone(run, client, inputs);
}

/** Makes all of a container. `more` are further labels. What fails is undone before it throws. */
export async function makeAlone(
    run: Run,
    client: Client,
    inputs: ContainerInputs,
    more: Record<string, string> = {},
): Promise<Networking> {
    let network: Networking;
    try {
        await assertMountSources(client, inputs.mounts);
        network = await reserveNetwork(run, client, inputs, (labels) =>
            reserve(client, inputs, { ...more, ...labels }),
        );
    } catch (error) {
        throw ContainerdError.from(error, { node: inputs.node });
    }
    try {
        const image = await imageOf(run, client, inputs);
        network = await settlePorts(run, client, inputs, network, exposedBy(image.config));
        const filled = withSelf(inputs, network.self);
        // Side by side, and to their ends: what goes on must not meet the removal of a failed one.
        const work = [
            makeSnapshot(client, inputs, image.chainId),
            writeContainerFiles(client, filled, networkFiles(network.settings)),
        ];
        await Promise.allSettled(work);
        await Promise.all(work);
        const spec = await specOf(client, filled, image, await privileges(client, inputs, image));
        const labels = {
            ...inputs.labels,
            ...more,
            ...ownLabels(inputs, "complete"),
            ...network.labels,
            ...stopSignal(image),
        };
        await client.containers.update({
            container: { id: inputs.name, labels, spec: any(SPEC_TYPE, spec) },
            update_mask: { paths: ["labels", "spec"] },
        });
        return network;
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

/** Takes the name, and with it what `labels` say. Throws `Conflict` when somebody has it. */
async function reserve(client: Client, inputs: ContainerInputs, labels: Record<string, string>): Promise<void> {
    const snapshotter = await snapshotterFor(client, inputs.snapshotter);
    const container = {
        id: inputs.name,
        image: imageName(inputs),
        labels: { ...ownLabels(inputs, "creating"), ...labels },
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
export async function imageOf(run: Run, client: Client, inputs: ContainerInputs): Promise<ImageForContainer> {
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
        mounts: undefined,
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
    const sandbox = sandboxOf(inputs);
    const network = sandbox && networkScriptPath(sandbox.folder);
    const annotations = loggerAnnotations({ folder, log: inputs.log, network });
    return { ...spec, annotations: { ...spec.annotations, ...annotations } };
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

/** Makes what is there into what is wanted (the network first: what it refuses must not be asked for at the next start), on the running process too where that can be; restarts it where files say so. */
export async function renewContainer(run: Run, olds: ContainerInputs, news: ContainerInputs): Promise<Networking> {
    const client = await clientForChange(run, news.node, news.namespace);
    const image = await imageOf(run, client, news);
    const { container } = await client.containers.get({ id: news.name });
    const found = await networkOf(run, client, news, container?.labels ?? {});
    const network = await settlePorts(run, client, news, found, exposedBy(image.config));
    const running = (await processState(client, news.name))?.status === "running";
    if (network.settings && running) await ensureNetwork(client, network.settings);
    const fill = (inputs: ContainerInputs) => withSelf(inputs, network.self);
    const spec = await specOf(client, fill(news), image, privilegesOf(news, specIn(container?.spec)));
    await renewContainerFiles(client, { olds, news, fill }, networkFiles(network.settings));
    const labels = { ...labelChange(olds.labels, news.labels), ...ownLabels(news, "complete"), ...stopSignal(image) };
    for (const key of [LABEL.retain, LABEL.node]) labels[key] ??= ""; // an empty value takes a label away
    await client.containers.update({
        container: { id: news.name, labels, spec: any(SPEC_TYPE, spec) },
        update_mask: { paths: ["spec", ...Object.keys(labels).map((key) => `labels.${key}`)] },
    });
    // Once more: one that started meanwhile has seen the old files.
    const runs = (await processState(client, news.name))?.status === "running";
    const interrupted = (await labelsOf(client, news.name))[LABEL.restarting];
    if (interrupted || (runs && needsRestart(olds, news))) await restart(client, news.name);
    else if (runs) {
        await updateLimits(client, olds, news);
        await tellOfFiles(client, { olds, news, fill });
    }
    return network;
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
    const monitored = JSON.parse(kept) as Record<string, string>;
    await startProcess(client, name, undefined, freshUriOf(monitored));
    await setLabels(client, name, { ...monitored, [LABEL.restarting]: "" });
}

function monitorLabels(labels: Record<string, string>): Record<string, string> {
    return Object.fromEntries(Object.entries(labels).filter(([key]) => RESTART_LABELS.some((one) => one === key)));
}

async function labelsOf(client: Client, name: string): Promise<Record<string, string>> {
    return (await client.containers.get({ id: name })).container?.labels ?? {};
}

function ownLabels(inputs: ContainerInputs, phase: "creating" | "complete"): Record<string, string> {
    return { ...ownerLabels({ ...inputs, phase }), ...volumeLabels(inputs.mounts) };
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
