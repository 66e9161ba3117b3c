/**
 * Definitions of containerd's services and messages at run time, from the schema that `npm run generate` makes of `proto/`.
 * Loading this module loads protobufjs (some 40 ms), so {@link Client.connect} imports it when it is first needed.
 */
import { fromJSON, type MessageTypeDefinition, type Options } from "@grpc/proto-loader";
import type { ServiceDefinition } from "@grpc/grpc-js";
import { schema } from "./generated/schema";

/** The same as in `proto/generate.mjs`: the generated types tell what these options make of messages. */
export const loaderOptions: Options = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true };

const definitions = fromJSON(JSON.parse(schema) as Parameters<typeof fromJSON>[0], loaderOptions);

/** A service by its full name, like `containerd.services.tasks.v1.Tasks`. */
export function serviceDefinition(name: string): ServiceDefinition {
    return definitions[name] as ServiceDefinition;
}

/** A message type by its full name, like `containerd.types.transfer.OCIRegistry`. */
export function messageDefinition<Input extends object, Output extends object>(
    name: string,
): MessageTypeDefinition<Input, Output> {
    return definitions[name] as unknown as MessageTypeDefinition<Input, Output>;
}
