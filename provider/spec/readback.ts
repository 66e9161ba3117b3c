/**
 * From a spec back to arguments: which arguments a container on a node no longer has as they were given, and what stands there
 * now. `refresh` shows drift by it. One row for each part of the spec that an argument is responsible for.
 */
import { isDeepStrictEqual } from "node:util";
import { parse as parseBytes } from "bytes";
import { ALL_CAPABILITIES, DEFAULT_CAPABILITIES } from "./capabilities";
import { SECRETS_TARGET } from "./files";
import type { ContainerInputs, MountInputs } from "./inputs";
import { splitEnv } from "./process";
import { CPU_PERIOD } from "./resources";
import { REVISION } from "./revision";
import type { Mount, Spec } from "./types";

/** Both specs and the inputs from which the expected one was made. */
interface Pair {
    actual: Spec;
    expected: Spec;
    inputs: ContainerInputs;
}

interface Row {
    /** The part of the spec that tells. Where it is equal in both specs, nothing is read. */
    part: (spec: Spec) => unknown;
    /** The arguments responsible, with the values that the actual spec amounts to. */
    read: (pair: Pair) => Partial<ContainerInputs>;
}

const ROWS: readonly Row[] = [
    { part: ({ process }) => process.args, read: readArgs },
    { part: ({ process }) => process.env, read: readEnv },
    { part: ({ process }) => process.cwd, read: ({ actual }) => ({ workdir: actual.process.cwd }) },
    { part: ({ process }) => process.user, read: readUser },
    {
        part: ({ process }) => process.terminal ?? false,
        read: ({ actual }) => ({ tty: actual.process.terminal ?? false }),
    },
    { part: ({ hostname }) => hostname, read: ({ actual }) => ({ hostname: actual.hostname ?? "" }) },
    { part: domainnameOf, read: readDomainname },
    { part: ({ root }) => root.readonly ?? false, read: ({ actual }) => ({ readOnly: actual.root.readonly ?? false }) },
    { part: ({ mounts }) => mounts, read: readMounts },
    { part: isPrivileged, read: ({ actual }) => ({ privileged: isPrivileged(actual) }) },
    { part: bounding, read: readCapabilities },
    {
        part: networkNamespace,
        read: ({ actual }) => ({ network: networkNamespace(actual) === "node" ? "host" : "none" }),
    },
    {
        part: ({ linux }) => linux.resources?.memory,
        read: ({ actual }) => ({ memory: actual.linux.resources?.memory ?? {} }),
    },
    { part: ({ linux }) => linux.resources?.cpu, read: readCpu },
    { part: ({ linux }) => linux.resources?.pids?.limit, read: readPidsLimit },
    { part: ({ process }) => process.noNewPrivileges ?? false, read: readSecurity },
    { part: ({ linux }) => linux.seccomp !== undefined, read: readSecurity },
];

/**
 * The arguments that `actual` (from containerd) does not have as `expected` (from `buildSpec`) has them, and their values there.
 * `{}` where both are equal. Annotations are not looked at: they are not made here.
 *
 * A difference that no argument can say is given as `revision: 0`, a generation that never was, so that it is seen and the next
 * update writes the spec anew. A container of an older revision is not compared: what that generated cannot be known any more,
 * and its update is due anyway.
 */
export function readBack(actual: Spec, expected: Spec, inputs: ContainerInputs): Partial<ContainerInputs> {
    if (inputs.revision !== REVISION) return {};
    const pair: Pair = { actual: comparable(actual), expected: comparable(expected), inputs };
    if (isDeepStrictEqual(pair.actual, pair.expected)) return {};
    const different = ROWS.filter(({ part }) => !isDeepStrictEqual(part(pair.actual), part(pair.expected)));
    const read = different.reduce<Partial<ContainerInputs>>((found, row) => ({ ...found, ...row.read(pair) }), {});
    return Object.keys(read).length > 0 ? read : { revision: 0 };
}

