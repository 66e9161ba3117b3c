/** What a Container's arguments must be like. */
import { posix } from "node:path";
import * as v from "valibot";
import { SECRETS_TARGET } from "../../spec/files";
import { volumeSource } from "../../spec/volumes";
import type { ContainerInputs, MountInputs, VolumeInputs } from "../../spec/inputs";
import type { Failure } from "../lifecycle";
import { identifierProblem } from "../names";
import { signalNumber } from "../signals";
import { holdsUnknown, isUnknown } from "../unknown";
import { bookkeeping, labelProblem, labelsProblem, labelValueProblem } from "./common";
import { networkArguments, networkContradictions, normalizedPorts } from "./network";
import * as s from "./schema";
import { formatPath } from "./validate";
import { volumeArguments } from "./volume";

/** The least that containerd's runtimes start with. Bytes. */
const LEAST_MEMORY = 6 << 20;

function absolute(path: string): string | undefined {
    if (!path.startsWith("/")) return "must be an absolute path";
    if (path.includes("\0")) return "must not hold a NUL character";
    if (path.split("/").includes("..")) return 'must not hold ".."';
    const plain = posix.normalize(path).replace(/(?<=.)\/$/, "");
    return plain === path ? undefined : `must be written as ${plain}`;
}

function noNul(text: string): string | undefined {
    return text.includes("\0") ? "must not hold a NUL character" : undefined;
}

function envName(name: string): string | undefined {
    if (name === "") return "an environment variable needs a name";
    if (name.includes("=")) return 'the name of an environment variable must not hold "="';
    return noNul(name);
}

function secretName(name: string): string | undefined {
    return /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(name)
        ? undefined
        : "a secret's name may hold letters, digits, '_', '-' and '.'";
}

function scratchName(name: string): string | undefined {
    return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/.test(name)
        ? undefined
        : "may hold letters, digits, '_', '-' and '.', and at most 100 of them";
}

function relative(path: string): string | undefined {
    if (path.includes("\0")) return "must not hold a NUL character";
    const plain =
        path !== "" && !path.startsWith("/") && path.split("/").every((part) => !["", ".", ".."].includes(part));
    return plain ? undefined : 'must be a plain path like "a/b": not absolute, and without "..", "." and empty parts';
}

function octal(mode: string): string | undefined {
    return /^0?[0-7]{3,4}$/.test(mode) ? undefined : 'must be an octal mode like "0644"';
}

function cpuset(list: string): string | undefined {
    return /^\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*$/.test(list) ? undefined : 'must be a list of processors like "0-1,3"';
}

