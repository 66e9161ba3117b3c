/**
 * What `playground/setup.mjs` found or installed: the tools that the demo, the tests and the benchmarks run. Setup writes
 * it to `.playground/environment.json` of the clone; here it is read.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { ContainerdError } from "../provider/errors";

/** The clone's top folder. */
export const repository = path.resolve(__dirname, "..");
/** What the playground makes for this clone: never committed, removed by `npm run demo -- --down`. */
export const playgroundFolder = path.join(repository, ".playground");

/** The versions of containerd that the playground can run: Debian's own, and one built from its Go module. */
export type ContainerdVersion = "1.6" | "2";

/** Paths of the tools, as setup left them. */
export interface Environment {
    /** The Pulumi engine (`pulumi`): the user's from PATH, or the playground's own. */
    pulumi: string;
    /** A folder whose `node` is new enough for Pulumi; goes first on PATH. */
    nodeBin: string;
    /** Folders with `containerd`, `ctr` and the shim, by version. One is absent when setup was not asked for it. */
    containerd: Partial<Record<ContainerdVersion, string>>;
    /** Debian's `docker-registry`. */
    registry: string;
    /** Debian's busybox without libraries, for images. */
    busybox: string;
    /** The folder in which Debian's `openssh-server` is as it would be in `/`; `/` when it is installed. */
    sshd: string;
    /** The folder in which Debian's `docker.io` is as it would be in `/`. Absent when only the demo was set up. */
    docker?: string;
    /** Where built images are kept: outside the clone. */
    cache: string;
}

let known: Environment | undefined;

/** The tools of this clone. Throws `NotFound` when setup has not run. */
export function environment(): Environment {
    if (known) return known;
    const file = path.join(playgroundFolder, "environment.json");
    try {
        known = JSON.parse(readFileSync(file, "utf8")) as Environment;
    } catch (cause) {
        throw new ContainerdError("NotFound", "the playground is not set up: run `node playground/setup.mjs`", {
            cause,
        });
    }
    return known;
}

/** PATH for what the playground runs: our Node first, and the system's folders that a plain user's PATH may lack. */
export function toolPath(...first: string[]): string {
    const inherited = (process.env.PATH ?? "").split(path.delimiter);
    return [...first, environment().nodeBin, ...inherited, "/usr/sbin", "/sbin"].filter(Boolean).join(path.delimiter);
}