/** The spec without annotations, and without what means the same as its absence: undefined, empty lists and objects. */
function comparable(spec: Spec): Spec {
    const pruned = prune({ ...spec, annotations: undefined }) as Partial<Spec>;
    return {
        ociVersion: "",
        root: { path: "" },
        mounts: [],
        ...pruned,
        process: { args: [], env: [], cwd: "", ...pruned.process, user: { uid: 0, gid: 0, ...pruned.process?.user } },
        linux: { namespaces: [], ...pruned.linux },
    };
}

function prune(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(prune);
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value)
        .map(([key, item]): [string, unknown] => [key, prune(item)])
        .filter(([, item]) => item !== undefined && item !== null && !isEmpty(item));
    return Object.fromEntries(entries);
}

function isEmpty(value: unknown): boolean {
    return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}

/** Splits the command line where the known half ends: the given (or the image's) entrypoint, or the given args. */
function readArgs({ actual, expected, inputs }: Pair): Partial<ContainerInputs> {
    const [now, before] = [actual.process.args, expected.process.args];
    const entrypoint = inputs.entrypoint ?? (inputs.args ? before.slice(0, before.length - inputs.args.length) : []);
    if (entrypoint.length > 0 && isDeepStrictEqual(now.slice(0, entrypoint.length), entrypoint)) {
        return { args: now.slice(entrypoint.length) };
    }
    const args = inputs.args ?? [];
    const kept = args.length > 0 && isDeepStrictEqual(now.slice(-args.length), args);
    if (kept) return { entrypoint: now.slice(0, -args.length) };
    // An entrypoint alone drops the image's cmd, so it says the whole line; given args must be said to be gone.
    return inputs.args ? { entrypoint: now, args: [] } : { entrypoint: now };
}

/** The given variables with the differences on top; one of the image's that is gone reads as empty. */
function readEnv({ actual, expected, inputs }: Pair): Partial<ContainerInputs> {
    const [now, before] = [new Map(actual.process.env.map(splitEnv)), new Map(expected.process.env.map(splitEnv))];
    const env = { ...inputs.env };
    for (const name of new Set([...before.keys(), ...now.keys()])) {
        const value = now.get(name);
        if (value === before.get(name) || followsAnother(name, value, actual)) continue;
        if (value === undefined && name in env) delete env[name];
        else env[name] = value ?? "";
    }
    return isDeepStrictEqual(env, inputs.env ?? {}) ? {} : { env };
}

function domainnameOf({ linux }: Spec): string | undefined {
    return linux.sysctl?.["kernel.domainname"];
}

/** Where it is one of the given sysctls, no argument can say what it is now. */
function readDomainname({ actual, inputs }: Pair): Partial<ContainerInputs> {
    if (inputs.sysctls?.["kernel.domainname"] !== undefined) return {};
    return { domainname: domainnameOf(actual) };
}

/** `HOSTNAME` and `TERM` as they come with the hostname and the tty that the spec has now: those arguments answer for them. */
function followsAnother(name: string, value: string | undefined, { hostname, process }: Spec): boolean {
    if (name === "HOSTNAME") return value === hostname;
    return name === "TERM" && value === (process.terminal ? "xterm" : undefined);
}

function readUser({ actual }: Pair): Partial<ContainerInputs> {
    const { uid, gid } = actual.process.user;
    return { user: `${uid}:${gid}` };
}

/** By destination: whoever put a mount there answers for it; what nobody put there is in `mounts`. */
function readMounts({ actual, expected, inputs }: Pair): Partial<ContainerInputs> {
    const [now, before] = [byDestination(actual), byDestination(expected)];
    const mounts = { ...inputs.mounts };
    const files = { ...inputs.files };
    let secrets = inputs.secrets;
    for (const destination of new Set([...before.keys(), ...now.keys()])) {
        const mount = now.get(destination);
        if (isDeepStrictEqual(mount, before.get(destination))) continue;
        // A file or the secrets are there as we put them, or not.
        if (destination in files) delete files[destination];
        else if (destination === SECRETS_TARGET && secrets) secrets = {};
        else if (mount === undefined) delete mounts[destination];
        else if (mount.type === "bind" || mount.type === "tmpfs") mounts[destination] = readMount(mount);
    }
    const read: Partial<ContainerInputs> = {};
    if (!isDeepStrictEqual(mounts, inputs.mounts ?? {})) read.mounts = mounts;
    if (!isDeepStrictEqual(files, inputs.files ?? {})) read.files = files;
    if (!isDeepStrictEqual(secrets, inputs.secrets)) read.secrets = secrets;
    return read;
}

