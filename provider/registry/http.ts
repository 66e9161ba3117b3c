/**
 * HTTP to registries: one request with its redirects, time limits, certificates and retries, and what its failures mean
 * in words. Built on undici, Node's own HTTP client as a library, for limits and certificates by registry.
 */
import pRetry, { AbortError } from "p-retry";
import { setTimeout as sleep } from "node:timers/promises";
import type { Dispatcher } from "undici";
import { ContainerdError } from "../errors";
import { isLoopback, type RegistriesConfig } from "./config";

/** Time limits in milliseconds, and how often what may pass by itself is tried again. */
export interface HttpLimits {
    /** Until connected, TLS included. Default: 10,000. */
    connect: number;
    /** Without a byte. Default: 60,000. */
    idle: number;
    /** Tries after the first. Default: 3. */
    retries: number;
    /** Longest wait that a server may ask for by `Retry-After`. Default: 60,000. */
    retryAfter: number;
}

export const defaultLimits: HttpLimits = { connect: 10_000, idle: 60_000, retries: 3, retryAfter: 60_000 };

/** One request. */
export interface Request {
    method: "GET" | "HEAD" | "POST";
    url: URL;
    headers?: Record<string, string>;
    /** Value of the Authorization header. Not sent on to another origin. */
    authorization?: string;
    body?: string;
}

/** What came back, after redirects. The body must be read or `drain`ed. */
export interface Answer {
    status: number;
    headers: Record<string, string | undefined>;
    body: Dispatcher.ResponseData["body"];
    /** Where it came from in the end. */
    url: URL;
}

/** A failure that may pass by itself: {@link retrying} tries again, and throws `error` in the end. */
export class Transient extends Error {
    constructor(
        readonly error: ContainerdError,
        /** Milliseconds that the server wants us to wait. */
        readonly after?: number,
    ) {
        super(error.message);
    }
}

const maxRedirects = 5;

/** HTTP with the trust that the config gives to each registry. Connections are kept open until `close`. */
export class Http {
    private readonly agents = new Map<string, Promise<Dispatcher>>();

    constructor(
        private readonly registries: RegistriesConfig,
        readonly limits: HttpLimits,
    ) {}

    /**
     * Sends a request and follows its redirects. Throws {@link Transient} for what may pass, 429 and 5xx included, and
     * `Unreachable` for what won't; any other status is an answer.
     */
    async send(request: Request): Promise<Answer> {
        let { url } = request;
        for (let hop = 0; hop <= maxRedirects; hop++) {
            const answer = await this.hop(request, url);
            const { location } = answer.headers;
            if (![301, 302, 303, 307, 308].includes(answer.status) || location === undefined) return answer;
            await drain(answer);
            const next = URL.canParse(location, url.href) ? new URL(location, url.href) : undefined;
            if (!next || !/^https?:$/.test(next.protocol))
                throw new ContainerdError("Failed", `${url.host}: redirects to something that is no HTTP address`);
            if (url.protocol === "https:" && next.protocol === "http:" && !this.mayBePlain(next.host))
                throw new ContainerdError(
                    "Failed",
                    `${url.host}: redirects from HTTPS to plain HTTP at ${next.host}; refused`,
                );
            url = next;
        }
        throw new ContainerdError("Failed", `${request.url.host}: redirects more than ${maxRedirects} times`);
    }

    /** Whether a server where both are allowed speaks TLS. Throws {@link Transient}. */
    async probe(host: string): Promise<"http" | "https"> {
        const url = new URL(`https://${host}/v2/`);
        try {
            await drain(await this.hop({ method: "GET", url }, url));
            return "https";
        } catch (thrown) {
            const error = thrown instanceof Transient ? thrown.error : thrown;
            const code = error instanceof ContainerdError ? networkCode(error.cause) : "";
            if (isNotTls(code) || ["ECONNRESET", "UND_ERR_SOCKET"].includes(code)) return "http";
            // It answered, or TLS itself is at fault: what is asked next says so.
            if (!(thrown instanceof Transient) || code === "") return "https";
            throw thrown;
        }
    }

