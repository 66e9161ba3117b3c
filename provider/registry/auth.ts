/**
 * How a registry lets us in: Basic, or Bearer with a token from its token server (the distribution project's
 * `spec/auth/token` and `oauth`). One token a registry and scope, shared by all requests that need it at that time.
 */
import { ContainerdError } from "../errors";
import type { Credentials } from "./credentials";
import { drain, readBody, readError, retrying, type Answer, type Http } from "./http";

/** A WWW-Authenticate header, taken apart. */
export interface Challenge {
    /** Lower case: `bearer`, `basic`. */
    scheme: string;
    parameters: Record<string, string>;
}

interface Grant {
    authorization: string;
    /** By `Date.now()`. */
    expires: number;
}

/** Where a challenge came from. */
export interface Challenger {
    host: string;
    /** Origin that sent it. */
    url: URL;
    repository: string;
}

/** A token that says nothing of its end lives this long (seconds), by the specification. */
const defaultLifetime = 60;

/** Keeps what was granted, in memory, for as long as it lives. */
export class Authorizer {
    private readonly grants = new Map<string, Promise<Grant>>();

    /** @param credentialsOf who we are to a host; asked at most once a host and repository unless refused */
    constructor(
        private readonly http: Http,
        private readonly credentialsOf: (host: string) => Promise<Credentials | undefined>,
    ) {}

    /** What to send at once, because it was granted before; `undefined` where nothing is known yet. */
    async known(host: string, repository: string): Promise<string | undefined> {
        const grant = await this.grants.get(keyOf(host, repository))?.catch(() => undefined);
        return grant && grant.expires > Date.now() ? grant.authorization : undefined;
    }

    /**
     * What to send after a 401. Throws `Unauthorized`, with the registry's name and what to do.
     *
     * @param refused what was sent with the request, so that it is not given again
     */
    async answer(challenger: Challenger, header: string | undefined, refused: string | undefined): Promise<string> {
        const key = keyOf(challenger.host, challenger.repository);
        const current = this.grants.get(key);
        // A grant that failed is gone from the map: if this throws, it was under way, and its failure is ours.
        const grant = await current;
        if (grant && grant.authorization !== refused && grant.expires > Date.now()) return grant.authorization;
        let next = this.grants.get(key);
        if (!next || next === current) {
            next = this.obtain(challenger, header, refused);
            this.grants.set(key, next);
            next.catch(() => this.grants.delete(key));
        }
        return (await next).authorization;
    }

    private async obtain(from: Challenger, header: string | undefined, refused: string | undefined): Promise<Grant> {
        const challenges = parseChallenges(header ?? "");
        const credentials = await this.credentialsOf(from.host);
        const bearer = challenges.find(({ scheme }) => scheme === "bearer");
        if (bearer) {
            if (credentials?.registryToken) return forever(`Bearer ${credentials.registryToken}`);
            return this.token(from, bearer, credentials);
        }
        if (!challenges.some(({ scheme }) => scheme === "basic"))
            throw unauthorized(from, "it asks for a way to log in that is neither Basic nor Bearer");
        if (!credentials?.username) throw unauthorized(from, "it wants a user and a password, and there are none");
        const authorization = basic(credentials);
        if (authorization === refused) throw refusedUser(from, credentials);
        return forever(authorization);
    }

    private async token(from: Challenger, challenge: Challenge, credentials?: Credentials): Promise<Grant> {
        const { realm = "", service, scope = `repository:${from.repository}:pull` } = challenge.parameters;
        if (!URL.canParse(realm) || !/^https?:$/.test(new URL(realm).protocol))
            throw unauthorized(from, "its challenge names no token server");
        const url = new URL(realm);
        if (url.protocol === "http:" && from.url.protocol === "https:" && !this.http.mayBePlain(url.host))
            throw unauthorized(from, `its token server ${url.host} speaks plain HTTP, where a password is not sent`);
        const began = Date.now();
        const answer = await retrying(this.http.limits, () =>
            credentials?.identityToken
                ? this.exchange(url, service, scope, credentials.identityToken)
                : this.ask(url, service, scope, credentials),
        );
        if (answer.status === 401 || answer.status === 403) {
            await drain(answer);
            throw credentials
                ? refusedUser(from, credentials)
                : unauthorized(from, "it gives nothing to who isn't logged in");
        }
        if (answer.status !== 200)
            throw unauthorized(
                from,
                `its token server ${url.host} answered ${answer.status}${await readError(answer)}`,
            );
        const { token, lifetime } = parseToken(await readBody(answer, 1 << 20, `the token of ${url.host}`));
        if (!token) throw unauthorized(from, `its token server ${url.host} gave no token`);
        // Old a little before its end, so that it does not end on its way.
        const milliseconds = lifetime * 1000;
        return { authorization: `Bearer ${token}`, expires: began + milliseconds - Math.min(10_000, milliseconds / 2) };
    }

