/**
 * Who we are to a registry: `~/.docker/config.json` as `docker login`, skopeo and nerdctl write it, with the credential
 * helpers that it names. Secrets go through pipes only: never into arguments, logs or errors.
 */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { ContainerdError } from "../errors";

/** A user's name and password, or one of the tokens that stand in their place. */
export interface Credentials {
    username: string;
    /** Password or access token. */
    password: string;
    /** OAuth2 refresh token that the registry's token server takes in exchange for others. */
    identityToken?: string;
    /** Bearer token for the registry itself. */
    registryToken?: string;
}

/** Where Docker's config is looked for. */
export interface DockerConfigOptions {
    /** Folder of `config.json`. Default: `$DOCKER_CONFIG`, else `~/.docker`. */
    folder?: string;
    /** The environment, also of the helpers. Default: this process's. */
    env?: NodeJS.ProcessEnv;
    /** Milliseconds that a credential helper may take. Default: 30,000. */
    helperTimeout?: number;
}

/** The name under which Docker keeps the login to Docker Hub. */
const hubKey = "https://index.docker.io/v1/";
const hubHosts = ["docker.io", "index.docker.io", "registry-1.docker.io"];
/** Most bytes that a helper may answer. */
const maxHelperAnswer = 64 << 10;

interface DockerConfig {
    auths?: Record<string, DockerAuth>;
    credHelpers?: Record<string, string>;
    credsStore?: string;
}

interface DockerAuth {
    auth?: string;
    username?: string;
    password?: string;
    identitytoken?: string;
    registrytoken?: string;
}

/**
 * The credentials that Docker's config holds for a registry, `undefined` where there are none. As Docker does it: the
 * registry's own helper, else the store, else what stands in the file.
 *
 * @param registry as in references: `docker.io`, `registry.example:5000`
 * Throws `Invalid` for a broken file, `Unauthorized` when a helper fails, `Timeout` when it takes too long.
 */
export async function dockerCredentials(
    registry: string,
    options: DockerConfigOptions = {},
): Promise<Credentials | undefined> {
    const env = options.env ?? process.env;
    const file = join(options.folder ?? (env.DOCKER_CONFIG || join(env.HOME || homedir(), ".docker")), "config.json");
    const config = await readConfig(file);
    if (!config) return undefined;

    const keys = hubHosts.includes(registry) ? [hubKey, ...hubHosts] : [registry];
    const helper = find(config.credHelpers, keys)?.value ?? config.credsStore;
    const entry = find(config.auths, keys);
    if (helper) {
        const timeout = options.helperTimeout ?? 30_000;
        // A helper knows the login by the text it was stored under, which is the key in `auths`.
        const stored = await askHelper(helper, entry?.key ?? keys[0]!, env, timeout);
        if (stored) return stored;
    }
    return entry && decode(entry.value, file, registry);
}

async function readConfig(file: string): Promise<DockerConfig | undefined> {
    let text: string;
    try {
        text = await readFile(file, "utf8");
    } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw new ContainerdError("Invalid", `${file} can't be read: ${(cause as Error).message}`, { cause });
    }
    try {
        const value: unknown = JSON.parse(text);
        if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
    } catch {
        // No cause: the parser's message quotes the file.
    }
    throw new ContainerdError("Invalid", `${file} is no JSON object: repair it, or log in again with docker login`);
}

/** The entry of one of these registries; its key may be the host or an URL, as older versions of Docker wrote it. */
function find<T>(map: Record<string, T> | undefined, keys: string[]): { key: string; value: T } | undefined {
    if (typeof map !== "object" || map === null) return undefined;
    for (const key of keys) if (Object.hasOwn(map, key)) return { key, value: map[key]! };
    const key = Object.keys(map).find((key) => keys.includes(key.replace(/^https?:\/\//, "").replace(/\/.*$/, "")));
    return key === undefined ? undefined : { key, value: map[key]! };
}

function decode(entry: DockerAuth, file: string, registry: string): Credentials | undefined {
    const tokens = { identityToken: entry.identitytoken || undefined, registryToken: entry.registrytoken || undefined };
    const pair = entry.auth ? Buffer.from(entry.auth, "base64").toString("utf8").replace(/\0+$/, "") : "";
    const colon = pair.indexOf(":");
    if (entry.auth && colon < 0)
        throw new ContainerdError(
            "Invalid",
            `${file}: "auth" of ${registry} is no user:password in base64; log in again`,
        );
    const username = colon < 0 ? (entry.username ?? "") : pair.slice(0, colon);
    const password = colon < 0 ? (entry.password ?? "") : pair.slice(colon + 1);
    const empty = !username && !password && !tokens.identityToken && !tokens.registryToken;
    return empty ? undefined : { username, password, ...tokens };
}

/** Runs `docker-credential-NAME get` (the protocol of docker-credential-helpers) with the registry on stdin. */
async function askHelper(
    name: string,
    registry: string,
    env: NodeJS.ProcessEnv,
    timeout: number,
): Promise<Credentials | undefined> {
    if (typeof name !== "string" || !/^[A-Za-z0-9._-]+$/.test(name))
        throw new ContainerdError(
            "Invalid",
            "a credential helper in Docker's config.json has a name with other than letters, digits and ._-",
        );
    const program = `docker-credential-${name}`;
    const { status, stdout } = await run(program, registry, env, timeout);
    if (status !== 0) {
        if (/credentials not found/i.test(stdout)) return undefined;
        throw new ContainerdError(
            "Unauthorized",
            `${program} failed for ${registry} (status ${status}): try docker login`,
        );
    }
    let answer: { Username?: unknown; Secret?: unknown };
    try {
        answer = JSON.parse(stdout) as typeof answer;
    } catch {
        throw new ContainerdError("Unauthorized", `${program} answered no JSON for ${registry}`);
    }
    if (typeof answer?.Username !== "string" || typeof answer.Secret !== "string")
        throw new ContainerdError("Unauthorized", `${program} answered no Username and Secret for ${registry}`);
    return answer.Username === "<token>"
        ? { username: "", password: "", identityToken: answer.Secret }
        : { username: answer.Username, password: answer.Secret };
}

function run(
    program: string,
    input: string,
    env: NodeJS.ProcessEnv,
    timeout: number,
): Promise<{ status: number | null; stdout: string }> {
    return new Promise((resolve, reject) => {
        // In a process group of its own, so that what it starts ends with it.
        const child = spawn(program, ["get"], { env, stdio: ["pipe", "pipe", "ignore"], detached: true });
        let stdout = "";
        const kill = (reason: ContainerdError): void => {
            clearTimeout(timer);
            try {
                if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
            } catch {
                // It has ended by itself.
            }
            child.stdout.destroy();
            reject(reason);
        };
        const timer = setTimeout(() => {
            kill(
                new ContainerdError(
                    "Timeout",
                    `${program} took longer than ${timeout / 1000} s: is it waiting for input?`,
                ),
            );
        }, timeout);
        child.stdout.setEncoding("utf8").on("data", (text: string) => {
            stdout += text;
            if (stdout.length > maxHelperAnswer)
                kill(new ContainerdError("Unauthorized", `${program} answered too much`));
        });
        child.stdin.on("error", () => undefined); // It need not read its input.
        child.stdin.end(input);
        child.on("error", (cause) => {
            clearTimeout(timer);
            const reason = `${program}, which Docker's config.json names, can't be run: is it installed and on PATH?`;
            reject(new ContainerdError("Unauthorized", reason, { cause }));
        });
        child.on("close", (status) => {
            clearTimeout(timer);
            resolve({ status, stdout });
        });
    });
}
