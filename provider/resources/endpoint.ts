/** Where a port of a container or pod is reached. Pure, but for the Outputs around it. */
import * as pulumi from "@pulumi/pulumi";

/** A resource whose ports others reach. */
interface Server {
    readonly address: pulumi.Output<string>;
    readonly published: pulumi.Output<Record<string, string>>;
}

/** `host:port` of a port of the container: on the node where it is published, else at the container's own address. */
export function endpointOf(server: Server, port: number, protocol: string): pulumi.Output<string> {
    return pulumi
        .all([server.address, server.published])
        .apply(([address, published]) => findEndpoint(address, published, port, protocol));
}

/** `published` is by port or range and protocol, like `80/tcp` and `10000-19999/udp`. */
export function findEndpoint(
    address: string,
    published: Record<string, string> | undefined,
    port: number,
    protocol: string,
): string {
    for (const [key, at] of Object.entries(published ?? {})) {
        const [, first, last, kind] = /^(\d+)(?:-(\d+))?\/(.+)$/.exec(key) ?? [];
        if (kind !== protocol || port < Number(first) || port > Number(last ?? first)) continue;
        // A range has the same ports on both sides.
        return last === undefined ? at : `${at.slice(0, at.lastIndexOf(":"))}:${port}`;
    }
    return `${address.includes(":") ? `[${address}]` : address}:${port}`;
}