function exactlyOne(names: string[]): (value: Record<string, unknown>) => string | undefined {
    return (value) => {
        const given = names.filter((name) => value[name] !== undefined);
        return given.length === 1
            ? undefined
            : `needs exactly one of ${names
                  .map((name) => `\`${name}\``)
                  .join(", ")
                  .replace(/, (?=[^,]*$)/, " and ")}`;
    };
}

/** What the class makes of a Volume. */
const volume = s.object({
    ...volumeArguments,
    name: s.text("a Volume"),
    namespace: s.text("a Volume"),
    uid: s.text("a Volume"),
    node: s.text("a Volume"),
    path: s.optional(s.text()),
});

const mount = s.object(
    {
        bind: s.optional(s.text("an absolute path on the node", absolute)),
        tmpfs: s.optional(
            s.object({ size: s.optional(s.size({ min: 1 })), mode: s.optional(s.text("an octal mode", octal)) }),
        ),
        scratch: s.optional(s.text("a name", scratchName)),
        volume: s.optional(volume),
        subPath: s.optional(s.text("a path below the volume", relative)),
        readOnly: s.optional(s.flag()),
        propagation: s.optional(s.oneOf("private", "rslave", "rshared")),
    },
    (value) =>
        exactlyOne(["bind", "tmpfs", "scratch", "volume"])(value) ??
        (value["subPath"] !== undefined && value["volume"] === undefined
            ? "`subPath` is a path below a `volume`, and there is none"
            : undefined),
);

const onChangeWord = s.oneOf("restart", "none");
const onChangeDeed = s.object(
    {
        signal: s.optional(
            s.text("a signal", (signal) =>
                signalNumber(signal) === undefined ? 'is no signal of Linux, like "SIGHUP"' : undefined,
            ),
        ),
        exec: s.optional(s.list(s.text("a text", noNul))),
    },
    (value) =>
        exactlyOne(["signal", "exec"])(value) ??
        (Array.isArray(value["exec"]) && value["exec"].length === 0 ? "needs a command in `exec`" : undefined),
);
const onChange = v.lazy((value) => (typeof value === "object" && value !== null ? onChangeDeed : onChangeWord));

const file = s.object(
    {
        content: s.optional(s.text()),
        base64: s.optional(
            s.text("bytes in base64", (value) =>
                /^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(value) ? undefined : "is not base64",
            ),
        ),
        mode: s.optional(s.text("an octal mode", octal)),
        uid: s.optional(s.number({ min: 0 })),
        gid: s.optional(s.number({ min: 0 })),
        onChange: s.optional(onChange),
    },
    exactlyOne(["content", "base64"]),
);

/** A file may be given as its content alone. */
const fileOrContent = s.expand(
    (value) => (typeof value === "string" && !isUnknown(value) ? { content: value } : value),
    file,
);

/** The arguments of what runs: of a Container, and of each member of a Pod. */
export const processArguments = {
    image: s.text('an Image or a reference like "nginx:1.27"'),
    imageFrom: s.optional(s.text()),
    entrypoint: s.optional(s.list(s.text("a text", noNul))),
    args: s.optional(s.list(s.text("a text", noNul))),
    env: s.optional(s.map(s.scalar(noNul), envName)),
    files: s.optional(s.map(fileOrContent, absolute)),
    secrets: s.optional(s.map(s.text(), secretName)),
    mounts: s.optional(s.map(mount, absolute)),
    workdir: s.optional(s.text("an absolute path", absolute)),
    user: s.optional(
        s.text("a user", (user) =>
            /^[^:\s]+(?::[^:\s]+)?$/.test(user) ? undefined : 'must be like "www-data", "1000" or "1000:1000"',
        ),
    ),
    tty: s.optional(s.flag()),
    readOnly: s.optional(s.flag()),
    privileged: s.optional(s.flag()),
    capabilities: s.optional(s.object({ add: s.optional(s.capabilities()), drop: s.optional(s.capabilities()) })),
    memory: s.optional(
        s.object({
            limit: s.optional(s.size({ min: LEAST_MEMORY })),
            reservation: s.optional(s.size({ min: LEAST_MEMORY })),
            swap: s.optional(s.size({ special: [-1] })),
        }),
    ),
    cpu: s.optional(
        s.object({
            cpus: s.optional(s.number({ min: 0.01, fraction: true })),
            shares: s.optional(s.number({ min: 2, max: 262144 })),
            cpuset: s.optional(s.text("a list of processors", cpuset)),
        }),
    ),
    pidsLimit: s.optional(s.number({ min: -1 })),
    security: s.optional(
        s.object({ noNewPrivileges: s.optional(s.flag()), seccomp: s.optional(s.oneOf("default", "unconfined")) }),
    ),
    labels: s.optional(s.map(s.scalar(labelValueProblem), labelProblem)),
    log: s.optional(
        s.object({
            driver: s.optional(s.oneOf("file", "none")),
            maxSize: s.optional(s.size({ min: 4096 })),
            maxFiles: s.optional(s.number({ min: 1, max: 1000 })),
        }),
    ),
};

/** Limits, of a process and of a whole Pod. */
export const limitArguments = {
    memory: processArguments.memory,
    cpu: processArguments.cpu,
    pidsLimit: processArguments.pidsLimit,
};

export const containerSchema = s.object({
    ...bookkeeping,
    ...processArguments,
    ...networkArguments,
    name: s.optional(s.text("a name", identifierProblem)),
    generation: s.optional(s.text()),
    snapshotter: s.optional(s.text()),
    runtime: s.optional(s.text()),
});

/** Where output goes, unless said otherwise. */
export const LOG_DEFAULTS = { driver: "file", maxSize: 10 << 20, maxFiles: 3 } as const;

/** Defaults that need nothing but the arguments. */
export function withDefaults(given: Partial<ContainerInputs>): Partial<ContainerInputs> {
    const network = given.network ?? "bridge";
    const log = isUnknown(given.log) ? given.log : { ...LOG_DEFAULTS, ...given.log };
    return { ...given, network, log, ...normalizedPorts(given) };
}

function isTmpfs(volume: VolumeInputs): boolean {
    const source = volumeSource(volume);
    return source.kind === "mount" && source.type === "tmpfs";
}

/** A map, as far as it is known. */
function known<T extends object>(value: T | undefined): T | Record<string, never> {
    return value === undefined || isUnknown(value) ? {} : value;
}

/** What is wrong with arguments that are well by themselves, but not together. */
export function contradictions(given: Partial<ContainerInputs>): Failure[] {
    const failures: Failure[] = [];
    const refuse = (path: unknown[], reason: string) => failures.push({ property: formatPath(path), reason });
    failures.push(...networkContradictions(given));
    const long = labelsProblem(given.labels);
    if (long) refuse(["labels", long.key], long.reason);
    const { limit, swap, reservation } = given.memory ?? {};
    if (typeof swap === "number" && swap !== -1) {
        if (limit === undefined)
            refuse(["memory", "swap"], "needs `memory.limit` beside it: it is memory and swap together");
        else if (typeof limit === "number" && swap < limit)
            refuse(["memory", "swap"], "is less than `memory.limit`: it is memory and swap together");
    }
    if (typeof limit === "number" && typeof reservation === "number" && reservation > limit) {
        refuse(["memory", "reservation"], "is more than `memory.limit`");
    }
    for (const target of Object.keys(known(given.mounts))) {
        if (target === "/") refuse(["mounts", target], "is the root filesystem itself: mount something below it");
        if (target === SECRETS_TARGET && given.secrets) refuse(["mounts", target], "is where `secrets` stand");
    }
    for (const [target, { volume, subPath }] of Object.entries<MountInputs>(known(given.mounts))) {
        if (subPath !== undefined && volume !== undefined && !holdsUnknown(volume) && isTmpfs(volume))
            refuse(["mounts", target, "subPath"], "has no meaning with a volume in memory, which begins empty");
    }
    for (const target of Object.keys(known(given.files))) {
        if (Object.hasOwn(known(given.mounts), target)) refuse(["mounts", target], "is a file of `files` already");
    }
    if (given.privileged === true && given.security?.seccomp === "default") {
        refuse(["security", "seccomp"], "has no effect on a privileged container: leave out one of the two");
    }
    return failures;
}

/** What is wrong with volumes that lie on another node than who mounts them. Pure. */
export function volumesElsewhere({ node, mounts }: Pick<ContainerInputs, "node" | "mounts">): Failure[] {
    return Object.entries<MountInputs>(known(mounts)).flatMap(([target, { volume }]) => {
        if (volume === undefined || isUnknown(volume) || isUnknown(volume.node) || isUnknown(node)) return [];
        if (volume.node === node) return [];
        const property = formatPath(["mounts", target, "volume"]);
        return [{ property, reason: elsewhere(volume.node, node) }];
    });
}

/** A sentence on a volume that lies on another node than who mounts it. */
export function elsewhere(ofVolume: string, node: string): string {
    return `is on node ${ofVolume}, and this goes to node ${node}: a volume is mounted where it is. Put both on one node`;
}
