/** Row: how long a new Node takes to load the package, in a program and in the provider process. */
import { environment, repository } from "../../playground/environment";
import { output } from "../../playground/process";
import { byMore, interleaved, type Line } from "./measure";

const RUNS = 15;
/** More than `@pulumi/pulumi` alone, in milliseconds. */
const LIMIT = 150;
/** Prints the milliseconds that requiring its arguments takes; what Node itself needs to start is not counted. */
const SCRIPT = `const start = performance.now();
for (const name of process.argv.slice(1)) require(name);
console.log(performance.now() - start);`;
/** What Pulumi's own provider process has loaded before it requires ours. */
const DYNAMIC = "@pulumi/pulumi/runtime";

function load(...modules: string[]): () => Promise<number> {
    const node = `${environment().nodeBin}/node`;
    return async () => Number(await output(node, ["-e", SCRIPT, ...modules], { cwd: repository }));
}

/** Measures the built package (`dist`). */
export async function loading(): Promise<Line[]> {
    const samples = await interleaved(RUNS, {
        pulumi: load("@pulumi/pulumi"),
        program: load("@pulumi/pulumi", "pulumi-containerd"),
        runtime: load("@pulumi/pulumi", DYNAMIC),
        provider: load("@pulumi/pulumi", DYNAMIC, "pulumi-containerd/provider"),
    });
    const against = "@pulumi/pulumi alone";
    return [
        byMore({ what: "load the package in a program", against, limit: LIMIT }, samples.program, samples.pulumi),
        byMore({ what: "load it in the provider process", against, limit: LIMIT }, samples.provider, samples.runtime),
    ];
}