    /** Whether plain HTTP is allowed there. */
    mayBePlain(host: string): boolean {
        return isLoopback(host) || this.registries[host]?.insecure === true;
    }

    async close(): Promise<void> {
        const agents = [...this.agents.values()];
        this.agents.clear();
        await Promise.all(agents.map(async (agent) => (await agent).destroy()));
    }

    /** Sends to `url` what `request` asks for. */
    private async hop(request: Request, url: URL): Promise<Answer> {
        const { request: send } = await import("undici");
        const own = url.origin === request.url.origin;
        let answer: Dispatcher.ResponseData;
        try {
            answer = await send(url, {
                dispatcher: await this.agent(url.host),
                method: request.method,
                headers: {
                    "user-agent": "pulumi-containerd",
                    "accept-encoding": "identity",
                    ...request.headers,
                    ...(own && request.authorization ? { authorization: request.authorization } : {}),
                },
                body: request.body,
            });
        } catch (cause) {
            throw networkError(url.host, cause);
        }
        // Who reads the body sees its errors; one that is given up in the middle must not end the process.
        answer.body.on("error", () => undefined);
        const headers = Object.fromEntries(
            Object.entries(answer.headers).map(([key, value]) => [key, Array.isArray(value) ? value[0] : value]),
        );
        const found: Answer = { status: answer.statusCode, headers, body: answer.body, url };
        if (found.status === 429 || found.status >= 500) {
            const said = await readError(found);
            const why = found.status === 429 ? "too many requests" : `HTTP status ${found.status}`;
            const error = new ContainerdError("Unreachable", `${url.host}: ${why}${said}; try again later`);
            throw new Transient(error, retryAfter(headers["retry-after"]));
        }
        return found;
    }

    /** Agents by what they trust. Loopback never goes through a proxy. */
    private agent(host: string): Promise<Dispatcher> {
        const { insecure = false, ca } = this.registries[host] ?? {};
        const key = JSON.stringify([insecure, ca, isLoopback(host)]);
        let agent = this.agents.get(key);
        if (!agent) {
            agent = import("undici").then(({ Agent, EnvHttpProxyAgent }) => {
                const tls = { timeout: this.limits.connect, rejectUnauthorized: !insecure, ...(ca ? { ca } : {}) };
                const options = { connect: tls, headersTimeout: this.limits.idle, bodyTimeout: this.limits.idle };
                return isLoopback(host) ? new Agent(options) : new EnvHttpProxyAgent({ ...options, requestTls: tls });
            });
            this.agents.set(key, agent);
        }
        return agent;
    }
}

/** Tries again what threw {@link Transient}, waiting longer each time or as long as the server asks. */
export async function retrying<T>(limits: HttpLimits, attempt: () => Promise<T>): Promise<T> {
    try {
        return await pRetry(
            async () => {
                try {
                    return await attempt();
                } catch (error) {
                    throw error instanceof Transient ? error : new AbortError(error as Error);
                }
            },
            {
                retries: limits.retries,
                minTimeout: 250,
                maxTimeout: 5_000,
                onFailedAttempt: async (error) => {
                    if (!(error instanceof Transient) || error.after === undefined || error.retriesLeft === 0) return;
                    if (error.after > limits.retryAfter) throw error;
                    await sleep(error.after);
                },
            },
        );
    } catch (error) {
        throw error instanceof Transient ? error.error : error;
    }
}

/** Reads a body of at most `limit` bytes. Throws `Failed` when there are more, {@link Transient} when it breaks off. */
export async function readBody(answer: Answer, limit: number, what: string): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    let size = 0;
    try {
        for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
            size += chunk.byteLength;
            if (size > limit)
                throw new ContainerdError("Failed", `${what} has more than ${limit} bytes, which is the most we take`);
            chunks.push(chunk);
        }
    } catch (cause) {
        throw cause instanceof ContainerdError ? cause : networkError(answer.url.host, cause);
    }
    return Buffer.concat(chunks);
}

