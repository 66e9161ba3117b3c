/**
 * `self`: words in arguments that stand for what is known only when the container or pod is made. An Output can't say it, since
 * it would be one of the resource's own.
 */
import type { ContainerInputs } from "./inputs";
import type { Self } from "./sandbox";

/** What a program writes: each is replaced in `entrypoint`, `args`, `env`, the contents of `files` and the commands of `health`. */
export const SELF = {
    /** The container's or pod's own address; with network `host` the node's. */
    address: "$(self.address)",
    /** Its own IPv6 address; empty where it has none. */
    address6: "$(self.address6)",
    /** Where others reach the node: its `publicAddress`, else its host. */
    nodeAddress: "$(self.nodeAddress)",
    /** The node's name. */
    nodeName: "$(self.nodeName)",
} as const;

/** A text with these words replaced. Pure. */
export function fillSelf(text: string, self: Self): string {
    return (Object.keys(SELF) as (keyof Self)[]).reduce((filled, key) => filled.replaceAll(SELF[key], self[key]), text);
}

/** The inputs with these words replaced. Pure. */
export function withSelf(inputs: ContainerInputs, self: Self): ContainerInputs {
    const fill = (text: string): string => fillSelf(text, self);
    const { entrypoint, args, env, files } = inputs;
    return {
        ...inputs,
        ...(entrypoint && { entrypoint: entrypoint.map(fill) }),
        ...(args && { args: args.map(fill) }),
        ...(env && { env: mapped(env, fill) }),
        ...(files && {
            files: mapped(files, (file) =>
                file.content === undefined ? file : { ...file, content: fill(file.content) },
            ),
        }),
    };
}

function mapped<T>(values: Record<string, T>, change: (value: T) => T): Record<string, T> {
    return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, change(value)]));
}
