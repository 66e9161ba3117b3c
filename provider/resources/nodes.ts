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
 * labels. Holds no secret.
 *
 * @example
 * for (const node of containerd.configuredNodes({ role: "sip" })) new containerd.Container(node.name, { node: node.name, ... });
 */
export function configuredNodes(selector: Record<string, string> = {}): ConfiguredNode[] {
    const nodes = new pulumi.Config("containerd").getObject<Record<string, Partial<ConfiguredNode>>>("nodes") ?? {};
    return Object.entries(nodes)
        .map(([name, { labels = {}, publicAddress }]) => ({ name, labels, publicAddress }))
        .filter(({ labels }) => Object.entries(selector).every(([key, value]) => labels[key] === value))
        .sort((a, b) => a.name.localeCompare(b.name));
}
