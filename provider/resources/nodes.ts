/** The nodes that the stack's config names, for programs that loop over them. */
import * as pulumi from "@pulumi/pulumi";

/** A node of the stack config `containerd:nodes`, without how it is reached. */
export interface ConfiguredNode {
    name: string;
    labels: Record<string, string>;
    /** Where others reach it. */
    publicAddress?: string;
}

/**
 * The nodes of the stack config `containerd:nodes`, in the order of their names; with a selector, those that have all of its
 * labels. Holds no secret. Warns of a selector that none of the nodes has: a program that loops over nothing says nothing.
 *
 * @example
 * for (const node of containerd.configuredNodes({ role: "sip" })) new containerd.Container(node.name, { node: node.name, ... });
 */
export function configuredNodes(selector: Record<string, string> = {}): ConfiguredNode[] {
    const nodes = new pulumi.Config("containerd").getObject<Record<string, Partial<ConfiguredNode>>>("nodes") ?? {};
    const all = Object.entries(nodes).map(([name, { labels = {}, publicAddress }]) => ({
        name,
        labels,
        publicAddress,
    }));
    const chosen = all.filter(({ labels }) => Object.entries(selector).every(([key, value]) => labels[key] === value));
    if (all.length > 0 && chosen.length === 0) void pulumi.log.warn(noneChosen(selector, all));
    return chosen.sort((a, b) => a.name.localeCompare(b.name));
}

/** @internal What is said of a selector that no node has: the labels that there are, with their values. */
export function noneChosen(selector: Record<string, string>, nodes: readonly ConfiguredNode[]): string {
    const values = new Map<string, Set<string>>();
    for (const [key, value] of nodes.flatMap(({ labels }) => Object.entries(labels))) {
        values.set(key, (values.get(key) ?? new Set()).add(value));
    }
    const shown = [...values].map(([key, seen]) => `${key}: ${[...seen].sort().join(" | ")}`).sort();
    const wanted = Object.entries(selector).map(([key, value]) => `${key}: ${value}`);
    return (
        `configuredNodes({ ${wanted.join(", ")} }) chooses none of the ${nodes.length} nodes of the stack config containerd:nodes: ` +
        (shown.length > 0 ? `their labels are { ${shown.join(", ")} }` : "they have no labels")
    );
}