/** Throws a body away, so that its connection can serve the next request. */
export async function drain(answer: Answer): Promise<void> {
    await answer.body.dump().catch(() => undefined);
}

/** What a registry says about an error (the distribution specification's `errors`), as `: text`, or nothing. */
export async function readError(answer: Answer): Promise<string> {
    try {
        const text = (await readBody(answer, 64 << 10, "the error")).toString("utf8");
        const { errors } = JSON.parse(text) as { errors?: { code?: string; message?: string }[] };
        const said = [errors?.[0]?.code, errors?.[0]?.message].filter((part) => typeof part === "string").join(" ");
        // What a server says must not steer a terminal.
        const printable = said.replace(/\p{Cc}+/gu, " ").slice(0, 200);
        return printable ? `: ${printable}` : "";
    } catch {
        return "";
    }
}

/** Milliseconds from a Retry-After header: seconds, or a date. */
function retryAfter(value: string | undefined): number | undefined {
    if (value === undefined) return undefined;
    const milliseconds = /^\d+$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - Date.now();
    return Number.isNaN(milliseconds) ? undefined : Math.max(0, milliseconds);
}

/** Failures of TLS that mean "the other end does not speak it". */
export function isNotTls(code: string): boolean {
    return code === "EPROTO" || code.startsWith("ERR_SSL_");
}

/** The code of a network error, also where Node hides it among several addresses or in a cause. */
export function networkCode(thrown: unknown): string {
    if (!(thrown instanceof Error)) return "";
    if ("code" in thrown && typeof thrown.code === "string" && thrown.code !== "UND_ERR_SOCKET") return thrown.code;
    const inner = thrown instanceof AggregateError ? (thrown.errors as unknown[])[0] : thrown.cause;
    return (inner === undefined ? "" : networkCode(inner)) || ("code" in thrown ? String(thrown.code) : "");
}

/** A network error in words: {@link Transient} if trying again may help. */
export function networkError(host: string, cause: unknown): Transient | ContainerdError {
    if (cause instanceof Transient || cause instanceof ContainerdError) return cause;
    const code = networkCode(cause);
    const unreachable = (why: string): ContainerdError =>
        new ContainerdError("Unreachable", `${host}: ${why}`, { cause });
    if (isNotTls(code))
        return unreachable(
            "does not speak TLS as expected. If it serves plain HTTP, allow that: " +
                `insecure: true for "${host}" in the stack config containerd:registries`,
        );
    if (/CERT|SIGNATURE|^ERR_TLS|ISSUER|HOSTNAME_MISMATCH/.test(code))
        return unreachable(
            `its TLS certificate is not to be trusted (${code}). If it is the right one, give the certificate of its ` +
                `authority as ca for "${host}" in the stack config containerd:registries`,
        );
    const why: Record<string, string> = {
        ENOTFOUND: "no such host: is the name of the registry right, and does DNS work here?",
        EAI_AGAIN: "its name can't be looked up: does DNS work here?",
        ECONNREFUSED: "refuses the connection: does the registry run?",
        ECONNRESET: "closed the connection",
        UND_ERR_SOCKET: "closed the connection",
        UND_ERR_CONNECT_TIMEOUT: "does not answer: took too long to connect",
        ETIMEDOUT: "does not answer: took too long to connect",
        UND_ERR_HEADERS_TIMEOUT: "does not answer: the connection stands, but nothing came",
        UND_ERR_BODY_TIMEOUT: "stopped in the middle of its answer",
        EHOSTUNREACH: "can't be reached from here: no route",
        ENETUNREACH: "can't be reached from here: no route",
    };
    return new Transient(unreachable(why[code] ?? `can't be reached (${code || String(cause)})`));
}
