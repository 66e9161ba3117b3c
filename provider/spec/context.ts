/** What every option of `spec/` is given, and what an option is. */
import type { ContainerInputs } from "./inputs";
import type { Linux, LinuxDevice, LinuxResources, Process, Spec } from "./types";

/**
 * An image's config as it lies in the content store (OCI image spec, config.md; Docker's image config has the same fields).
 * The parsed JSON can be given as it is. `Volumes` of an image are not used: its files stay in the container's snapshot, as
 * with containerd.
 */
export interface ImageConfig {
    /** Go's name of the architecture: `amd64`, `arm64`. */
    architecture: string;
    os: string;
    config?: {
        Entrypoint?: string[] | null;
        Cmd?: string[] | null;
        Env?: string[] | null;
        User?: string;
        WorkingDir?: string;
    } | null;
}

/** The texts of the image's `/etc/passwd` and `/etc/group`; "" where the image has none. */
export interface ImageUsers {
    passwd: string;
    group: string;
}

/** What is known of the node. All optional: what is not known is left to what every supported node can do. */
export interface NodeFacts {
    /** Kernel release as `uname -r` says it, like `6.1.0-18-amd64`. */
    kernel?: string;
    /** Go's name of the architecture; the image's where absent. */
    architecture?: string;
    /**
     * The capabilities that its containerd has to give, without `CAP_`; all where absent. A node that is itself a container may
     * lack some, and runc refuses a container that asks for one of those: "all" is then all of these.
     */
    capabilities?: readonly string[];
    /** How many CPUs could be there: their thermal counters are masked, as Docker does. */
    cpus?: number;
    /** The node's devices; a privileged container gets them in its `/dev`. Without, it may open them, but has to make the nodes. */
    devices?: LinuxDevice[];
}

/** All that a spec is made from. */
export interface SpecContext {
    inputs: ContainerInputs;
    image: ImageConfig;
    /** Needed where `needsUsers(inputs, image)` says so, not looked at elsewhere. */
    users?: ImageUsers;
    /** The container's own folder on the node: files, secrets and logs lie there. Absolute. */
    folder: string;
    node?: NodeFacts;
}

/**
 * One option: the spec with one concern written into it. Pure: the spec given is not changed. Throws `Invalid` with the
 * argument's path where the argument cannot be used.
 */
export type SpecOption = (spec: Spec, context: SpecContext) => Spec;

/** The spec with these parts of `process`. */
export function withProcess(spec: Spec, part: Partial<Process>): Spec {
    return { ...spec, process: { ...spec.process, ...part } };
}

/** The spec with these parts of `linux`. */
export function withLinux(spec: Spec, part: Partial<Linux>): Spec {
    return { ...spec, linux: { ...spec.linux, ...part } };
}

/** The spec with these parts of `linux.resources`. */
export function withResources(spec: Spec, part: Partial<LinuxResources>): Spec {
    return withLinux(spec, { resources: { ...spec.linux.resources, ...part } });
}

/** Whether the node's kernel is at least `major.minor`; `otherwise` where the release is not known. */
export function kernelAtLeast(node: NodeFacts | undefined, major: number, minor: number, otherwise: boolean): boolean {
    const release = /^(\d+)\.(\d+)/.exec(node?.kernel ?? "");
    if (!release) return otherwise;
    const [hasMajor, hasMinor] = [Number(release[1]), Number(release[2])];
    return hasMajor > major || (hasMajor === major && hasMinor >= minor);
}
