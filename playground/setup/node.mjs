/** npm's packages, and a Node that is new enough for Pulumi. */
import { existsSync, lstatSync, mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { cache, OLDEST_NODE, repository } from "./paths.mjs";
import { capture, folder, must, say, SetupError } from "./run.mjs";

const modules = path.join(repository, "node_modules");

/** The major version that a `node` says it is; 0 when it does not run. */
async function majorOf(node) {
    if (!existsSync(node)) return 0;
    const { code, stdout } = await capture(node, ["--version"]).catch(() => ({ code: 1, stdout: "" }));
    return code === 0 ? Number(/^v(\d+)/.exec(stdout)?.[1] ?? 0) : 0;
}

/**
 * Whether what is installed is what the lockfile says. npm writes down in `node_modules/.package-lock.json` what it has
 * installed. Ages are no help: git gives a file the time of its checkout.
 */
function packagesAreCurrent() {
    const installed = path.join(modules, ".package-lock.json");
    if (!existsSync(installed)) return false;
    const packagesOf = (file) => JSON.parse(readFileSync(file, "utf8")).packages;
    const have = packagesOf(installed);
    const wanted = Object.entries(packagesOf(path.join(repository, "package-lock.json")));
    // Optional ones are for other platforms.
    return wanted.every(([name, { version, optional }]) => {
        return optional || !name.startsWith("node_modules/") || (have[name] && have[name].version === version);
    });
}

/**
 * Installs both where needed.
 * @returns the folder whose `node` is new enough; other packages' commands may lie beside it.
 */
export async function nodeAndPackages() {
    if (!packagesAreCurrent()) {
        say("npm ci: the packages of package-lock.json (about half a minute)");
        await must("npm", ["ci", "--no-fund", "--no-audit", "--loglevel=error"], { cwd: repository });
    }
    const bin = path.join(modules, ".bin");
    const ours = path.join(bin, "node");
    if ((await majorOf(ours)) >= OLDEST_NODE) return bin;
    // The package `node` fetches the binary in an install script, which npm may have been told not to run, or which may have
    // failed. The binary's own package needs no script: fetch that, and put it where the script would have.
    const { version } = JSON.parse(readFileSync(path.join(modules, "node/package.json"), "utf8"));
    const binary = `node-linux-${process.arch}`;
    const target = await folder(path.join(cache, `node-${version}`), async (temporary) => {
        say(`Node ${version} from npm's package ${binary} (about ten seconds)`);
        const options = ["--no-save", "--ignore-scripts", "--no-fund", "--no-audit", "--no-package-lock"];
        await must("npm", ["install", ...options, "--prefix", temporary, `${binary}@${version}`], { cwd: temporary });
    });
    const node = path.join(target, "node_modules", binary, "bin/node");
    if ((await majorOf(node)) < OLDEST_NODE)
        throw new SetupError(`${node} does not run: remove ${target} and try again`);
    mkdirSync(path.join(modules, "node/bin"), { recursive: true });
    replaceLink(path.join(modules, "node/bin/node"), node);
    if (!existsSync(ours)) replaceLink(ours, "../node/bin/node");
    return bin;
}

function replaceLink(link, target) {
    if (lstatSync(link, { throwIfNoEntry: false })) rmSync(link);
    symlinkSync(target, link);
}
