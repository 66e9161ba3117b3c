/**
 * Carries TCP connections between this machine's loopback and the workers of one cluster, whose network namespaces have no
 * way to here: `carrier.ts FOLDER`. It holds the switch's namespace (see `crossing.ts`) and obeys requests on a socket in
 * the folder: HTTP, a path a request, JSON bodies (see `messages.ts`).
 *
 * Whose namespace a socket is in is settled when it is made. So a server is made in the one namespace and handed to a
 * process in the other (`subprocess.send`), which accepts, and connects from where it is.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, rmSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type Server, connect, createServer } from "node:net";
import path from "node:path";
import { Link } from "./link";
import type { CarrierAnswers, CarrierRequests, CrossForward, CrossLink } from "./messages";
import { endingWithUs } from "../system";
import { SWITCH_SETUP, nodeCommand } from "./setup";

const [folder = "."] = process.argv.slice(2);

/** What a worker can reach here. */
interface Reaching {
    link: Link;
    servers: Map<number, Server>;
}

const reaching = new Map<string, Reaching>();
/** Ports of this machine by worker and its port. */
const forwards = new Map<string, Map<number, number>>();
let crossing: ChildProcess;
let lastId = 0;
const waiting = new Map<number, () => void>();

function startCrossing(): Promise<void> {
    const node = nodeCommand(path.join(__dirname, "crossing.ts"));
    const [command = "", ...args] = endingWithUs(["unshare", "--net", "/bin/sh", "-c", SWITCH_SETUP, "sh", ...node]);
    crossing = spawn(command, args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    crossing.on("message", ({ id }: { id: number }) => {
        waiting.get(id)?.();
        waiting.delete(id);
    });
    crossing.once("exit", () => process.exit(1));
    return new Promise((resolve) => waiting.set(0, resolve));
}

/** Says something to the crossing and waits until that is done. */
function cross(message: CrossForward | CrossLink, server?: Server): Promise<void> {
    const id = ++lastId;
    return new Promise((resolve, reject) => {
        waiting.set(id, resolve);
        crossing.send({ ...message, id }, server, {}, (error) => error && reject(error));
    });
}

function reachOf(worker: string): Reaching {
    const known = reaching.get(worker) ?? { link: new Link(), servers: new Map<number, Server>() };
    reaching.set(worker, known);
    return known;
}

function listen(port: number): Promise<Server> {
    return new Promise((resolve, reject) => {
        const server = createServer();
        server.once("error", reject);
        server.listen(port, "127.0.0.1", () => resolve(server));
    });
}

function portOf(server: Server): number {
    const address = server.address();
    return typeof address === "object" && address ? address.port : 0;
}

/** Servers on ports of the loopback of a process's network namespace. */
function listenInside(pid: number, ports: readonly number[]): Promise<Map<number, Server>> {
    const servers = new Map<number, Server>();
    const node = nodeCommand(path.join(__dirname, "listen.ts"), ...ports.map(String));
    const args = ["--target", String(pid), "--net", "--", ...node];
    const child = spawn("nsenter", args, { stdio: ["ignore", "inherit", "pipe", "ipc"] });
    let said = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (said += text));
    child.on("message", ({ port }: { port: number }, server) => servers.set(port, server as Server));
    return new Promise((resolve, reject) => {
        child.once("error", reject);
        child.once("close", (code) => {
            if (code === 0 && servers.size === ports.length) resolve(servers);
            else reject(new Error(`cannot listen on ports ${ports.join(", ")} of the worker: ${said.trim()}`));
        });
    });
}

const requests: { [K in keyof CarrierRequests]: (body: CarrierRequests[K]) => Promise<CarrierAnswers[K]> } = {
    async forward({ worker, host, port, listen: wanted }) {
        const known = forwards.get(worker)?.get(port);
        if (known !== undefined) return { port: known };
        const server = await listen(wanted);
        const taken = portOf(server);
        await cross({ do: "forward", worker, host, port }, server);
        server.close();
        forwards.set(worker, new Map([...(forwards.get(worker) ?? []), [port, taken]]));
        return { port: taken };
    },
    async reach({ worker, pid, ports }) {
        const { link, servers } = reachOf(worker);
        const missing = ports.filter((port) => !servers.has(port));
        if (missing.length === 0) return {};
        for (const [port, server] of await listenInside(pid, missing)) {
            link.serve(server, () => connect({ host: "127.0.0.1", port, noDelay: true, allowHalfOpen: true }));
            servers.set(port, server);
        }
        return {};
    },
    async link({ worker, delay, cut }) {
        const { link } = reachOf(worker);
        if (delay !== undefined) link.delay = delay;
        if (cut !== undefined) link.cut = cut;
        await cross({ do: "link", worker, delay });
        return {};
    },
    async reset({ worker }) {
        reachOf(worker).link.reset();
        await cross({ do: "reset", worker });
        return {};
    },
    off({ worker }) {
        const { link, servers } = reachOf(worker);
        for (const server of servers.values()) server.close();
        servers.clear();
        link.reset();
        return Promise.resolve({});
    },
    async remove({ worker }) {
        await requests.off({ worker });
        reaching.delete(worker);
        forwards.delete(worker);
        await cross({ do: "remove", worker });
        return {};
    },
    status: () => Promise.resolve({ crossing: crossing.pid ?? 0, workers: [...forwards.keys()] }),
};

function isRequest(name: string): name is keyof CarrierRequests {
    return Object.hasOwn(requests, name);
}

async function answer(name: string, body: string): Promise<object> {
    if (!isRequest(name)) throw new Error(`no request ${name}`);
    // Each request's body goes with its name; the compiler cannot follow that through a table.
    const perform = requests[name] as (parsed: unknown) => Promise<object>;
    return perform(JSON.parse(body || "{}"));
}

async function main(): Promise<void> {
    await startCrossing();
    const socket = path.join(folder, "carrier.sock");
    rmSync(socket, { force: true });
    const server = createHttpServer((request, response) => {
        let body = "";
        request.setEncoding("utf8").on("data", (text: string) => (body += text));
        request.on("end", () => {
            answer((request.url ?? "").slice(1), body).then(
                (result) => response.end(JSON.stringify(result)),
                (error: unknown) => {
                    response.statusCode = 500;
                    response.end(error instanceof Error ? error.message : String(error));
                },
            );
        });
    });
    server.listen(socket, () => chmodSync(socket, 0o600));
}

void main();
