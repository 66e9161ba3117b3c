/**
 * The folder for the local ends of tunnels. Who can open such a socket is root on the worker, so nobody but this user may reach
 * it; and a killed process leaves its folder, which the next one removes.
 */
import { existsSync, lstatSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { ContainerdError } from "../../errors";

const PREFIX = "pulumi-containerd-";
const ENDINGS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

let folder: string | undefined;
let made = 0;

/**
 * A path for one more socket, in a folder of this process with mode 0700. Throws `Unsupported` where modes are not kept.
 */
export function tunnelSocketPath(): string {
    if (folder === undefined) {
        folder = makeFolder(tmpdir());
        process.once("exit", removeTunnelFolder);
        for (const signal of ENDINGS) process.on(signal, onSignal);
    }
    return path.join(folder, `${made++}.sock`);
}

/** Removes the folder and what lies in it; the next socket makes a new one. */
export function removeTunnelFolder(): void {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    folder = undefined;
    process.off("exit", removeTunnelFolder);
    for (const signal of ENDINGS) process.off(signal, onSignal);
}

/** A signal ends a process without its "exit": and that is how the engine ends a provider when all is done (SIGINT). */
function onSignal(signal: NodeJS.Signals): void {
    removeTunnelFolder();
    // As without us. Where others listen too, it is theirs to say what it means.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
}

function makeFolder(base: string): string {
    removeDead(base);
    const fresh = mkdtempSync(path.join(base, `${PREFIX}${process.pid}-`));
    // mkdtemp makes it 0700 whatever the umask; a file system that knows no modes does not.
    if ((lstatSync(fresh).mode & 0o077) === 0) return fresh;
    rmSync(fresh, { recursive: true });
    throw new ContainerdError(
        "Unsupported",
        `${base} keeps no file modes, so that others could use the tunnel: set TMPDIR to a folder that does`,
    );
}

/** Removes the folders of this user's processes that have ended. */
function removeDead(base: string): void {
    for (const name of readdirSync(base)) {
        const pid = Number(new RegExp(`^${PREFIX}(\\d+)-[A-Za-z0-9]{6}$`).exec(name)?.[1]);
        if (!pid || isAlive(pid)) continue;
        const dead = path.join(base, name);
        try {
            if (lstatSync(dead).uid === process.getuid?.()) rmSync(dead, { recursive: true, force: true });
        } catch (error) {
            // Another process of ours may remove it at the same time.
            if (existsSync(dead)) throw error;
        }
    }
}

function isAlive(pid: number): boolean {
    try {
        process.kill(pid, 0);
        return true;
    } catch (error) {
        return (error as NodeJS.ErrnoException).code !== "ESRCH";
    }
}