    private ask(realm: URL, service: string | undefined, scope: string, credentials?: Credentials): Promise<Answer> {
        const url = new URL(realm);
        if (service !== undefined) url.searchParams.set("service", service);
        for (const one of scope.split(" ")) url.searchParams.append("scope", one);
        const authorization = credentials?.username ? basic(credentials) : undefined;
        if (authorization) url.searchParams.set("account", credentials!.username);
        return this.http.send({ method: "GET", url, authorization });
    }

    /** A token for an identity token: OAuth2 with the grant type `refresh_token`. */
    private exchange(url: URL, service: string | undefined, scope: string, identityToken: string): Promise<Answer> {
        const body = new URLSearchParams({
            grant_type: "refresh_token",
            client_id: "pulumi-containerd",
            scope,
            refresh_token: identityToken,
            ...(service === undefined ? {} : { service }),
        });
        const headers = { "content-type": "application/x-www-form-urlencoded" };
        return this.http.send({ method: "POST", url, headers, body: body.toString() });
    }
}

/** Takes WWW-Authenticate apart (RFC 9110, 11.6.1): schemes with quoted or bare parameters. Nonsense gives nothing. */
export function parseChallenges(header: string): Challenge[] {
    const challenges: Challenge[] = [];
    const part =
        /\s*,?\s*(?:([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))|([A-Za-z0-9-]+)(?=\s|,|$))/y;
    for (let match = part.exec(header); match; match = part.exec(header)) {
        const [, name, quoted, bare, scheme] = match;
        if (scheme !== undefined) challenges.push({ scheme: scheme.toLowerCase(), parameters: {} });
        else if (name !== undefined) {
            const parameters = challenges.at(-1)?.parameters ?? {};
            parameters[name.toLowerCase()] = quoted?.replace(/\\(.)/g, "$1") ?? bare ?? "";
        }
    }
    return challenges;
}

/** `Unauthorized`, with what to do. */
export function unauthorized(from: Pick<Challenger, "host" | "repository">, why: string): ContainerdError {
    return new ContainerdError(
        "Unauthorized",
        `${from.host}: no access to ${from.repository}: ${why}. Log in with "docker login ${from.host}", or give username and ` +
            "password: in `auth` of the Image, or in the stack config containerd:registries. Some registries say this of " +
            "a repository that does not exist, too",
    );
}

function refusedUser(from: Challenger, credentials: Credentials): ContainerdError {
    const who = credentials.username ? `the user "${credentials.username}"` : "the identity token";
    return unauthorized(from, `it refused ${who}`);
}

function parseToken(bytes: Buffer): { token: string | undefined; lifetime: number } {
    let value: { token?: unknown; access_token?: unknown; expires_in?: unknown };
    try {
        value = JSON.parse(bytes.toString("utf8")) as typeof value;
    } catch {
        return { token: undefined, lifetime: 0 };
    }
    const token = [value?.token, value?.access_token].find((text) => typeof text === "string" && text !== "");
    const lifetime = Number(value?.expires_in) > 0 ? Number(value.expires_in) : defaultLifetime;
    return { token: token as string | undefined, lifetime };
}

function basic({ username, password }: Credentials): string {
    return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

function forever(authorization: string): Grant {
    return { authorization, expires: Infinity };
}

function keyOf(host: string, repository: string): string {
    return `${host}/${repository}`;
}
