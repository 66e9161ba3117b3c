/**
 * A client of the OCI distribution specification 1.1, for pulling: tags to digests, manifests, and blobs that go on where
 * a connection broke off. Mirrors first, then the registry itself.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { ContainerdError, hasCode } from "../errors";
import { Authorizer, unauthorized } from "./auth";
import { assertRegistries, endpointsOf, type Endpoint, type RegistriesConfig } from "./config";
import { dockerCredentials, type Credentials, type DockerConfigOptions } from "./credentials";
import * as http from "./http";
import { acceptedManifestTypes, algorithmOf, digestOf, digestPattern, maxManifestSize, mediaTypeOf } from "./oci";
import type { Descriptor } from "./oci";
import type { Reference } from "./reference";
import { assertDigest } from "./verify";

/** How registries are reached and who we are to them. */
export interface RegistryOptions {
    /** The stack config `containerd:registries`; explicit credentials come in by `withCredentials`, and win over Docker's. */
    registries?: RegistriesConfig;
    /** Where Docker's config is; default `$DOCKER_CONFIG`, else `~/.docker`. */
    docker?: DockerConfigOptions;
    limits?: Partial<http.HttpLimits>;
}

/** A manifest or an index, its digest checked. */
export interface FetchedManifest {
    bytes: Buffer;
    mediaType: string;
    digest: string;
}

/**
 * Pulls from registries. Make one a run and set of credentials, and share it: connections and tokens are kept in it.
 *
 * Errors: `NotFound` (no such tag, digest or repository), `Unauthorized`, `Unreachable` (DNS, refused, time limits, TLS,
 * 429 and 5xx after all retries), `Failed` (not what its digest says, a broken answer).
 */
export class RegistryClient {
    private readonly http: http.Http;
    private readonly authorizer: Authorizer;
    private readonly registries: RegistriesConfig;
    /** By host: `http` or `https`, for those where both are allowed. */
    private readonly schemes = new Map<string, Promise<"http" | "https">>();

    /** Throws `Invalid` for a config that has no sense. */
    constructor(private readonly options: RegistryOptions = {}) {
        this.registries = options.registries ?? {};
        assertRegistries(this.registries);
        this.http = new http.Http(this.registries, { ...http.defaultLimits, ...options.limits });
        this.authorizer = new Authorizer(this.http, (host) => this.credentialsOf(host));
    }

    /**
     * What a reference points to now, its digest winning over its tag. Asks by HEAD, which Docker Hub does not count;
     * by GET where HEAD tells too little.
     */
    resolve(reference: Reference): Promise<Descriptor> {
        return this.anywhere(reference, async (endpoint) => {
            const target = reference.digest ?? reference.tag ?? "latest";
            const answer = await this.request(endpoint, reference, "HEAD", `manifests/${target}`, manifestHeaders);
            await http.drain(answer);
            const digest = answer.headers["docker-content-digest"];
            const mediaType = contentType(answer);
            const length = answer.headers["content-length"];
            if (answer.status === 200 && digest && digestPattern.test(digest) && mediaType && length) {
                if (reference.digest) assertDigest(reference.digest, digest);
                if (acceptedManifestTypes.includes(mediaType)) return { mediaType, digest, size: Number(length) };
            }
            const manifest = await this.fetchManifest(endpoint, reference, target);
            return { mediaType: manifest.mediaType, digest: manifest.digest, size: manifest.bytes.byteLength };
        });
    }

    /** The manifest or index of this digest, checked; at most 4 MiB. */
    manifest(reference: Reference, digest: string): Promise<FetchedManifest> {
        algorithmOf(digest);
        return this.anywhere(reference, (endpoint) => this.fetchManifest(endpoint, reference, digest));
    }

