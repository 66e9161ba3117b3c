/** Which devices the container may open. The usual nodes in `/dev` are made by runc itself. */
import { type SpecOption, withLinux, withResources } from "./context";
import type { LinuxDeviceRule } from "./types";

/** Docker's and containerd's: everything may be made (the capability says who may), few may be opened. */
const DEFAULT_RULES: LinuxDeviceRule[] = [
    { allow: false, access: "rwm" },
    { allow: true, type: "c", access: "m" },
    { allow: true, type: "b", access: "m" },
    { allow: true, type: "c", major: 1, minor: 3, access: "rwm" }, // null
    { allow: true, type: "c", major: 1, minor: 5, access: "rwm" }, // zero
    { allow: true, type: "c", major: 1, minor: 7, access: "rwm" }, // full
    { allow: true, type: "c", major: 1, minor: 8, access: "rwm" }, // random
    { allow: true, type: "c", major: 1, minor: 9, access: "rwm" }, // urandom
    { allow: true, type: "c", major: 5, minor: 0, access: "rwm" }, // tty
    { allow: true, type: "c", major: 5, minor: 1, access: "rwm" }, // console
    { allow: true, type: "c", major: 5, minor: 2, access: "rwm" }, // ptmx
    { allow: true, type: "c", major: 136, access: "rwm" }, // pts/N
];

/** The default rules, or with `privileged` all devices. runc 1.1 adds `/dev/net/tun` to the former, of its own. */
export const withDevices: SpecOption = (spec, { inputs, node }) => {
    if (!inputs.privileged) return withResources(spec, { devices: DEFAULT_RULES });
    const all = withResources(spec, { devices: [{ allow: true, access: "rwm" }] });
    return node?.devices ? withLinux(all, { devices: node.devices }) : all;
};
