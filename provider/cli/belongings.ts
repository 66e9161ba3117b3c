/** What of this package lies on a node, whosever it is: found by the labels that everything of ours bears. */
import type { Client } from "../containerd/client";
import { nodeFacts } from "../containerd/facts";
import { OWNER, UID } from "../containerd/labels";
import { claimsOf, isBrought } from "../images/names";
import { RUN_LABEL, STACK_LABEL } from "../lifecycle/leases";
import { LABEL } from "../lifecycle/ownership";
import { NODE_FOLDER } from "../node/folders";
import type { Survey } from "../node/survey";
import type { Transport } from "../transport/transport";

interface Common {
    namespace: string;
    /** containerd's id; of an image, its record's name. */
    name: string;
    /** URN of the resource, or what its label says instead. */
    owner: string;
    /** Which one of all that this owner ever made. */
    uid: string;
    /** Pulumi was told to leave it. */
    retained: boolean;
}

/** One thing of ours. */
export type Belonging =
    | (Common & { kind: "container" })
    /** A claim on an image record. `brought`: the record is ours; `claims`: how many stand on it. */
    | (Common & { kind: "image"; brought: boolean; claims: number })
    /** `passing`: it is of a run of Pulumi, that is under way or was killed; else it claims the machine. */
    | (Common & { kind: "lease"; passing: boolean })
    /** A writable snapshot that no container holds. */
    | (Common & { kind: "snapshot"; snapshotter: string })
    /** A container's folder below `/var/lib/pulumi-containerd`, of which nobody says whose it is. */
    | (Common & { kind: "folder"; hasContainer: boolean });

/** Lists them, in all namespaces. Folders need root, or `sudo`, and are left out without. Throws what a call throws. */
export async function listBelongings(
    client: Client,
    transport: Transport,
    seen: Pick<Survey, "isRoot" | "hasSudo"> | undefined,
): Promise<Belonging[]> {
    const { namespaces } = await client.namespaces.list({});
    const found: Belonging[] = [];
    const names = new Set<string>();
    for (const { name: namespace } of namespaces) {
        const at = client.inNamespace(namespace);
        const { all, ours } = await containersOf(at);
        for (const one of all) names.add(`${one.id}@${namespace}`);
        found.push(...ours, ...(await imagesOf(at)), ...(await leasesOf(at)), ...(await snapshotsOf(at, all)));
    }
    for (const folder of await folders(transport, seen)) {
        const at = folder.lastIndexOf("@");
        if (at < 1) continue;
        const [name, namespace] = [folder.slice(0, at), folder.slice(at + 1)];
        const hasContainer = names.has(folder);
        found.push({ kind: "folder", namespace, name, owner: "", uid: "", retained: false, hasContainer });
    }
    return found;
}

interface Holder {
    id: string;
    snapshotter: string;
    snapshot: string;
}

async function containersOf(client: Client): Promise<{ all: Holder[]; ours: Belonging[] }> {
    const all: Holder[] = [];
    const ours: Belonging[] = [];
    for await (const { container } of client.containers.listStream({ filters: [] })) {
        if (!container) continue;
        const { id, labels, snapshotter, snapshot_key } = container;
        all.push({ id, snapshotter, snapshot: snapshot_key });
        if (labels[OWNER] !== undefined) ours.push({ kind: "container", ...common(client, id, labels) });
    }
    return { all, ours };
}

async function imagesOf(client: Client): Promise<Belonging[]> {
    const { images } = await client.images.list({ filters: [] });
    return images.flatMap(({ name, labels }) => {
        const claims = claimsOf(labels);
        return [...claims].map(([uid, owner]): Belonging => ({
            kind: "image",
            namespace: client.namespace,
            name,
            owner,
            uid,
            retained: owner.startsWith("retained: "),
            brought: isBrought(labels),
            claims: claims.size,
        }));
    });
}

async function leasesOf(client: Client): Promise<Belonging[]> {
    const { leases } = await client.leases.list({ filters: [`labels."${OWNER}"`] });
    return leases.map(({ id, labels }): Belonging => {
        const passing = labels[RUN_LABEL] !== undefined || labels[LABEL.node] === undefined;
        const { uid, ...rest } = common(client, id, labels);
        // What serves a moment says for which stack; its owner may be a mere purpose.
        const owner = labels[STACK_LABEL] === undefined ? rest.owner : `${labels[STACK_LABEL]}::${rest.owner}`;
        return { kind: "lease", ...rest, owner, uid: uid || (labels[LABEL.node] ?? ""), passing };
    });
}

async function snapshotsOf(client: Client, holders: readonly Holder[]): Promise<Belonging[]> {
    const held = new Set(holders.map(({ snapshotter, snapshot }) => `${snapshotter} ${snapshot}`));
    const found: Belonging[] = [];
    for (const snapshotter of (await nodeFacts(client)).snapshotters) {
        for await (const { info } of client.snapshots.list({ snapshotter, filters: [`labels."${OWNER}"`] })) {
            for (const { name, labels, kind } of info) {
                if (kind !== "ACTIVE" || held.has(`${snapshotter} ${name}`)) continue;
                found.push({ kind: "snapshot", snapshotter, ...common(client, name, labels) });
            }
        }
    }
    return found;
}

function common(client: Client, name: string, labels: Record<string, string>): Common {
    const retained = labels[LABEL.retain] === "true";
    return { namespace: client.namespace, name, owner: labels[OWNER] ?? "", uid: labels[UID] ?? "", retained };
}

const FOLDERS = `
[ -d "$1" ] || exit 0
if [ "$(id -u)" = 0 ]; then ls -1 "$1"; else sudo -n ls -1 "$1"; fi
`;

async function folders(transport: Transport, seen: Pick<Survey, "isRoot" | "hasSudo"> | undefined): Promise<string[]> {
    if (!seen?.isRoot && !seen?.hasSudo) return [];
    const { code, stdout } = await transport.run(FOLDERS, [NODE_FOLDER], { timeout: 10_000 });
    return code === 0 ? stdout.split("\n").filter(Boolean) : [];
}
