/**
 * What a Node in the state is known to lack, refused in the preview already. Pure. Facts that are not known yet refuse nothing:
 * `create` and `update` ask the node itself.
 */
import type { Facts } from "../node";
import { assertRestartable } from "../restart";
import { ContainerdError } from "../../errors";
import type { Failure } from "../lifecycle";
import { isUnknown } from "../unknown";

/** The facts that a Node brought along, as far as they are known. */
export function factsOf(news: unknown): Partial<Facts> | undefined {
    const { facts } = news as { facts?: Partial<Facts> };
    return facts === undefined || isUnknown(facts) ? undefined : facts;
}

/** What of the arguments the node cannot do. */
export function lacking(
    wanted: { node?: string; snapshotter?: string; restart?: string },
    facts: Partial<Facts> | undefined,
): Failure[] {
    if (!facts) return [];
    const failures: Failure[] = [];
    const { snapshotter, restart, node = "" } = wanted;
    const { containerd, snapshotters } = facts;
    if (snapshotter !== undefined && !isUnknown(snapshotter) && snapshotters && !snapshotters.includes(snapshotter)) {
        const there = snapshotters.join(", ");
        failures.push({
            property: "snapshotter",
            reason: `node ${node} has no snapshotter ${snapshotter}; it has ${there}`,
        });
    }
    if (restart !== undefined && !isUnknown(restart) && containerd !== undefined && !isUnknown(containerd)) {
        const [major = 0, minor = 0] = containerd.split(".").map(Number);
        try {
            assertRestartable(restart, false, { version: containerd, major, minor, restartMonitor: true }, node);
        } catch (error) {
            failures.push({ property: "restart", reason: ContainerdError.from(error).reason });
        }
    }
    return failures;
}
