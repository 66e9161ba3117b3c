/** The public interface of pulumi-containerd: `import * as containerd from "pulumi-containerd"`. */
export type {
    Dict,
    Duration,
    Health,
    HealthTiming,
    NodeRef,
    Optional,
    PlacedArgs,
    Restart,
    Size,
} from "./resources/arguments";
export { Container, type ContainerArgs, type FileArgs, type Mount, type ProcessArgs } from "./resources/container";
export { Image, type ImageArgs } from "./resources/image";
export { Network, type NetworkArgs, type NetworkAttachment } from "./resources/network";
export type { DnsArgs, NetworkingArgs, PortArgs } from "./resources/network-arguments";
export { type InitContainerArgs, type MemberArgs, type MemberStatus, Pod, type PodArgs } from "./resources/pod";
export { render } from "./resources/render";
export { self } from "./resources/self";
export { type ConnectionArgs, Node, type NodeArgs, type NodeFacts, onNode } from "./resources/node";
export { type ConfiguredNode, configuredNodes } from "./resources/nodes";
export { Task, type TaskArgs } from "./resources/task";
export { Volume, type VolumeArgs } from "./resources/volume";
