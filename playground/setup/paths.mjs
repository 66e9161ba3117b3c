/** Folders and versions of the playground's setup. */
import { homedir } from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

export const repository = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
/** What belongs to this clone. */
export const playground = path.join(repository, ".playground");
/** What all clones share. */
export const cache = path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), ".cache"), "pulumi-containerd");

/** Must be a version whose Go module builds by itself; some of Pulumi's do not. */
export const PULUMI_VERSION = "3.258.0";
export const CONTAINERD_VERSION = "2.4.2";
/** What `@pulumi/pulumi` asks for. */
export const OLDEST_NODE = 22;