    /**
     * The bytes of a blob from `offset` on. What breaks off is continued, at the next server if need be. **The digest is
     * not checked here** (the bytes before `offset` are elsewhere): the consumer does that, with `verified`.
     *
     * @param size bytes of the whole, where known
     */
    async *blob(
        reference: Reference,
        digest: string,
        offset = 0,
        size?: number,
    ): AsyncGenerator<Uint8Array, void, undefined> {
        algorithmOf(digest);
        let position = offset;
        const endpoints = endpointsOf(reference.registry, this.registries);
        let failures = 0;
        for (let e = 0; e < endpoints.length;) {
            const before = position;
            try {
                if (position === size && position > 0) return;
                for await (const chunk of this.openBlob(endpoints[e]!, reference, digest, position)) {
                    position += chunk.byteLength;
                    yield chunk;
                }
                return;
            } catch (thrown) {
                failures = position > before ? 0 : failures + 1;
                // A broken connection is tried again here, where the position is known; all else was in `openBlob`.
                if (thrown instanceof http.Transient && failures <= this.http.limits.retries) {
                    await sleep(250 * failures);
                    continue;
                }
                if (++e === endpoints.length) throw thrown instanceof http.Transient ? thrown.error : thrown;
                failures = 0;
            }
        }
    }

    /** Closes the connections. The client must not be used afterwards. */
    close(): Promise<void> {
        return this.http.close();
    }

    private async fetchManifest(endpoint: Endpoint, reference: Reference, target: string): Promise<FetchedManifest> {
        const name = `${reference.name}${target.includes(":") ? "@" : ":"}${target}`;
        return http.retrying(this.http.limits, async () => {
            const answer = await this.request(endpoint, reference, "GET", `manifests/${target}`, manifestHeaders);
            if (answer.status !== 200) throw await refusal(answer, endpoint, reference, name, "tag or repository");
            const bytes = await http.readBody(answer, maxManifestSize, `the manifest of ${name}`);
            const wanted = digestPattern.test(target) ? target : undefined;
            const digest = digestOf(bytes, wanted ? algorithmOf(wanted) : "sha256");
            if (wanted) assertDigest(wanted, digest);
            return { bytes, mediaType: mediaTypeOf(bytes, contentType(answer), name), digest };
        });
    }

