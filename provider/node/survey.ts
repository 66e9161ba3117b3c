/** What a machine has for running containers, asked by one shell script. Parsing is pure. */
import type { Transport } from "../transport/transport";
import { SURVEY_SCRIPT, TOOLS } from "./survey.sh";

/** Milliseconds; the script itself gives up after 12 s and a last command. */
const TIMEOUT = 25_000;

/** Whether the file is containerd's socket, and the user who is logged in may open it. */
export type SocketState = "open" | "denied" | "absent" | "other";

/** sshd's settings, as they hold for this user and client. `undefined`: an sshd too old or too new to have it. */
export interface SshdSettings {
    /** `yes`, `no`, `local` or `remote`; so is `allowTcpForwarding`. */
    allowStreamLocalForwarding: string | undefined;
    allowTcpForwarding: string | undefined;
    disableForwarding: boolean;
    maxSessions: number | undefined;
    /** Connections that are not logged in yet: `10:30:100`. */
    maxStartups: string | undefined;
}

/** A file system, in bytes. */
export interface Disk {
    size: number;
    /** For those who are not root. */
    free: number;
}

/** What a machine has. What could not be had is `undefined`: that does not say that it is not there, but for `tools` and `cni`. */
export interface Survey {
    /** Who is logged in. */
    user: string | undefined;
    /** Whether that is root. */
    isRoot: boolean;
    /** Whether `sudo` lets that user do anything without a password. */
    hasSudo: boolean;
    /** Of the kernel, like `6.1.0-28-amd64`. */
    kernel: string | undefined;
    /** As `uname -m` has it, like `x86_64`. */
    architecture: string | undefined;
    cgroupVersion: 1 | 2 | undefined;
    /** Of os-release: `id` is like `debian`, `version` like `12`, `name` is for people. */
    os: { id: string | undefined; version: string | undefined; name: string | undefined };
    /** As the command says it, like `1.6.20~ds1`. What the socket's containerd says of itself counts more (`nodeFacts`). */
    containerdVersion: string | undefined;
    runcVersion: string | undefined;
    /** Path of the config that containerd was started with. */
    containerdConfig: string | undefined;
    /** containerd's folder of what lasts. */
    containerdRoot: string | undefined;
    /** Milliseconds between two rounds of the restart monitor, as the config has it now. */
    restartInterval: number | undefined;
    socket: SocketState | undefined;
    /** What systemd says of the unit `containerd`: `enabled`, `disabled`, `masked`, `not-found`, … */
    boot: string | undefined;
    /** `active`, `inactive`, `failed`, … */
    active: string | undefined;
    /** The folder of CNI plugins and their names, in alphabetical order; `undefined` where there are none. */
    cni: { folder: string; plugins: string[] } | undefined;
    /** Paths of commands, by name; what is absent was not found on PATH. */
    tools: Partial<Record<(typeof TOOLS)[number], string>>;
    sshd: SshdSettings | undefined;
    /** Seconds by which the machine's clock is ahead of ours (negative: behind), at the least. */
    clockSkew: number | undefined;
    /** File systems of containerd's root and of `/run`, by folder. */
    disks: Record<string, Disk>;
    /** Bytes. */
    memory: number | undefined;
    cpus: number | undefined;
}

/**
 * Asks a machine what it has. Nothing is changed there.
 *
 * Throws `Unreachable`, `Unauthorized`, `Unsupported` where the machine runs no commands, `Timeout`.
 */
export async function survey(transport: Transport): Promise<Survey> {
    const before = Date.now() / 1000;
    const { stdout } = await transport.run(SURVEY_SCRIPT, [transport.socket], { timeout: TIMEOUT });
    return parseSurvey(stdout, { before, after: Date.now() / 1000 });
}

/**
 * Reads what the script printed. Lines that are none of it are passed over: a login shell may greet.
 *
 * @param ours epoch seconds of our clock before and after the script ran. Default: nothing is said about clocks.
 */
