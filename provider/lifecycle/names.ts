/** Names and ids of what we make on a node. Pure, but for the randomness that is passed in. */
import { randomBytes } from "node:crypto";
import { ContainerdError } from "../errors";

/** What containerd takes as an id: of a container, of a namespace. */
const IDENTIFIER = /^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$/;
const LONGEST = 76;
const SUFFIX = 7;

/** Why containerd would refuse an identifier; undefined when it would not. */
export function identifierProblem(text: string): string | undefined {
    if (text.length > LONGEST) return `must be at most ${LONGEST} characters long, and has ${text.length}`;
    if (!IDENTIFIER.test(text)) {
        return "may hold letters, digits, and single '.', '_' or '-' between them, as containerd has it";
    }
    return undefined;
}

/** The resource's own name: the last part of its URN. */
export function nameOfUrn(urn: string): string {
    return urn.slice(urn.lastIndexOf("::") + 2);
}

function stem(urn: string, room = 0): string {
    const plain = nameOfUrn(urn)
        .replace(/[^A-Za-z0-9]+/g, "-")
        .replace(/^-+|-+$/g, "");
    return (plain || "container").slice(0, LONGEST - SUFFIX - 1 - room).replace(/-+$/, "");
}

/**
 * A new name for a resource: its own and a random suffix, so that a replacement can stand beside it. `room`: how many characters
 * are to be left for what stands behind it.
 */
export function automaticName(urn: string, random = randomBytes(4).toString("hex"), room = 0): string {
    return `${stem(urn, room)}-${random.slice(0, SUFFIX)}`;
}

/**
 * Whether a name could come from {@link automaticName}: then nobody chose it, and it may change. By its end alone, since the
 * resource may have been called otherwise when it got it; with `owners`, only one that one of these would have got.
 */
export function isAutomaticName(name: string, owners?: readonly string[]): boolean {
    if (!new RegExp(`-[0-9a-f]{${SUFFIX}}$`).test(name)) return false;
    return owners?.some((urn) => stem(urn) === name.slice(0, -SUFFIX - 1)) ?? true;
}

/**
 * An object's own name, if one is given; else the automatic one that it has (also when the resource was renamed, by an alias), else
 * a new one. One that was given and is no longer is given up: as Pulumi's own providers have it, that is a replacement.
 *
 * @param room as in {@link automaticName}
 */
export function nameFor(given: { name?: string; owner: string }, olds: { name: string } | undefined, room = 0): string {
    const kept = olds && isAutomaticName(olds.name) ? olds.name : undefined;
    return given.name ?? kept ?? automaticName(given.owner, undefined, room);
}

/** A mark that no two objects share, so that one id never means two of them, even under one fixed name. */
export function newUid(): string {
    return randomBytes(6).toString("hex");
}

/** What a resource's Pulumi id says: which object, in which of containerd's namespaces. */
export interface ObjectId {
    namespace: string;
    /** containerd's id; of an image, its reference. */
    name: string;
    uid: string;
}

/** The Pulumi id of an object: `namespace/name/uid`. */
export function formatId({ namespace, name, uid }: ObjectId): string {
    return `${namespace}/${name}/${uid}`;
}

/** Takes a Pulumi id apart. Throws `Invalid` for what is none. */
export function parseId(id: string): ObjectId {
    const match = /^([^/]+)\/(.+)\/([^/]+)$/.exec(id);
    if (!match) throw new ContainerdError("Invalid", `${id} is not an id of this package: namespace/name/uid is`);
    return { namespace: match[1]!, name: match[2]!, uid: match[3]! };
}
