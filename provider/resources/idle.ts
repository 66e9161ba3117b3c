/** Tells at the end of a program which Containers nothing runs: most often the Task was forgotten. */
import * as pulumi from "@pulumi/pulumi";

/** Containers on which no Task stands so far, with their names. */
const idle = new Map<pulumi.Resource, string>();

/** A Container was declared. */
export function declared(container: pulumi.Resource, name: string): void {
    if (idle.size === 0) process.once("beforeExit", tell);
    idle.set(container, name);
}

/** A Task stands on it. */
export function runs(container: pulumi.Resource | undefined): void {
    if (container) idle.delete(container);
}

function tell(): void {
    for (const [container, name] of idle) {
        void pulumi.log.info(`nothing runs in it: no Task stands on the Container ${name}`, container);
    }
    idle.clear();
}
