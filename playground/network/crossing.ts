/**
 * A process in the network namespace of a cluster's switch: it takes servers that listen in this machine's namespace, and
 * answers their connections by ones to the workers. Started by `carrier.ts`; ends with it.
 */
import { type Server, connect } from "node:net";
import { Link } from "./link";
import type { CrossMessage } from "./messages";

const links = new Map<string, Link>();
const servers = new Map<string, Server[]>();

function linkOf(worker: string): Link {
    const link = links.get(worker) ?? new Link();
    links.set(worker, link);
    return link;
}

function handle(message: CrossMessage, server: Server | undefined): void {
    const link = linkOf(message.worker);
    switch (message.do) {
        case "forward": {
            if (!server) throw new Error("no server came along");
            const { host, port, worker } = message;
            link.serve(server, () => connect({ host, port, noDelay: true, allowHalfOpen: true }));
            servers.set(worker, [...(servers.get(worker) ?? []), server]);
            break;
        }
        case "link":
            if (message.delay !== undefined) link.delay = message.delay;
            break;
        case "reset":
            link.reset();
            break;
        case "remove":
            for (const one of servers.get(message.worker) ?? []) one.close();
            link.reset();
            servers.delete(message.worker);
            links.delete(message.worker);
    }
}

process.on("message", (message: CrossMessage, server?: Server) => {
    handle(message, server);
    process.send?.({ id: message.id });
});
process.on("disconnect", () => process.exit());
process.send?.({ id: 0 });