export function parseSurvey(text: string, ours?: { before: number; after: number }): Survey {
    const said = new Map<string, string>();
    for (const line of text.split(/\r?\n/)) {
        const [, key, value] = /^([a-z][A-Za-z./_-]*)=(.*)$/.exec(line) ?? [];
        if (key !== undefined && value !== undefined) said.set(key, plain(value));
    }
    const get = (key: string): string | undefined => said.get(key) || undefined;
    const number = (key: string): number | undefined => integer(get(key));
    const cgroup = number("cgroup");
    const folder = get("cni");
    return {
        user: get("user"),
        isRoot: get("uid") === "0",
        hasSudo: get("sudo") === "yes",
        kernel: get("kernel"),
        architecture: get("architecture"),
        cgroupVersion: cgroup === 1 || cgroup === 2 ? cgroup : undefined,
        os: { id: get("os.id"), version: get("os.version"), name: get("os.name") },
        containerdVersion: get("containerd"),
        runcVersion: get("runc"),
        containerdConfig: get("containerd.config"),
        containerdRoot: get("containerd.root"),
        restartInterval: parseGoDuration(get("restart.interval")),
        socket: SOCKET_STATES.find((state) => state === get("socket")),
        boot: get("boot"),
        active: get("active"),
        cni: folder === undefined ? undefined : { folder, plugins: words(get("cni.plugins")).sort() },
        tools: Object.fromEntries(TOOLS.flatMap((tool) => (get(`tool.${tool}`) ? [[tool, get(`tool.${tool}`)]] : []))),
        sshd: sshdSettings(get, number),
        clockSkew: ours && clockSkew(number("clock.start"), number("clock.end"), ours),
        disks: disksOf(said),
        memory: scaled(number("memory")),
        cpus: number("cpus"),
    };
}

const SOCKET_STATES: readonly SocketState[] = ["open", "denied", "absent", "other"];

/** One line without quotes around it and without what a terminal would obey. */
function plain(value: string): string {
    return value
        .replace(/[\p{Cc}\p{Cf}]/gu, "")
        .trim()
        .replace(/^(["'])(.*)\1$/, "$2");
}

function words(text = ""): string[] {
    return text.split(" ").filter(Boolean);
}

function integer(text: string | undefined): number | undefined {
    return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** KiB as bytes. */
function scaled(kibibytes: number | undefined): number | undefined {
    return kibibytes === undefined ? undefined : kibibytes * 1024;
}

function sshdSettings(
    get: (key: string) => string | undefined,
    number: (key: string) => number | undefined,
): SshdSettings | undefined {
    const settings = {
        allowStreamLocalForwarding: get("sshd.allowstreamlocalforwarding"),
        allowTcpForwarding: get("sshd.allowtcpforwarding"),
        disableForwarding: get("sshd.disableforwarding") === "yes",
        maxSessions: number("sshd.maxsessions"),
        maxStartups: get("sshd.maxstartups"),
    };
    return settings.allowStreamLocalForwarding === undefined && settings.allowTcpForwarding === undefined
        ? undefined
        : settings;
}

function disksOf(said: ReadonlyMap<string, string>): Record<string, Disk> {
    const disks: Record<string, Disk> = {};
    for (const [key, value] of said) {
        if (!key.startsWith("disk./")) continue;
        const [size, free] = words(value).map((word) => scaled(integer(word)));
        if (size !== undefined && free !== undefined) disks[key.slice("disk.".length)] = { size, free };
    }
    return disks;
}

/**
 * How far a clock is off, at the least: the script ran somewhere between our two readings, and a second is its finest unit.
 * Within that uncertainty it is 0.
 */
function clockSkew(
    start: number | undefined,
    end: number | undefined,
    { before, after }: { before: number; after: number },
): number | undefined {
    if (start === undefined || end === undefined) return undefined;
    const least = end - after;
    const most = start + 1 - before;
    if (least > 0) return Math.round(least);
    return most < 0 ? Math.round(most) : 0;
}

const UNITS: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1, us: 1e-3, µs: 1e-3, ns: 1e-6 };

/** Milliseconds of a duration as Go writes it, like `1m30s`; `undefined` for what is none. Source: Go's `time.ParseDuration`. */
export function parseGoDuration(text: string | undefined): number | undefined {
    if (text === undefined || !/^(?:\d+(?:\.\d+)?(?:h|ms|m|s|us|µs|ns))+$/.test(text)) return undefined;
    let milliseconds = 0;
    for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)/g)) {
        milliseconds += Number(count) * (UNITS[unit ?? ""] ?? 0);
    }
    return milliseconds;
}
