/** What the SSH transport reads on this machine: ssh_config, known_hosts, keys; apart, so that whoever decides is pure. */
import { readdirSync, readFileSync, statSync, type Stats } from "node:fs";
import { homedir, hostname, userInfo } from "node:os";
import { join } from "node:path";
import { ContainerdError } from "../../errors";

/** This machine as OpenSSH's client sees it; a test gives another. */
export interface SshFiles {
    /** The user's home: `~` and `%d`. */
    readonly home: string;
    /** Who runs this: `%u`, and the user to log in as where nothing says otherwise. */
    readonly user: string;
    /** `%i`. */
    readonly uid: number;
    /** `%l`, and up to the first dot `%L`. */
    readonly hostname: string;
    /** `SSH_AUTH_SOCK`, and the `${…}` of ssh_config. */
    readonly env: Readonly<Record<string, string | undefined>>;
    /** The user's ssh_config, else `~/.ssh/config`. */
    readonly userConfig: string;
    /** The machine's, read after it. */
    readonly systemConfig: string;
    /** A file's text; `undefined` where there is none. Throws `Invalid` when it is there and cannot be read. */
    read(path: string): string | undefined;
    /** As `read`, for a file that decides where connections go: also refuses one that others can write. */
    readConfig(path: string): string | undefined;
    /** Names in a folder; none where there is no such folder. */
    list(folder: string): string[];
}

/** More than this is no file of OpenSSH's, and may not end (`/dev/zero`). */
const MAX_BYTES = 16 * 1024 * 1024;

/** The files of this machine and of the user who runs this. */
export function localSshFiles(): SshFiles {
    const me = userInfo();
    const home = homedir();
    return {
        home,
        user: me.username,
        uid: me.uid,
        hostname: hostname(),
        env: process.env,
        userConfig: join(home, ".ssh/config"),
        systemConfig: "/etc/ssh/ssh_config",
        read: (path) => readText(path)?.text,
        readConfig: (path) => {
            const file = readText(path);
            if (file) refuseForeign(path, file.stats, me.uid);
            return file?.text;
        },
        list,
    };
}

function readText(path: string): { text: string; stats: Stats } | undefined {
    try {
        const stats = statSync(path);
        if (stats.isDirectory()) throw new ContainerdError("Invalid", `${path} is a folder, not a file`);
        // A pipe or device is read to its end or for ever: refuse what is not a plain file, `/dev/null` aside.
        if (path === "/dev/null") return { text: "", stats };
        if (!stats.isFile()) throw new ContainerdError("Invalid", `${path} is not a regular file`);
        if (stats.size > MAX_BYTES) throw new ContainerdError("Invalid", `${path} is larger than 16 MiB`);
        return { text: readFileSync(path, "utf8"), stats };
    } catch (thrown) {
        if (isErrno(thrown, "ENOENT", "ENOTDIR")) return undefined;
        if (isErrno(thrown, "EACCES", "EPERM")) {
            throw new ContainerdError("Invalid", `${path} cannot be read: no permission`, { cause: thrown });
        }
        throw ContainerdError.from(thrown);
    }
}

/** OpenSSH's own rule for the user's config: who can write it can send a connection, and its secrets, elsewhere. */
function refuseForeign(path: string, stats: Stats, uid: number): void {
    const owned = stats.uid === 0 || stats.uid === uid || uid < 0;
    if (owned && (stats.mode & 0o022) === 0) return;
    throw new ContainerdError(
        "Invalid",
        `${path} can be written by others, so it is not read (nor does ssh): chmod 600 ${path}, and make it your own`,
    );
}

function list(folder: string): string[] {
    try {
        return readdirSync(folder);
    } catch {
        return [];
    }
}

function isErrno(thrown: unknown, ...codes: string[]): boolean {
    return thrown instanceof Error && "code" in thrown && codes.includes(String(thrown.code));
}
