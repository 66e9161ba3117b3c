/** Tells at the end of a program which Containers nothing runs: most often the Task was forgotten. */
import * as pulumi from "@pulumi/pulumi";

/** Containers on which no Task stands so far, with their names. */
const idle = new Map<pulumi.Resource, string>();
/** Whether the program's end is waited for: once, however often nothing is idle in between. */
let awaited = false;

/** A Container was declared. */
export function declared(container: pulumi.Resource, name: string): void {
    if (!awaited) process.once("beforeExit", tell);
    awaited = true;
    idle.set(container, name);
}

/** A Task stands on it. */
export function runs(container: pulumi.Resource | undefined): void {
    if (container) idle.delete(container);
}

/** Told on the row of each; many of them are hardly forgotten, and each line is a call to the engine. */
const SHOWN = 5;

function tell(): void {
    awaited = false;
    for (const [container, name] of [...idle].slice(0, SHOWN)) {
        void pulumi.log.info(`nothing runs in it: no Task stands on the Container ${name}`, container);
    }
    const more = idle.size - SHOWN;
    if (more > 0) void pulumi.log.info(`nothing runs in ${more} more Containers either: no Task stands on them`);
    idle.clear();
}