    /** One GET of a blob from `position` on. Throws {@link http.Transient} when its body breaks off. */
    private async *openBlob(
        endpoint: Endpoint,
        reference: Reference,
        digest: string,
        position: number,
    ): AsyncGenerator<Uint8Array, void, undefined> {
        const name = `${reference.name}@${digest}`;
        const headers = position > 0 ? { range: `bytes=${position}-` } : undefined;
        const answer = await this.request(endpoint, reference, "GET", `blobs/${digest}`, headers);
        if (answer.status !== 200 && answer.status !== 206)
            throw await refusal(answer, endpoint, reference, name, "blob");
        const range = /^bytes (\d+)-/.exec(answer.headers["content-range"] ?? "");
        // Some servers ignore Range and send all of it again: then what is there already is skipped.
        let skip = answer.status === 206 ? 0 : position;
        if (answer.status === 206 && Number(range?.[1]) !== position) {
            answer.body.destroy();
            throw new ContainerdError("Failed", `${endpoint.host}: sent another part of ${digest} than was asked for`);
        }
        try {
            for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
                const rest = skip > 0 ? chunk.subarray(skip) : chunk;
                skip -= Math.min(skip, chunk.byteLength);
                if (rest.byteLength > 0) yield rest;
            }
        } catch (cause) {
            throw http.networkError(answer.url.host, cause);
        } finally {
            answer.body.destroy();
        }
    }

    /** The first endpoint that has it; the registry's own error if none has. */
    private async anywhere<T>(reference: Reference, ask: (endpoint: Endpoint) => Promise<T>): Promise<T> {
        const failed: string[] = [];
        for (const endpoint of endpointsOf(reference.registry, this.registries)) {
            try {
                return await ask(endpoint);
            } catch (thrown) {
                const error = ContainerdError.from(thrown);
                if (endpoint.mirrorOf) failed.push(error.message);
                else if (failed.length === 0 || !hasCode(error, "Unreachable")) throw error;
                else
                    throw new ContainerdError(error.code, `${error.message}. Before it: ${failed.join("; ")}`, {
                        cause: error,
                    });
            }
        }
        throw new ContainerdError("Failed", `${reference.registry}: nowhere to ask`);
    }

    /** Sends a request below `/v2/REPOSITORY/`, logs in where that is asked for, and tries again what may pass. */
    private async request(
        endpoint: Endpoint,
        reference: Reference,
        method: "GET" | "HEAD",
        path: string,
        headers?: Record<string, string>,
    ): Promise<http.Answer> {
        const repository = endpoint.prefix + reference.repository;
        const scheme = await this.schemeOf(endpoint);
        const url = new URL(`${scheme}://${serverOf(endpoint)}/v2/${repository}/${path}`);
        if (endpoint.mirrorOf) url.searchParams.set("ns", endpoint.mirrorOf);
        const { host } = endpoint;
        const send = (authorization?: string): Promise<http.Answer> =>
            http.retrying(this.http.limits, () => this.http.send({ method, url, headers, authorization }));

        const known = await this.authorizer.known(host, repository);
        const first = await send(known);
        // A 401 of where it redirects to is not the registry's: no token is fetched for it.
        if (first.status !== 401 || first.url.origin !== url.origin) return first;
        await http.drain(first);
        const challenge = first.headers["www-authenticate"];
        const answer = await send(await this.authorizer.answer({ host, url, repository }, challenge, known));
        if (answer.status !== 401) return answer;
        await http.drain(answer);
        throw unauthorized({ host, repository }, "it answered 401");
    }

    /** HTTPS; where plain HTTP is allowed, whichever the server speaks. */
    private schemeOf(endpoint: Endpoint): "http" | "https" | Promise<"http" | "https"> {
        if (endpoint.scheme) return endpoint.scheme;
        if (!this.http.mayBePlain(endpoint.host)) return "https";
        let scheme = this.schemes.get(endpoint.host);
        if (!scheme) {
            scheme = http.retrying(this.http.limits, () => this.http.probe(endpoint.host));
            this.schemes.set(endpoint.host, scheme);
            scheme.catch(() => this.schemes.delete(endpoint.host));
        }
        return scheme;
    }

    private async credentialsOf(host: string): Promise<Credentials | undefined> {
        const { username, password } = this.registries[host] ?? {};
        if (username !== undefined && password !== undefined) return { username, password };
        return dockerCredentials(host, this.options.docker);
    }
}

const manifestHeaders = { accept: acceptedManifestTypes.join(", ") };

/** Docker Hub answers under another name than the one in references. */
function serverOf({ host }: Endpoint): string {
    return host === "docker.io" ? "registry-1.docker.io" : host;
}

function contentType(answer: http.Answer): string | undefined {
    return answer.headers["content-type"]?.split(";")[0]!.trim().toLowerCase();
}

/** The error that an answer other than success means. */
async function refusal(
    answer: http.Answer,
    endpoint: Endpoint,
    reference: Reference,
    name: string,
    what: string,
): Promise<ContainerdError> {
    const said = await http.readError(answer);
    const where = endpoint.mirrorOf ? ` at the mirror ${endpoint.host}` : "";
    if (answer.status === 404)
        return new ContainerdError(
            "NotFound",
            `${name}: no such ${what}${where}; is the name right?${said && ` (${said.slice(2)})`}`,
        );
    if (answer.status === 401 || answer.status === 403)
        return unauthorized(
            { host: answer.url.host, repository: reference.repository },
            `it answered ${answer.status}${said}`,
        );
    return new ContainerdError("Failed", `${name}: ${answer.url.host} answered ${answer.status}${said}`);
}
