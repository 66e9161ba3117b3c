/** Words for what is known only when a container or pod is made. */
import { SELF } from "../spec/self";

/**
 * Stand-ins in `entrypoint`, `args`, `env` and the contents of `files`, filled in where the container or pod is made: its own
 * addresses (the IPv6 one is empty where it has none), its node's public address, its node's name. An Output can't say them, since
 * it would be the resource's own.
 *
 * @example
 * new containerd.Container("proxy", { image, args: [`--listen=${self.address}`, `--advertise=${self.nodeAddress}`] });
 */
export const self: {
    readonly address: string;
    readonly address6: string;
    readonly nodeAddress: string;
    readonly nodeName: string;
} = SELF;
