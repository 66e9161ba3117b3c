/**
 * Makes the OCI runtime spec of a container: a list of options, each of one concern, each in the file of that concern.
 * A new argument is one function and one row here (and one in `readback.ts`).
 */
import { withCgroup, withLimits } from "./cgroup";
import type { SpecContext, SpecOption } from "./context";
import { withDevices } from "./devices";
import { withFiles } from "./files";
import { withHooks } from "./hooks";
import { inMountOrder, withDefaultMounts, withMounts, withReadOnly } from "./mounts";
import { withDomainname, withHostname, withNamespaces, withNetwork, withSharedMemory } from "./namespaces";
import { withArgs, withEnv, withTty, withWorkdir } from "./process";
import { withCapabilities, withNoNewPrivileges, withProtectedPaths, withSeccomp } from "./security";
import type { Spec } from "./types";
import { withUser } from "./user";

/** In the order of their doing: an option sees what those above it wrote. */
const OPTIONS: readonly SpecOption[] = [
    // What runs
    withArgs,
    withEnv,
    withWorkdir,
    withUser,
    withTty,
    // What it sees
    withNamespaces,
    withHostname,
    withNetwork,
    withDomainname,
    withDefaultMounts,
    withSharedMemory,
    withMounts,
    withFiles,
    withReadOnly,
    // What it may do
    withCapabilities,
    withNoNewPrivileges,
    withProtectedPaths,
    withSeccomp,
    withDevices,
    // What it may use
    withCgroup,
    withLimits,
    // What may refuse its start
    withHooks,
    // Last
    inMountOrder,
];

/**
 * The spec of a container. No rlimits are set: the process has those of the node's containerd, as with Docker's daemon; and no
 * OOM score, which is then its parent's.
 *
 * Throws `Invalid` with the argument's path, before anything was touched.
 *
 * @example
 * const spec = buildSpec({ inputs, image: JSON.parse(config), folder: "/var/lib/pulumi-containerd/default/web-1234567" });
 */
export function buildSpec(context: SpecContext): Spec {
    const empty: Spec = {
        ociVersion: "1.1.0",
        root: { path: "rootfs" },
        process: { user: { uid: 0, gid: 0 }, args: [], env: [], cwd: "/" },
        mounts: [],
        linux: { namespaces: [] },
    };
    // A copy: the caller may write into it, and the options' own tables stay as they are.
    return structuredClone(OPTIONS.reduce((spec, option) => option(spec, context), empty));
}
