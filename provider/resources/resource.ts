/**
 * What all resources of this package have in common: how they are registered with the engine. Loaded by every program, so
 * it does no I/O and requires nothing but `@pulumi/pulumi`.
 */
import * as pulumi from "@pulumi/pulumi";

/** The kinds of resources, each a lifecycle of its own in the provider. */
export type Kind = "Node" | "Image" | "Container" | "Task" | "Network" | "Volume" | "Pod";

/**
 * What the state keeps as a resource's provider: a constant, so that it never makes a diff. The required path and the
 * names of the handlers are a contract with every state that was ever written.
 */
function providerOf(kind: Kind): string {
    return `exports.handler = () => require("pulumi-containerd/provider").${kind};`;
}

/** A resource of this package: what it is registered with, beside its own arguments. */
export abstract class ContainerdResource extends pulumi.CustomResource {
    /** @internal */
    protected constructor(kind: Kind, name: string, props: pulumi.Inputs, opts: pulumi.CustomResourceOptions = {}) {
        const type = `pulumi-nodejs:dynamic/containerd:${kind}`;
        if (opts.import !== undefined) {
            throw new pulumi.RunError(
                `${kind} ${name}: import is not possible with Pulumi's dynamic resources. Remove the option import; ` +
                    "to take over something that runs already, stop it and let this program make it anew " +
                    "(an argument adopt is planned).",
            );
        }
        const bookkeeping =
            opts.id !== undefined
                ? {}
                : {
                      owner: ownerUrn(type, name, opts.parent),
                      // Only what is there: each key, even of an undefined value, makes the SDK an Output of the resource.
                      ...(opts.retainOnDelete && { retainOnDelete: true }),
                      ...(opts.customTimeouts && { timeouts: opts.customTimeouts }),
                      ...(opts.replaceOnChanges && { replaceOnChanges: opts.replaceOnChanges }),
                  };
        // Of an update that failed (lifecycle/steadfast.ts): what it holds has other names here, by which Pulumi knows no secrets.
        const secret = { additionalSecretOutputs: ["unfinished"] };
        const options = pulumi.mergeOptions(opts, secret);
        super(type, name, { ...props, ...bookkeeping, __provider: providerOf(kind) }, options);
    }
}

/**
 * The URN that the engine will give the resource. The protocol does not tell it to the provider, so it travels as an
 * input. Computed from the parents' types and not as an Output of the parent, which would make a component that holds
 * the resource wait for itself.
 */
function ownerUrn(type: string, name: string, parent: pulumi.Resource | undefined): string {
    const types = [type];
    for (let at = parent as Parent | undefined; at; at = at.__parentResource) {
        if (at.__pulumiType && at.__pulumiType !== "pulumi:pulumi:Stack") types.unshift(at.__pulumiType);
    }
    return `urn:pulumi:${pulumi.getStack()}::${pulumi.getProject()}::${types.join("$")}::${name}`;
}

/** What the SDK keeps on each resource, but leaves out of its public types. */
interface Parent {
    readonly __pulumiType?: string;
    readonly __parentResource?: Parent;
}
