/** Subnets of Networks that would not go together on one node. Pure, but for what a run remembers. */
import { overlap, parseSubnet } from "../../network/addresses";
import type { NetworkDefinition } from "../../network/definition";
import type { Failure } from "../lifecycle";
import { nameOfUrn } from "../names";
import type { Run } from "../run";
import { holdsUnknown, isUnknown } from "../unknown";

/** As much of a network as its subnets. */
export type Subnets = Pick<NetworkDefinition, "driver" | "subnet" | "subnet6">;

/** Which of one's subnets overlaps the other's, if one does. */
export function overlapping(one: Subnets, other: Subnets): "subnet" | "subnet6" | undefined {
    return (["subnet", "subnet6"] as const).find((key) => {
        const [a, b] = [one[key], other[key]];
        return a !== undefined && b !== undefined && overlap(parseSubnet(a), parseSubnet(b));
    });
}

/**
 * What of these subnets another Network of the program wants on the same node: said in the preview already, and because two that are
 * made side by side do not see each other there. One that is checked again (a replacement) takes its own words back first.
 */
export function contestedSubnets(
    run: Run,
    { owner, node, definition }: { owner: string; node: string; definition: NetworkDefinition },
): Failure[] {
    const wanted = run.first("subnets", new Map<string, { node: string; definition: Subnets }>());
    wanted.delete(owner);
    if (isUnknown(node) || holdsUnknown(definition) || definition.driver !== "bridge") return [];
    for (const [other, theirs] of wanted) {
        if (theirs.node !== node) continue;
        const property = overlapping(definition, theirs.definition);
        if (property === undefined) continue;
        const reason = `${definition[property]} overlaps that of ${nameOfUrn(other)} on the same node, ${theirs.definition[property]}`;
        return [{ property, reason }];
    }
    wanted.set(owner, { node, definition });
    return [];
}
