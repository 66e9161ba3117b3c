#!/usr/bin/env node
/**
 * Installs what the demo, the tests and the benchmarks need and this machine lacks, and writes down where it is
 * (`.playground/environment.json`). Plain JavaScript without dependencies: it runs before `npm ci`, on Node 20.
 *
 *     node playground/setup.mjs            everything
 *     node playground/setup.mjs services   and what calls the services of the larger examples, and the peer of benchmarks:
 *                                          SIPp, Chromium, Docker
 *     node playground/setup.mjs tests      and what virtual machines need, where it can be had (see `playground/vm`)
 *     node playground/setup.mjs node       npm's packages and Node only: enough for the unit tests
 *
 * What is built is kept below `$XDG_CACHE_HOME/pulumi-containerd` (`~/.cache/pulumi-containerd`) for all clones. It can be
 * stopped at any time and run again: everything is made under a temporary name and renamed when whole.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import {
    containerdFromDebian,
    containerdFromGo,
    dockerFromDebian,
    registryFromDebian,
    sshdFromDebian,
    staticBusybox,
} from "./setup/containerd.mjs";
import { engine } from "./setup/engine.mjs";
import { withLock } from "./setup/lock.mjs";
import { nodeAndPackages } from "./setup/node.mjs";
import { installPackages } from "./setup/packages.mjs";
import { cache, playground } from "./setup/paths.mjs";
import { say, SetupError } from "./setup/run.mjs";

/** Parts with the services of the larger examples. */
const WITH_SERVICES = ["services", "tests"];

/** Where its packages cannot be had, there are no virtual machines, and their test says so (`whyNoMachine`). */
async function installEmulator() {
    try {
        await installPackages("emulator");
    } catch (error) {
        if (!(error instanceof SetupError)) throw error;
        say(`no virtual machines: ${error.message}`);
    }
}

/** Adds to what is known of this clone's tools. */
function remember(found) {
    const file = path.join(playground, "environment.json");
    let known = {};
    try {
        known = JSON.parse(readFileSync(file, "utf8"));
    } catch {
        // The first time there is none.
    }
    mkdirSync(playground, { recursive: true });
    writeFileSync(`${file}.new`, `${JSON.stringify({ ...known, ...found, cache }, null, 2)}\n`);
    renameSync(`${file}.new`, file);
}

/**
 * Sets up. `part` is `node`, `all`, `services`: with what calls the services of the larger examples, or `tests`: with virtual
 * machines too.
 * @returns the environment for what runs next: its PATH begins with a Node that is new enough.
 */
export async function setUp(part = "all") {
    mkdirSync(cache, { recursive: true });
    return withLock(path.join(cache, "lock"), "setup on this machine", async () => {
        const nodeBin = await nodeAndPackages();
        remember({ nodeBin });
        const environment = { ...process.env, PATH: `${nodeBin}${path.delimiter}${process.env.PATH}` };
        if (part === "node") return environment;
        if (process.platform !== "linux" || process.getuid() !== 0) {
            throw new SetupError(
                "the playground needs Linux and root: it makes namespaces and mounts (unit tests do not)",
            );
        }
        const services = WITH_SERVICES.includes(part);
        await installPackages("playground", ...(services ? ["services"] : []));
        if (part === "tests") await installEmulator();
        const debian = await containerdFromDebian();
        const registry = await registryFromDebian();
        const busybox = await staticBusybox();
        const sshd = await sshdFromDebian();
        const modern = await containerdFromGo();
        if (services) remember({ docker: await dockerFromDebian() });
        remember({ containerd: { 1.6: debian, 2: modern }, registry, busybox, sshd, pulumi: await engine() });
        return environment;
    });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
    setUp(process.argv[2]).catch((error) => {
        process.stderr.write(`setup: ${error instanceof SetupError ? error.message : error.stack}\n`);
        process.exitCode = 1;
    });
}
