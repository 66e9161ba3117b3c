/** The Pulumi engine: the user's, or one built from its Go module with the playground's language host beside it. */
import {
    accessSync,
    constants,
    copyFileSync,
    existsSync,
    linkSync,
    lstatSync,
    mkdirSync,
    readlinkSync,
    realpathSync,
    renameSync,
    rmSync,
    statSync,
    symlinkSync,
} from "node:fs";
import path from "node:path";
import process from "node:process";
import { buildFromModule } from "./go.mjs";
import { playground, PULUMI_VERSION, repository } from "./paths.mjs";
import { say } from "./run.mjs";

const MODULE = "github.com/pulumi/pulumi/pkg/v3";
const LANGUAGE_HOST = "pulumi-language-nodejs";

function findOnPath(name) {
    for (const folder of (process.env.PATH ?? "").split(path.delimiter)) {
        const file = path.join(folder, name);
        try {
            accessSync(file, constants.X_OK);
            return file;
        } catch {
            // Not in this one.
        }
    }
    return undefined;
}

/** @returns the path of a `pulumi` that can run Node programs. */
export async function engine() {
    const installed = findOnPath("pulumi");
    if (installed) {
        const beside = path.join(path.dirname(realpathSync(installed)), LANGUAGE_HOST);
        if (existsSync(beside) || findOnPath(LANGUAGE_HOST)) return installed;
        say(`${installed} has no ${LANGUAGE_HOST} beside it: taking an engine of the playground's own`);
    }
    const built = await buildFromModule({
        name: `pulumi-${PULUMI_VERSION}`,
        module: MODULE,
        version: PULUMI_VERSION,
        commands: ["cmd/pulumi"],
        // The engine refuses to work without knowing its version.
        variable: "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version",
        value: `v${PULUMI_VERSION}`,
        said: `the Pulumi engine ${PULUMI_VERSION} from its Go module (4 to 9 minutes on two cores)`,
    });
    return assemble(path.join(built, "pulumi"));
}

/**
 * A folder of this clone with the engine and its plugins for Node: the engine looks for them beside its own executable (a
 * symbolic link would be followed), and the plugins use this clone's packages.
 */
function assemble(pulumi) {
    const bin = path.join(playground, "bin");
    mkdirSync(bin, { recursive: true });
    const target = path.join(bin, "pulumi");
    if (!isCopy(target, pulumi)) {
        const temporary = `${target}.new`;
        rmSync(temporary, { force: true });
        try {
            linkSync(pulumi, temporary);
        } catch {
            // The cache lies on another file system.
            copyFileSync(pulumi, temporary);
        }
        renameSync(temporary, target);
    }
    link(path.join(bin, LANGUAGE_HOST), path.join(repository, "playground/language-host/host.mjs"));
    const dynamic = "pulumi-resource-pulumi-nodejs";
    link(path.join(bin, dynamic), path.join(repository, "node_modules/@pulumi/pulumi", dynamic));
    return target;
}

function isCopy(target, source) {
    if (!existsSync(target)) return false;
    const [one, other] = [statSync(target), statSync(source)];
    return one.ino === other.ino || (one.size === other.size && one.mtimeMs >= other.mtimeMs);
}

/** What is right already stays: an engine that runs now may look for it. */
function link(file, target) {
    if (lstatSync(file, { throwIfNoEntry: false })) {
        if (readlinkSync(file) === target) return;
        rmSync(file);
    }
    symlinkSync(target, file);
}
