/**
 * A worker with a kernel, systemd and control groups (v2) of its own: a virtual machine, prepared by our own bootstrap. What
 * is deployed to it comes back by containerd alone after a true reboot and after power loss, seen from outside.
 */
import assert from "node:assert/strict";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { engineEnvironment } from "../../playground/engine";
import { environment, repository, toolPath } from "../../playground/environment";
import { busyboxImage } from "../../playground/images";
import { run } from "../../playground/process";
import { type Registry, startRegistry } from "../../playground/registry";
import { Stack } from "../../playground/stack";
import { whyNoEmulator } from "../../playground/vm/emulator";
import { VirtualMachine } from "../../playground/vm/machine";
import type { Worker } from "../../playground/worker";
import { hasCode } from "../../provider/errors";
import { type Census, census } from "../helpers/census";
import { skip } from "../helpers/skip";
import { PREAMBLE, eventually, rewrite, succeeded, unchanged } from "../e2e/scene";

/** Each page tells the number of the boot in which its process started, and when, in seconds since then. */
const PROGRAM = `
const image = new pulumi.Config("test").require("image");
const page = "cat /proc/sys/kernel/random/boot_id /proc/uptime";
// A process 1 that does not care for SIGTERM would hold up the machine's shutdown.
const shell = (script) => ["sh", "-c", "trap exit TERM; " + script + " & wait"];
const serve = (port) => shell(page + " >/tmp/index.html; httpd -f -h /tmp -p " + port);
const host = new containerd.Container("host", {
    image,
    network: "host",
    memory: { limit: "48MiB" },
    args: serve(8080),
});
new containerd.Task("host", { container: host, health: { http: { port: 8080 }, timeout: "30s" } });
const published = new containerd.Container("published", { image, ports: ["8000:80"], args: serve(80) });
new containerd.Task("published", { container: published, health: { http: { port: 80 }, timeout: "30s" } });
new containerd.Pod("pod", {
    ports: ["8001:80"],
    containers: {
        writer: { image, args: shell(page + " >/dev/shm/index.html; sleep 100000") },
        server: {
            image,
            after: ["writer"],
            args: shell("httpd -f -p 80 -h /dev/shm"),
            health: { http: { port: 80, path: "/index.html" }, timeout: "30s" },
        },
    },
});
`;
/** An emulated processor that works on all at once would not keep the time limits of the scripts on a node. */
const ONE_BY_ONE = ["--parallel", "1"];
/** What answers at which port of the machine. */
const PAGES = { "network host": 8080, "published port": 8000, "port of a pod": 8001 };
type Page = keyof typeof PAGES;
/** How long an emulated processor may take from power-on until all answer, in milliseconds. */
const COMING_BACK = 300_000;
const POLL = 300;
/** How long it may take for a page. */
const PAGE = 5000;

