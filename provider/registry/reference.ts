/**
 * Names of images, as Docker and containerd write them: `nginx`, `registry.example:5000/team/app:1.2@sha256:…`. Pure.
 * The grammar is that of the `distribution/reference` package; short names mean Docker Hub.
 */
import { ContainerdError } from "../errors";
import { digestPattern } from "./oci";

const defaultRegistry = "docker.io";
const defaultTag = "latest";

const label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
const registryPattern = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[a-fA-F0-9:.]+\\])(?::[0-9]{1,5})?$`);
const repositoryPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
/** Registry and repository together, by the grammar. */
const maxNameLength = 255;

/** The full name of an image. Made by {@link parseReference}. */
export class Reference {
    constructor(
        /** Host, with the port if one is given: `docker.io`, `localhost:5000`, `[::1]:5000`. */
        readonly registry: string,
        /** Path in the registry: `library/nginx`. */
        readonly repository: string,
        /** Absent only when there is a digest. */
        readonly tag: string | undefined,
        /** `sha256:…` */
        readonly digest: string | undefined,
    ) {}

    /** Without tag and digest: `docker.io/library/nginx`. */
    get name(): string {
        return `${this.registry}/${this.repository}`;
    }

    /** Canonical: `docker.io/library/nginx:1.27`, with the digest where there is one. {@link parseReference} reads it back. */
    toString(): string {
        return this.name + (this.tag ? `:${this.tag}` : "") + (this.digest ? `@${this.digest}` : "");
    }

    /** With this digest in place of its own, keeping the tag for who reads it: `docker.io/library/nginx:1.27@sha256:…`. */
    pinned(digest: string): string {
        return new Reference(this.registry, this.repository, this.tag, digest).toString();
    }
}

/**
 * Parses the name of an image. Without a registry it is Docker Hub's, without a tag and a digest it is `latest`.
 * Throws `Invalid` with a sentence.
 *
 * @example
 * parseReference("nginx").toString(); // "docker.io/library/nginx:latest"
 */
export function parseReference(text: string): Reference {
    if (text === "") throw new ContainerdError("Invalid", 'an image has a name, like "nginx:1.27"; this one is empty');
    if (text !== text.trim() || /\s/.test(text)) throw invalid(text, "there is a space in it");
    const scheme = /^([a-z][a-z+.-]*):\/\//i.exec(text);
    if (scheme) throw invalid(text, `leave out "${scheme[0]}"`);

    const [beforeDigest, digest, ...rest] = text.split("@") as [string, ...string[]];
    if (rest.length > 0) throw invalid(text, 'there is more than one "@" in it');
    if (digest !== undefined && !digestPattern.test(digest))
        throw invalid(text, 'after "@" a digest is expected: sha256:, then 64 hex digits in lower case');

    // A colon after the last slash begins the tag; one before it begins a port.
    const colon = beforeDigest.indexOf(":", beforeDigest.lastIndexOf("/") + 1);
    const path = colon < 0 ? beforeDigest : beforeDigest.slice(0, colon);
    const tag = colon < 0 ? undefined : beforeDigest.slice(colon + 1);
    if (tag !== undefined && !tagPattern.test(tag))
        throw invalid(text, `"${tag}" is no tag: at most 128 letters, digits and _.-, not beginning with . or -`);

    const { registry, repository } = splitName(path);
    if (!registryPattern.test(registry)) throw invalid(text, `"${registry}" is no registry: a host, or host:port`);
    if (repository === "") throw invalid(text, "it names no repository");
    if (/[A-Z]/.test(repository))
        throw invalid(text, `the repository must be in lower case: "${repository.toLowerCase()}"`);
    if (!repositoryPattern.test(repository))
        throw invalid(text, `"${repository}" is no repository: lower-case letters and digits, separated by . _ - or /`);
    if (/^[a-f0-9]{64}$/.test(path))
        throw invalid(text, "64 hex digits alone are an image id, not a name: write name@sha256:…");
    if (registry.length + 1 + repository.length > maxNameLength)
        throw invalid(text, `registry and repository have more than ${maxNameLength} characters`);
    return new Reference(registry, repository, tag ?? (digest ? undefined : defaultTag), digest);
}

/** The first part is a registry if it looks like a host: has a dot, a colon, an upper-case letter, or is `localhost`. */
function splitName(path: string): { registry: string; repository: string } {
    const slash = path.indexOf("/");
    const first = slash < 0 ? "" : path.slice(0, slash);
    const isHost = /[.:A-Z]/.test(first) || first === "localhost";
    if (!isHost) return hub(path);
    if (first === defaultRegistry || first === "index.docker.io") return hub(path.slice(slash + 1));
    return { registry: first, repository: path.slice(slash + 1) };
}

function hub(repository: string): { registry: string; repository: string } {
    const official = repository !== "" && !repository.includes("/");
    return { registry: defaultRegistry, repository: official ? `library/${repository}` : repository };
}

function invalid(text: string, why: string): ContainerdError {
    return new ContainerdError("Invalid", `"${text}" is no name of an image: ${why}`);
}
