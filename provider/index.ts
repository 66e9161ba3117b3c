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
export { type ConnectionArgs, Node, type NodeArgs, type NodeFacts, onNode } from "./resources/node";
export { type ConfiguredNode, configuredNodes } from "./resources/nodes";
export { Task, type TaskArgs } from "./resources/task";