describe("a virtual machine as a worker", function () {
    this.timeout(540_000);
    this.slow(120_000);
    this.bail(true);
    let machine: VirtualMachine;
    let registry: Registry;
    let stack: Stack;
    let empty: Census;
    const doors = {} as Record<Page, number>;

    before(async function () {
        const problem = await whyNoEmulator();
        if (problem !== undefined) skip(this, problem);
        try {
            machine = await VirtualMachine.start();
        } catch (error) {
            if (hasCode(error, "Unsupported")) skip(this, error.message);
            throw error;
        }
        registry = await startRegistry();
        for (const [page, port] of Object.entries(PAGES)) doors[page as Page] = await machine.forward(port);
        stack = await Stack.create({
            program: PREAMBLE + PROGRAM,
            config: {
                "containerd:nodes": { worker: machine.nodeEntry },
                "containerd:node": "worker",
                "test:image": await registry.push(await busyboxImage(), "busybox:1"),
            },
        });
    });
    after(async () => {
        await stack?.remove();
        await machine?.stop();
        await registry?.stop();
    });

    it("is prepared by the bootstrap, over SSH, and once is enough", async () => {
        const first = await bootstrap(stack);
        assert.match(first, /changed: the restart monitor looks every second/);
        assert.match(await machine.run("containerd config dump"), /v1\.restart"\]\s+interval = "1s"/);
        const second = await bootstrap(stack);
        assert.match(second, /restart monitor: looks every 1s/);
        assert.doesNotMatch(second, /changed/);
    });

    it("limits memory by its control groups, and changes that in place", async () => {
        empty = await censusOf(machine);
        succeeded(await stack.up(ONE_BY_ONE));
        const boot = await bootOf(machine);
        for (const page of Object.keys(PAGES) as Page[]) assert.equal((await pageAt(doors[page]))?.boot, boot, page);
        unchanged(await stack.up(ONE_BY_ONE));
        const [pid, limit] = await memoryOf(machine);
        assert.equal(limit, 48 << 20);
        await rewrite(stack, PROGRAM.replace("48MiB", "56MiB"));
        const { changes } = succeeded(await stack.up(ONE_BY_ONE));
        assert.deepEqual(changes, ["host: update"]);
        assert.deepEqual(await memoryOf(machine), [pid, 56 << 20]);
    });

    it("answers again after a reboot, by containerd alone", async () => {
        await comesBack("reboot", () => machine.reboot());
        // What was changed in place is still so.
        const [, limit] = await memoryOf(machine);
        assert.equal(limit, 56 << 20);
    });

    it("answers again after power loss, and nothing is left to do for Pulumi", async () => {
        await comesBack("power loss", async () => {
            await machine.kill();
            await machine.boot();
        });
        unchanged(await stack.up(ONE_BY_ONE));
    });

    it("holds nothing more after destroy", async () => {
        succeeded(await stack.destroy(ONE_BY_ONE));
        let now = await censusOf(machine);
        await eventually("the machine holds what it did before", async () => {
            now = await censusOf(machine);
            return JSON.stringify(now) === JSON.stringify(empty);
        }).catch(() => assert.deepEqual(now, empty));
    });

    /**
     * All pages come from a new boot. Prints how long that took: by the machine's own clock, since an emulated one's is slower
     * than ours.
     */
    async function comesBack(what: string, interrupt: () => Promise<void>): Promise<void> {
        const boot = await bootOf(machine);
        const start = Date.now();
        const watched = Promise.all(
            Object.entries(doors).map(async ([page, door]) => ({ page, ...(await newPageAt(door, boot)) })),
        );
        // Awaited below; it may fail while the machine boots.
        watched.catch(() => undefined);
        await interrupt();
        const pages = await watched;
        const whole = (Date.now() - start) / 1000;
        const now = await bootOf(machine);
        assert.deepEqual(
            pages.map((page) => page.boot),
            pages.map(() => now),
        );
        const containerd = await startOfContainerd(machine);
        const times = pages.map(({ page, uptime }) => `${page} ${(uptime - containerd).toFixed(1)} s`).join(", ");
        process.stdout.write(
            `      ${what}: containerd started ${containerd.toFixed(1)} s after the kernel, and then ${times}; ` +
                `all in all ${whole.toFixed(0)} s by this machine's clock\n`,
        );
    }
});

/** Runs `pulumi-containerd bootstrap --run` as a user does, in a stack's project. */
async function bootstrap(stack: Stack): Promise<string> {
    const { code, stdout, stderr } = await run(
        "node",
        [path.join(repository, "dist/cli/main.js"), "bootstrap", "--run", "worker", "--stack", stack.name],
        {
            cwd: stack.project,
            env: engineEnvironment(path.join(stack.folder, "backend"), {
                PATH: toolPath(path.dirname(environment().pulumi)),
            }),
        },
    );
    assert.equal(code, 0, stdout + stderr);
    return stdout;
}

/** A page: of which boot, and how many seconds after that boot its process started. Undefined when there is none (now). */
async function pageAt(door: number): Promise<{ boot: string; uptime: number } | undefined> {
    try {
        const answer = await fetch(`http://127.0.0.1:${door}/index.html`, { signal: AbortSignal.timeout(PAGE) });
        const [, boot, uptime] = /^([0-9a-f-]{36})\n([\d.]+) /.exec(answer.ok ? await answer.text() : "") ?? [];
        return boot === undefined ? undefined : { boot, uptime: Number(uptime) };
    } catch {
        return undefined;
    }
}

/** The first page of another boot than the old one. */
async function newPageAt(door: number, old: string): Promise<{ boot: string; uptime: number }> {
    const end = Date.now() + COMING_BACK;
    for (;;) {
        const page = await pageAt(door);
        if (page && page.boot !== old) return page;
        assert.ok(Date.now() < end, `no answer from a new boot after ${COMING_BACK / 1000} s: ${page?.boot ?? "none"}`);
        await sleep(POLL);
    }
}

async function bootOf(machine: VirtualMachine): Promise<string> {
    return (await machine.run("cat /proc/sys/kernel/random/boot_id")).trim();
}

/** When containerd's process started, in seconds since the machine's kernel did. */
async function startOfContainerd(machine: VirtualMachine): Promise<number> {
    const said = await machine.run("systemctl show --value --property ExecMainStartTimestampMonotonic containerd");
    return Number(said) / 1e6;
}

/** The process with the limit, and the limit in bytes, as the kernel has it. */
async function memoryOf(machine: VirtualMachine): Promise<[pid: string, bytes: number]> {
    const tasks = await machine.ctr("tasks", "ls");
    const pid = /^host-\S+ +(\d+) +RUNNING/m.exec(tasks)?.[1] ?? assert.fail(tasks);
    const said = await machine.run(
        'group=$(sed -n "s/^0:://p" "/proc/$1/cgroup"); cat "/sys/fs/cgroup$group/memory.max"',
        pid,
    );
    return [pid, Number(said)];
}

/** udev's helpers, which come and go, and where containerd's CRI plugin streams: another port at each of its starts. */
const PASSING = /^(\(udev-worker\)|tcp 127\.0\.0\.1:\d+)$/;

/** What is on the machine, but for what is not the same twice. It speaks a worker's words. */
async function censusOf(machine: VirtualMachine): Promise<Census> {
    const { processes, listeners, ...rest } = await census(machine as unknown as Worker);
    const lasting = (lines: readonly string[]) => lines.filter((line) => !PASSING.test(line));
    return { ...rest, processes: lasting(processes), listeners: lasting(listeners) };
}
