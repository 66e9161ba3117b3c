/** What a resource's place makes of its inputs: a Node brings more along than its name. */
import type * as pulumi from "@pulumi/pulumi";
import type { NodeRef } from "./arguments";

const places = new WeakMap<object, pulumi.Inputs>();

/** The inputs that a Node, or a Container that has been placed on one, hands on. Kept aside: they are no outputs. */
export const placement = {
    set(resource: object, inputs: pulumi.Inputs): void {
        places.set(resource, inputs);
    },
    get(resource: object): pulumi.Inputs {
        return places.get(resource) ?? {};
    },
};

/** The inputs for an argument `node`. Not a Node: the name alone. */
export function placed(node: NodeRef | undefined): pulumi.Inputs {
    return typeof node === "object" && places.has(node) ? placement.get(node) : { node };
}
