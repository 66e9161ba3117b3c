/** Debian's docker-registry with `auth: token`, and the token server that it trusts (distribution's spec/auth/token and oauth). */
import { spawn } from "node:child_process";
import { createPrivateKey, createSign, randomUUID, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { environment } from "../../playground/environment";
import { output } from "../../playground/process";
import { startFront, type Seen } from "./front";

const issuer = "test-issuer";
const service = "test-registry";

/** Who gets a token. */
export interface TokenOptions {
    users?: Record<string, string>;
    identityTokens?: string[];
    /** Repositories that anybody may pull. */
    open?: string[];
    /** Seconds that tokens say they live. */
    lifetime?: number;
}

/** A running pair. */
export interface TokenRegistry {
    /** `127.0.0.1:PORT` of the registry. */
    readonly address: string;
    /** What the token server was asked. */
    readonly asked: Seen[];
    stop(): Promise<void>;
}

/** Key and self-signed certificate for 127.0.0.1, in PEM. */
export async function selfSigned(folder: string): Promise<{ key: string; cert: string }> {
    const [key, cert] = [path.join(folder, "key.pem"), path.join(folder, "cert.pem")];
    const subject = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"];
    await output("openssl", [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        key,
        "-out",
        cert,
        ...subject,
    ]);
    return { key: await output("cat", [key]), cert: await output("cat", [cert]) };
}

export async function startTokenRegistry(options: TokenOptions): Promise<TokenRegistry> {
    const folder = await mkdtemp(path.join(tmpdir(), "pulumi-containerd-token-"));
    const { key, cert } = await selfSigned(folder);
    const server = await startFront({
        intercept: (seen, response) => {
            const scopes = scopesOf(seen, options);
            if (!scopes) return (response.writeHead(401).end('{"errors":[{"code":"UNAUTHORIZED"}]}'), true);
            const token = sign(key, cert, scopes);
            const name = seen.method === "POST" ? "access_token" : "token";
            response.end(JSON.stringify({ [name]: token, expires_in: options.lifetime ?? 300 }));
            return true;
        },
    });
    const config = path.join(folder, "config.yml");
    const token = {
        realm: `http://${server.address}/token`,
        service,
        issuer,
        rootcertbundle: path.join(folder, "cert.pem"),
    };
    await writeFile(
        config,
        JSON.stringify({
            version: "0.1",
            storage: { filesystem: { rootdirectory: path.join(folder, "content") } },
            http: { addr: "127.0.0.1:0" },
            auth: { token },
        }),
    );
    const child = spawn("setpriv", ["--pdeathsig", "KILL", environment().registry, "serve", config]);
    const ended = once(child, "close");
    const address = await new Promise<string>((resolve, reject) => {
        let said = "";
        child.stderr.setEncoding("utf8").on("data", (text: string) => {
            said += text;
            const match = /listening on (127\.0\.0\.1:\d+)/.exec(said);
            if (match) resolve(match[1]!);
        });
        child.stdout.resume();
        child.once("close", () => reject(new Error(`the registry ended: ${said}`)));
    });
    return {
        address,
        asked: server.seen,
        stop: async () => {
            child.kill("SIGKILL");
            await ended;
            await server.close();
            await rm(folder, { recursive: true, force: true });
        },
    };
}

/** What is granted to who asks so; undefined refuses. */
function scopesOf({ method, url, headers, body }: Seen, options: TokenOptions): string[] | undefined {
    if (method === "POST") {
        const form = new URLSearchParams(body);
        const known = options.identityTokens?.includes(form.get("refresh_token") ?? "");
        return known && form.get("grant_type") === "refresh_token" ? (form.get("scope") ?? "").split(" ") : undefined;
    }
    const scopes = new URL(url, "http://x").searchParams.getAll("scope");
    if (!headers.authorization) return scopes.filter((scope) => options.open?.includes(scope.split(":")[1] ?? ""));
    const [user = "", password] = Buffer.from(headers.authorization.slice("Basic ".length), "base64")
        .toString()
        .split(":");
    return options.users?.[user] === password ? scopes : undefined;
}

/** A JSON Web Token (RFC 7519) with the certificate of its key in the header, as docker-registry takes it. */
function sign(key: string, cert: string, scopes: string[]): string {
    const now = Math.floor(Date.now() / 1000);
    const access = scopes.map((scope) => {
        const [type, name, actions = ""] = scope.split(":");
        return { type, name, actions: actions.split(",") };
    });
    const header = { typ: "JWT", alg: "RS256", x5c: [new X509Certificate(cert).raw.toString("base64")] };
    const claims = {
        iss: issuer,
        aud: service,
        sub: "",
        jti: randomUUID(),
        nbf: now - 60,
        iat: now,
        exp: now + 300,
        access,
    };
    const text = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
    return `${text}.${createSign("sha256").update(text).sign(createPrivateKey(key), "base64url")}`;
}
