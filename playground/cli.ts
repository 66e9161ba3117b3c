/**
 * The playground by hand: `npm run playground -- up | down | status | ctr ARGUMENT… | sh SCRIPT [ARGUMENT…]`. It is the
 * worker and the registry on which the demo runs.
 */
import { ContainerdError } from "../provider/errors";
import { environment } from "./environment";
import { ensureStanding, removeStanding, standingRegistry, standingWorker } from "./standing";
import type { Worker } from "./worker";

const USAGE = "usage: npm run playground -- up | down | status | ctr ARGUMENT... | sh SCRIPT [ARGUMENT...]\n";

async function runningWorker(): Promise<Worker> {
    const worker = await standingWorker();
    if (!worker?.running)
        throw new ContainerdError("NotFound", "the playground does not run: `npm run playground -- up`");
    return worker;
}

async function status(): Promise<string> {
    const worker = await standingWorker();
    const registry = await standingRegistry();
    const machine = worker
        ? `${worker.name}, containerd ${worker.version}, ${worker.running ? worker.address : "off"}`
        : "none";
    return `worker:   ${machine}\nregistry: ${registry ?? "none"}\n`;
}

async function main([command, ...args]: string[]): Promise<string> {
    switch (command) {
        case "up":
            await ensureStanding(environment().containerd["2"] ? "2" : "1.6");
            return status();
        case "down":
            await removeStanding();
            return "";
        case "status":
            return status();
        case "ctr":
            return (await runningWorker()).ctr(...args);
        case "sh": {
            const [script = "", ...rest] = args;
            return (await runningWorker()).run(script, ...rest);
        }
        default:
            process.exitCode = 2;
            return USAGE;
    }
}

main(process.argv.slice(2)).then(
    (text) => process.stdout.write(text),
    (error: unknown) => {
        process.stderr.write(`${ContainerdError.from(error).message}\n`);
        process.exitCode = 1;
    },
);
