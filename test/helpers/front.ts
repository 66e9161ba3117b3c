/** A real HTTP(S) server in front of a registry, or of nothing: sees what clients send, and answers otherwise where a test says so. */
import * as http from "node:http";
import * as https from "node:https";
import type { AddressInfo } from "node:net";

/** A request that came. */
export interface Seen {
    method: string;
    url: string;
    headers: http.IncomingHttpHeaders;
    body: string;
}

/** A running front. */
export interface Front {
    /** `127.0.0.1:PORT` */
    readonly address: string;
    readonly seen: Seen[];
    close(): Promise<void>;
}

/** Answers by itself and returns true, or leaves it to the registry behind. */
export type Intercept = (seen: Seen, response: http.ServerResponse) => boolean | Promise<boolean>;

export interface FrontOptions {
    /** `host:port` of the registry behind. Without, what is not intercepted gets 404. */
    target?: string;
    intercept?: Intercept;
    tls?: { key: string; cert: string };
}

/** Starts a front on a free port of the loopback. */
export async function startFront({ target, intercept, tls }: FrontOptions): Promise<Front> {
    const seen: Seen[] = [];
    const handle = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
        const chunks: Uint8Array[] = [];
        for await (const chunk of request as AsyncIterable<Uint8Array>) chunks.push(chunk);
        const { method = "", url = "", headers } = request;
        const one: Seen = { method, url, headers, body: Buffer.concat(chunks).toString() };
        seen.push(one);
        if (await intercept?.(one, response)) return;
        if (target === undefined) return void response.writeHead(404).end();
        const onward = http.request(`http://${target}${url}`, { method, headers: { ...headers, host: target } });
        onward.on("response", (answer) => {
            response.writeHead(answer.statusCode ?? 502, answer.headers);
            answer.pipe(response);
        });
        onward.on("error", () => response.destroy());
        onward.end();
    };
    const listener = (request: http.IncomingMessage, response: http.ServerResponse): void => {
        handle(request, response).catch(() => response.destroy());
    };
    const server = tls ? https.createServer(tls, listener) : http.createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return {
        address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
        seen,
        close: async () => {
            server.closeAllConnections();
            await new Promise((resolve) => server.close(resolve));
        },
    };
}
