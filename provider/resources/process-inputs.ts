/** What the arguments of a process become as inputs: of a Container, and of each member of a Pod. */
import * as pulumi from "@pulumi/pulumi";
import type { ProcessArgs } from "./container";
import { Image } from "./image";
import { mountInputs } from "./volume";

/** The arguments, with Images and Volumes as what is known of them, and secrets as secrets. */
export function processInputs<T extends ProcessArgs>(args: T): pulumi.Inputs {
    const { image, secrets, mounts } = args;
    return {
        ...args,
        image: image instanceof Image ? image.pinned : image,
        ...(image instanceof Image && { imageFrom: placeOf(image) }),
        ...(secrets && { secrets: secretValues(secrets) }),
        ...(mounts && { mounts: mountInputs(mounts) }),
    };
}

/** `node/namespace` of Images: one Output each, because the SDK takes a stack trace for every promise below one. */
const places = new WeakMap<Image, pulumi.Output<string>>();

function placeOf(image: Image): pulumi.Output<string> {
    const place = places.get(image) ?? pulumi.interpolate`${image.node}/${image.namespace}`;
    places.set(image, place);
    return place;
}

/** Each value on its own, so that the names stay readable in a preview. */
function secretValues(values: Record<string, pulumi.Input<string>>): Record<string, pulumi.Output<string>> {
    return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, pulumi.secret(value)]));
}