function byDestination({ mounts }: Spec): Map<string, Mount> {
    return new Map(mounts.map((mount) => [mount.destination, mount]));
}

function readMount({ type, source, options = [] }: Mount): MountInputs {
    const value = (name: string) => options.find((option) => option.startsWith(`${name}=`))?.slice(name.length + 1);
    const readOnly = options.includes("ro") ? { readOnly: true } : {};
    if (type === "tmpfs") {
        const [size, mode] = [value("size"), value("mode")];
        return {
            tmpfs: { ...(size && { size: parseBytes(size) ?? 0 }), ...(mode && { mode }) },
            ...readOnly,
        };
    }
    const propagation = (["rslave", "rshared"] as const).find((option) => options.includes(option));
    return { bind: source, ...readOnly, ...(propagation && { propagation }) };
}

/** All devices and nothing hidden: no other argument does that. */
function isPrivileged({ linux }: Spec): boolean {
    const rules = linux.resources?.devices ?? [];
    const last = rules.at(-1);
    const allDevices = last !== undefined && last.allow && last.major === undefined && (last.type ?? "a") === "a";
    return allDevices && (linux.maskedPaths ?? []).length === 0;
}

/** Whether a container is privileged that was not meant to be: then it has what goes with that, and no argument of its own. */
function becamePrivileged({ actual, inputs }: Pair): boolean {
    return isPrivileged(actual) && !inputs.privileged;
}

function bounding({ process }: Spec): string[] {
    return (process.capabilities?.bounding ?? []).map((name) => name.replace(/^CAP_/, "")).sort();
}

function readCapabilities(pair: Pair): Partial<ContainerInputs> {
    const names = bounding(pair.actual);
    const all = ALL_CAPABILITIES.every((name) => names.includes(name));
    if (all && becamePrivileged(pair)) return {};
    const add = all ? ["ALL"] : names.filter((name) => !DEFAULT_CAPABILITIES.includes(name));
    const drop = DEFAULT_CAPABILITIES.filter((name) => !names.includes(name));
    return { capabilities: { ...(add.length > 0 && { add }), ...(drop.length > 0 && { drop }) } };
}

/** `node` for the node's, `own` for a new one with each start, else the path of one that lies on the node. */
function networkNamespace({ linux }: Spec): string {
    const namespace = linux.namespaces.find(({ type }) => type === "network");
    return namespace ? (namespace.path ?? "own") : "node";
}

function readCpu({ actual }: Pair): Partial<ContainerInputs> {
    const { quota, period = CPU_PERIOD, shares, cpus } = actual.linux.resources?.cpu ?? {};
    return {
        cpu: {
            ...(quota !== undefined && quota > 0 && { cpus: quota / period }),
            ...(shares !== undefined && { shares }),
            ...(cpus !== undefined && { cpuset: cpus }),
        },
    };
}

function readPidsLimit({ actual }: Pair): Partial<ContainerInputs> {
    return { pidsLimit: actual.linux.resources?.pids?.limit ?? -1 };
}

function readSecurity(pair: Pair): Partial<ContainerInputs> {
    const { actual, expected, inputs } = pair;
    const noNewPrivileges = actual.process.noNewPrivileges ?? false;
    const unconfined = actual.linux.seccomp === undefined;
    if (becamePrivileged(pair) && unconfined && !noNewPrivileges) return {};
    const security = { ...inputs.security };
    if (noNewPrivileges !== (expected.process.noNewPrivileges ?? false)) security.noNewPrivileges = noNewPrivileges;
    if (unconfined !== (expected.linux.seccomp === undefined)) security.seccomp = unconfined ? "unconfined" : "default";
    return { security };
}
