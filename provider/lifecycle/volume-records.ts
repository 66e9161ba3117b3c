/**
 * Which volumes are on a node, and whose: one small file for each, beside the folders, so that it goes the way of the data (a backup,
 * a containerd that is set up anew) and not that of containerd's database.
 */
import type { Client } from "../containerd/client";
import { readFiles } from "../containerd/node-files";
import { RECORDS_FOLDER, volumeKey } from "../spec/volumes";
import type { VolumeArguments } from "./volume";

/** What is written of a volume on its node. */
export type VolumeRecord = Pick<
    VolumeArguments,
    "name" | "namespace" | "owner" | "uid" | "revision" | "driver" | "options" | "path" | "claim" | "labels"
> & {
    /** Pulumi was told to leave it. */
    retain?: boolean;
};

/** What is to be written of a volume: its options only where no password is among them. Pure. */
export function recordOf(inputs: VolumeArguments): VolumeRecord {
    const { name, namespace, owner, uid, revision, driver, path, claim, labels, retainOnDelete } = inputs;
    const options = /pass|cred/i.test(inputs.options?.o ?? "") ? undefined : inputs.options;
    const retain = retainOnDelete ? { retain: true } : {};
    return { name, namespace, owner, uid, revision, driver, options, path, claim, labels, ...retain };
}

/** All records on a node, by key. One that cannot be read is nobody's, and stays a taken name. */
export async function listVolumes(client: Client): Promise<Map<string, VolumeRecord | undefined>> {
    const files = await readFiles(client, RECORDS_FOLDER, (path) => path.endsWith(".json"));
    return new Map(
        files.map(({ path, content }) => [path.slice(0, -".json".length), parseRecord(content.toString("utf8"))]),
    );
}

/** The record of one volume; undefined where there is none. */
export async function findVolume(
    client: Client,
    of: { name: string; namespace: string },
): Promise<VolumeRecord | undefined> {
    return (await listVolumes(client)).get(volumeKey(of));
}

/** Pure. Undefined for what is no record. */
export function parseRecord(text: string): VolumeRecord | undefined {
    try {
        const record = JSON.parse(text) as Partial<VolumeRecord> | null;
        const whole = typeof record?.owner === "string" && typeof record.uid === "string";
        return whole ? (record as VolumeRecord) : undefined;
    } catch {
        return undefined;
    }
}
