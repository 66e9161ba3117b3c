/** Where the container stands in the node's control groups, and its limits there. */
import { type SpecOption, withLinux, withResources } from "./context";
import { linuxResources } from "./resources";

/**
 * The cgroup `/NAMESPACE/NAME`, as `ctr` places it: below each controller on cgroup v1, in the one tree on v2. A member of a pod
 * stands in its pod's.
 */
export const withCgroup: SpecOption = (spec, { inputs }) => {
    const { namespace, name, network } = inputs;
    const pod = typeof network === "object" && "pod" in network ? `/${network.pod}` : "";
    return withLinux(spec, { cgroupsPath: `/${namespace}${pod}/${name}` });
};

/** `memory`, `cpu`, `pidsLimit`. */
export const withLimits: SpecOption = (spec, { inputs }) => withResources(spec, linuxResources(inputs));
