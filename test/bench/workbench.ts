/** An image on a worker, for the rows that make containers of it. */
import { busyboxImage } from "../../playground/images";
import type { Registry } from "../../playground/registry";
import type { Worker } from "../../playground/worker";
import { image } from "../../provider/lifecycle/image";
import { create, runOn } from "./provider";

/** busybox in namespace `default`: made by an Image of ours; `name` is what `ctr` knows it by. */
export async function busyboxOn(worker: Worker, registry: Registry): Promise<{ pinned: string; name: string }> {
    const name = await registry.push(await busyboxImage(), "busybox:1");
    const owner = "urn:pulumi:bench::bench::pulumi-nodejs:dynamic/containerd:Image::busybox";
    const { id } = await create(runOn(worker), image, { owner, ref: name });
    return { pinned: id.slice("default/".length, id.lastIndexOf("/")), name };
}
