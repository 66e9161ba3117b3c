/** A Container and its Task without an engine, where a test is about what happens between their steps. */
import { container } from "../../provider/lifecycle/container";
import type { Run } from "../../provider/lifecycle/run";
import { task } from "../../provider/lifecycle/task";
import { create, NODE } from "../bench/provider";

/** Makes a Container named `crash`, without a network. */
export function makeContainer(run: Run, image: string, command: string) {
    return create(run, container, { owner: owner("Container"), image, network: "none", args: ["sh", "-c", command] });
}

/** Makes the Task of that Container; resolves once it runs. */
export function makeTask(run: Run, { id }: { id: string }) {
    return create(run, task, { owner: owner("Task"), container: id, node: NODE });
}

function owner(kind: string): string {
    return `urn:pulumi:dev::test::pulumi-nodejs:dynamic/containerd:${kind}::crash`;
}
