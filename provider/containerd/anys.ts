/**
 * `google.protobuf.Any` in containerd's manner: the type URL is the message's bare name (with `type.googleapis.com/` in
 * front it is refused), and what is no protobuf message, like a runtime spec, is JSON.
 */
import type { TaskCreate__Output } from "./generated/containerd/events/TaskCreate";
import type { TaskDelete__Output } from "./generated/containerd/events/TaskDelete";
import type { TaskExit__Output } from "./generated/containerd/events/TaskExit";
import type { TaskOOM__Output } from "./generated/containerd/events/TaskOOM";
import type { TaskStart__Output } from "./generated/containerd/events/TaskStart";
import type { Options, Options__Output } from "./generated/containerd/runc/v1/Options";
import type { StreamInit, StreamInit__Output } from "./generated/containerd/services/streaming/v1/StreamInit";
import type { AuthRequest, AuthRequest__Output } from "./generated/containerd/types/transfer/AuthRequest";
import type { AuthResponse, AuthResponse__Output } from "./generated/containerd/types/transfer/AuthResponse";
import type { Data, Data__Output } from "./generated/containerd/types/transfer/Data";
import type { ImageStore, ImageStore__Output } from "./generated/containerd/types/transfer/ImageStore";
import type { OCIRegistry, OCIRegistry__Output } from "./generated/containerd/types/transfer/OCIRegistry";
import type { Progress, Progress__Output } from "./generated/containerd/types/transfer/Progress";
import type { WindowUpdate, WindowUpdate__Output } from "./generated/containerd/types/transfer/WindowUpdate";
import { ContainerdError } from "../errors";
import type { messageDefinition } from "./definitions";

/** An Any as calls take and give it. */
export interface Any {
    type_url: string;
    value: Buffer;
}

/** What can be packed and unpacked: the message as it is given, and as it comes. */
export interface AnyMessages {
    "containerd.runc.v1.Options": [Options, Options__Output];
    "containerd.services.streaming.v1.StreamInit": [StreamInit, StreamInit__Output];
    "containerd.types.transfer.OCIRegistry": [OCIRegistry, OCIRegistry__Output];
    "containerd.types.transfer.ImageStore": [ImageStore, ImageStore__Output];
    "containerd.types.transfer.AuthRequest": [AuthRequest, AuthRequest__Output];
    "containerd.types.transfer.AuthResponse": [AuthResponse, AuthResponse__Output];
    "containerd.types.transfer.Progress": [Progress, Progress__Output];
    "containerd.types.transfer.Data": [Data, Data__Output];
    "containerd.types.transfer.WindowUpdate": [WindowUpdate, WindowUpdate__Output];
    "containerd.events.TaskCreate": [never, TaskCreate__Output];
    "containerd.events.TaskStart": [never, TaskStart__Output];
    "containerd.events.TaskExit": [never, TaskExit__Output];
    "containerd.events.TaskDelete": [never, TaskDelete__Output];
    "containerd.events.TaskOOM": [never, TaskOOM__Output];
}

/** protobufjs is loaded by whoever packs first, not by whoever imports this. */
type Definition = typeof messageDefinition;
let loaded: Promise<{ messageDefinition: Definition }> | undefined;
const definitions = () => (loaded ??= import("./definitions.js"));

/** A message of ours as an Any. */
export async function packAny<N extends keyof AnyMessages>(name: N, message: AnyMessages[N][0]): Promise<Any> {
    const { messageDefinition } = await definitions();
    return { type_url: name, value: messageDefinition<object, object>(name).serialize(message) };
}

/** The message in an Any, or undefined where it is of another type. */
export async function unpackAny<N extends keyof AnyMessages>(
    name: N,
    any: Any | null,
): Promise<AnyMessages[N][1] | undefined> {
    if (any?.type_url !== name) return undefined;
    const { messageDefinition } = await definitions();
    return messageDefinition<object, AnyMessages[N][1]>(name).deserialize(any.value);
}

/** Type URLs under which containerd keeps OCI's JSON. */
export const JSON_TYPES = {
    /** Of a container's `spec`. */
    spec: "types.containerd.io/opencontainers/runtime-spec/1/Spec",
    /** Of `tasks.exec`'s `spec`. */
    process: "types.containerd.io/opencontainers/runtime-spec/1/Process",
    /** Of `tasks.update`'s `resources`. */
    resources: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources",
} as const;

/** Something that is JSON inside of an Any. */
export function packJson(kind: keyof typeof JSON_TYPES, value: object): Any {
    return { type_url: JSON_TYPES[kind], value: Buffer.from(JSON.stringify(value)) };
}

/** The JSON inside of an Any. Throws `Failed` where there is something else. */
export function unpackJson(kind: keyof typeof JSON_TYPES, any: Any | null): unknown {
    if (any?.type_url !== JSON_TYPES[kind])
        throw new ContainerdError(
            "Failed",
            `containerd gave ${any?.type_url || "nothing"} where a ${JSON_TYPES[kind]} belongs`,
        );
    return JSON.parse(any.value.toString("utf8"));
}
