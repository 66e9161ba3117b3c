/** A registry on this machine's loopback: Debian's `docker-registry`, without or with a password. */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ContainerdError } from "../provider/errors";
import { environment } from "./environment";
import type { Layout } from "./layout";
import { output } from "./process";
import { type ProcessId, identify, isAlive } from "./process-id";
import { endingWithUs } from "./system";

const PATIENCE = 20_000;
const POLL = 25;

export interface RegistryOptions {
    /** Default: a free one. */
    port?: number;
    /** Where it keeps its content. Default: a temporary folder that `stop` removes. */
    dir?: string;
    /** Text of an `htpasswd` file with bcrypt entries; then only these users get in. */
    htpasswd?: string;
    /** Goes on when this process ends. Default: false. */
    persistent?: boolean;
}

/** A running registry. */
export interface Registry {
    readonly port: number;
    /** `127.0.0.1:PORT`, as it stands in front of image references. */
    readonly address: string;
    /** Its process: what runs on after this one, ends by it. */
    readonly process: ProcessId;
    /** Pushes a layout under a name like `nginx:1.22`, all its platforms; gives the whole reference. */
    push(layout: Layout, name: string, credentials?: { username: string; password: string }): Promise<string>;
    /** Ends it, keeping a folder that was given. Can be called twice. */
    stop(): Promise<void>;
}

/** Starts a registry and waits until it answers. It dies with this process unless `persistent`. */
export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
    const dir = options.dir ?? (await mkdtemp(path.join(tmpdir(), "pulumi-containerd-registry-")));
    await mkdir(dir, { recursive: true });
    const port = options.port ?? (await freePort());
    const config: Record<string, unknown> = {
        version: "0.1",
        log: { level: "warn" },
        storage: { filesystem: { rootdirectory: path.join(dir, "content") }, delete: { enabled: true } },
        http: { addr: `127.0.0.1:${port}` },
    };
    if (options.htpasswd !== undefined) {
        await writeFile(path.join(dir, "htpasswd"), options.htpasswd, { mode: 0o600 });
        config.auth = { htpasswd: { realm: "playground", path: path.join(dir, "htpasswd") } };
    }
    const file = path.join(dir, "config.yml");
    // JSON is YAML.
    await writeFile(file, JSON.stringify(config));
    const id = await spawnRegistry(file, path.join(dir, "log"), options.persistent ?? false);
    const registry = connectRegistry(port, id);
    const stop = async () => {
        await registry.stop();
        if (options.dir === undefined) await rm(dir, { recursive: true, force: true });
    };
    try {
        await answers(registry.address, id, path.join(dir, "log"));
    } catch (error) {
        await stop();
        throw error;
    }
    return { ...registry, stop };
}

/** A registry that runs already, perhaps started by another process. */
export function connectRegistry(port: number, id: ProcessId): Registry {
    const address = `127.0.0.1:${port}`;
    const stop = async () => {
        if (await isAlive(id)) process.kill(id.pid, "SIGKILL");
        while (await isAlive(id)) await sleep(POLL);
    };
    return { port, address, process: id, stop, push: (...args) => push(address, ...args) };
}

async function spawnRegistry(config: string, log: string, persistent: boolean): Promise<ProcessId> {
    const serve = [environment().registry, "serve", config];
    const [command = "", ...args] = persistent ? serve : endingWithUs(serve);
    const out = openSync(log, "w");
    const child = spawn(command, args, { detached: true, stdio: ["ignore", out, out] });
    closeSync(out);
    child.unref();
    child.on("error", () => undefined);
    const id = child.pid === undefined ? undefined : await identify(child.pid);
    if (!id) throw new ContainerdError("Failed", `cannot start the registry, see ${log}`);
    return id;
}

async function answers(address: string, id: ProcessId, log: string): Promise<void> {
    const end = Date.now() + PATIENCE;
    for (;;) {
        // Unauthorized is an answer too.
        if (
            await fetch(`http://${address}/v2/`).then(
                () => true,
                () => false,
            )
        )
            return;
        if (!(await isAlive(id)) || Date.now() > end) {
            const said = await readFile(log, "utf8").catch(() => "");
            throw new ContainerdError(
                "Failed",
                `the registry on ${address} does not start: ${said.trim().slice(-500)}`,
            );
        }
        await sleep(POLL);
    }
}

async function push(
    address: string,
    layout: Layout,
    name: string,
    credentials?: { username: string; password: string },
): Promise<string> {
    const reference = `${address}/${name}`;
    // An authentication file, not an argument: arguments can be read by anyone on this machine. Without credentials it is
    // empty, so that the user's own stay out of this.
    const folder = await mkdtemp(path.join(tmpdir(), "pulumi-containerd-auth-"));
    try {
        const authfile = path.join(folder, "auth.json");
        const auth = credentials && Buffer.from(`${credentials.username}:${credentials.password}`).toString("base64");
        await writeFile(authfile, JSON.stringify({ auths: auth ? { [address]: { auth } } : {} }), { mode: 0o600 });
        const source = `oci:${layout.dir}:${layout.tag}`;
        const options = ["--all", "--insecure-policy", "--dest-tls-verify=false", "--dest-authfile", authfile];
        await output("skopeo", ["copy", "--quiet", ...options, source, `docker://${reference}`]);
    } finally {
        await rm(folder, { recursive: true, force: true });
    }
    return reference;
}

/** A port of the loopback that nobody listens on now: the wanted one if it is free, else any. */
export function freePort(wanted = 0): Promise<number> {
    return new Promise((resolve, reject) => {
        const server = createServer();
        server.once("error", (error) => (wanted === 0 ? reject(error) : resolve(freePort())));
        server.listen(wanted, "127.0.0.1", () => {
            const address = server.address();
            const port = typeof address === "object" && address ? address.port : 0;
            server.close(() => resolve(port));
        });
    });
}
