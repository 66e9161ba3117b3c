/**
 * The demo: `npm run demo` runs a plain `pulumi up` on `examples/pages` against machines of the playground's own, three that
 * are reached by SSH and one by its socket, and fetches the page that each serves. `npm run demo -- --down` destroys and removes
 * everything.
 *
 * Every step looks first what is there: it can be repeated, and continued after Ctrl-C.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { ContainerdError } from "../provider/errors";
import { engineEnvironment } from "./engine";
import { environment, playgroundFolder, repository } from "./environment";
import { nginxImage } from "./images";
import { nodeEntry } from "./node-config";
import { output } from "./process";
import { ensureStanding, ensureStandingCluster, LOCAL, pagePort, removeStanding, standingNodes } from "./standing";

const STACK = "demo";
const project = path.join(repository, "examples/pages");
const backend = path.join(playgroundFolder, "backend");
/** Not beside the program, where Pulumi would put it: the demo leaves the clone's files as they are. */
const configFile = path.join(playgroundFolder, `Pulumi.${STACK}.yaml`);
const configFlags = ["--stack", STACK, "--config-file", configFile];
const WANTED_PORT = 8080;
const WORKERS = 3;
const PAGE_ATTEMPTS = 40;

const { values } = parseArgs({
    options: { down: { type: "boolean", default: false }, containerd: { type: "string" } },
});

function say(text: string): void {
    process.stdout.write(`demo: ${text}\n`);
}

/** A command of the engine that is not shown. */
function quiet(args: readonly string[]): Promise<string> {
    const env = engineEnvironment(backend);
    return output(environment().pulumi, [...args, "--non-interactive"], { cwd: project, env });
}

/** A command of the engine with this terminal. Ctrl-C reaches it by itself; we wait for what it does about that. */
function shown(args: readonly string[]): Promise<void> {
    say(`pulumi ${args.join(" ")}`);
    return new Promise((resolve, reject) => {
        const stay = () => undefined;
        process.on("SIGINT", stay);
        const options = { cwd: project, env: engineEnvironment(backend), stdio: "inherit" } as const;
        const child = spawn(environment().pulumi, [...args, ...configFlags], options);
        child.once("error", reject);
        child.once("close", (code) => {
            process.off("SIGINT", stay);
            if (code === 0) resolve();
            else reject(new ContainerdError("Failed", `pulumi ${args[0] ?? ""} exited with status ${code ?? "none"}`));
        });
    });
}

/** Makes the stack, and takes the lock away that a killed engine left in it. */
async function prepareStack(): Promise<void> {
    await mkdir(backend, { recursive: true });
    await quiet(["stack", "select", "--create", STACK]);
    const made = path.join(project, `Pulumi.${STACK}.yaml`);
    // Copied, not renamed: the playground's folder may be on another file system. Absent when the stack was there already.
    if (existsSync(made)) await copyFile(made, configFile);
    await rm(made, { force: true });
    const locks = await readdir(path.join(backend, ".pulumi/locks"), { recursive: true }).catch(() => []);
    if (locks.some((file) => file.endsWith(".json"))) await quiet(["cancel", "--yes", "--stack", STACK]);
}

async function up(): Promise<void> {
    const version = values.containerd === "1.6" || !environment().containerd["2"] ? "1.6" : "2";
    const { registry } = await ensureStanding(version);
    await ensureStandingCluster(WORKERS);
    const workers = await standingNodes();
    say(
        `${workers.size} machines of the playground's own run containerd; all but \`${LOCAL}\` are reached by SSH alone`,
    );
    const reference = await registry.push(await nginxImage(), "nginx:1.22");
    say(`nginx of Debian's packages is in a registry on this machine: ${reference}`);
    const port = await pagePort(WANTED_PORT);
    await prepareStack();
    const nodes = Object.fromEntries([...workers].map(([name, worker]) => [name, nodeEntry(worker)]));
    const config = {
        "pages:image": { value: reference },
        "pages:port": { value: String(port) },
        "containerd:nodes": { value: JSON.stringify(nodes), objectValue: nodes },
    };
    await quiet(["config", "set-all", ...configFlags, "--json", JSON.stringify(config)]);
    // The program's outputs are the nodes' own addresses, in a network that this machine is not in: the table says where to look.
    await shown(["up", "--yes", "--suppress-outputs"]);
    const pages = JSON.parse(await quiet(["stack", "output", "--stack", STACK, "--json", "pages"])) as Page[];
    const table = new Table({
        head: ["node", "containerd", "container", "URL", "the page says"],
        style: { head: [], border: [], compact: true },
    });
    for (const { node, containerd, container } of pages) {
        const here = node === LOCAL ? port : await workers.get(node)?.forward(port);
        const url = `http://127.0.0.1:${here}/`;
        table.push([node, containerd, container, url, await titleOf(url)]);
    }
    process.stdout.write(`${table.toString()}\n`);
    say("`npm run playground` shows what else can be done with these machines: kill, boot, cut, heal, ctr, exec");
    say("`npm run demo -- --down` removes them, and the stack");
}

/** What the program says of a page. */
interface Page {
    node: string;
    containerd: string;
    container: string;
}

/** Title of the page. Throws `Failed` when it does not answer in some seconds. */
async function titleOf(url: string): Promise<string> {
    for (let attempt = 1; ; attempt++) {
        try {
            const response = await fetch(url);
            if (!response.ok) throw new ContainerdError("Failed", `${url} answers ${response.status}`);
            return /<title>([^<]*)/.exec(await response.text())?.[1] ?? "";
        } catch (error) {
            if (attempt === PAGE_ATTEMPTS) throw error;
            await sleep(250);
        }
    }
}

async function down(): Promise<void> {
    const workers = await standingNodes();
    if (workers.size) {
        for (const worker of workers.values()) await worker.ensure();
        await prepareStack();
        await shown(["destroy", "--yes"]);
    }
    await removeStanding();
    say("the demo's stack and machines are removed. What was built stays for the next time, in Go's own caches and in");
    say(`${environment().cache}; and so do the Debian packages that were missing`);
}

(values.down ? down() : up()).catch((error: unknown) => {
    const { message } = ContainerdError.from(error);
    process.stderr.write(`demo: ${message}\ndemo: run the same command again to go on from here\n`);
    process.exitCode = 1;
});
