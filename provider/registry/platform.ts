/**
 * Which image of an index fits a machine. Pure. The rules are those of containerd's `platforms` package (version 2):
 * names are normalized, and a machine also takes what it can run besides its own kind, its own kind first.
 */
import { ContainerdError } from "../errors";
import type { Descriptor, Index, Platform } from "./oci";

const architectures: Record<string, [architecture: string, variant: string]> = {
    x86_64: ["amd64", ""],
    "x86-64": ["amd64", ""],
    i386: ["386", ""],
    i486: ["386", ""],
    i586: ["386", ""],
    i686: ["386", ""],
    aarch64: ["arm64", ""],
    armhf: ["arm", "v7"],
    armel: ["arm", "v6"],
    armv7l: ["arm", "v7"],
    armv6l: ["arm", "v6"],
};

/** The variant that is meant where none is written, and so is left out. */
const impliedVariant: Record<string, string> = { amd64: "v1", arm64: "v8" };

/** Parses `linux/amd64`, `linux/arm/v7`. Throws `Invalid`. The result is normalized. */
export function parsePlatform(text: string): Platform {
    const parts = text.split("/");
    if (parts.length < 2 || parts.length > 3 || !parts.every((part) => /^[A-Za-z0-9_.-]+$/.test(part)))
        throw new ContainerdError(
            "Invalid",
            `"${text}" is no platform: os/architecture is expected, like "linux/arm64"`,
        );
    const [os, architecture, variant] = parts as [string, string, string?];
    return normalizePlatform({ os, architecture, variant });
}

/** `linux/amd64`, `linux/arm/v7`: normalized, so that equal platforms give equal texts. */
export function formatPlatform(platform: Platform): string {
    const { os, architecture, variant } = normalizePlatform(platform);
    return [os, architecture, variant].filter(Boolean).join("/");
}

/** Go's names: `x86_64` becomes `amd64`, `aarch64` and `arm64/v8` become `arm64`, `arm` becomes `arm/v7`. */
export function normalizePlatform(platform: Platform): Platform {
    const os = platform.os.toLowerCase();
    const given = platform.architecture.toLowerCase();
    const [architecture, implied] = architectures[given] ?? [given, ""];
    let variant = (platform.variant ?? "").toLowerCase() || implied;
    if (/^[0-9]/.test(variant)) variant = `v${variant}`;
    if (architecture === "arm" && variant === "") variant = "v7";
    if (variant === impliedVariant[architecture]) variant = "";
    return { ...platform, os: os === "macos" ? "darwin" : os, architecture, variant: variant || undefined };
}

/** Whether a machine of platform `machine` runs images of platform `image`. */
export function runsOn(image: Platform, machine: Platform): boolean {
    return accepted(machine).includes(formatPlatform(image));
}

/**
 * The manifest of an index that fits best. Throws `Unsupported` with the platforms that there are.
 *
 * @param platform what the machine is, like `linux/amd64`
 * @param name the image, for the message
 */
export function choosePlatform(index: Index, platform: string, name: string): Descriptor {
    const candidates = index.manifests.filter((manifest) => !isAttestation(manifest));
    for (const text of accepted(parsePlatform(platform))) {
        const match = candidates.find((manifest) => manifest.platform && formatPlatform(manifest.platform) === text);
        if (match) return match;
    }
    // An index may leave the platform to the image's config; the caller compares that with `runsOn`.
    const unnamed = candidates.find((manifest) => !manifest.platform);
    if (unnamed) return unnamed;
    const there = platformsOf(index);
    throw new ContainerdError(
        "Unsupported",
        `${name} has no image for ${formatPlatform(parsePlatform(platform))}; ` +
            (there.length ? `there are ${there.join(", ")}` : "its index is empty"),
    );
}

/** The platforms of an index, without attestations, sorted, each once. */
export function platformsOf(index: Index): string[] {
    const named = index.manifests.filter((manifest) => !isAttestation(manifest));
    return [...new Set(named.flatMap(({ platform }) => (platform ? [formatPlatform(platform)] : [])))].sort();
}

/** What BuildKit puts beside the images (provenance, SBOM) stands in the index as `unknown/unknown`. */
function isAttestation({ platform, annotations }: Descriptor): boolean {
    return (
        (platform?.os === "unknown" && platform.architecture === "unknown") ||
        annotations?.["vnd.docker.reference.type"] === "attestation-manifest"
    );
}

/** What a machine runs, best first. */
function accepted(machine: Platform): string[] {
    const { os, architecture, variant } = normalizePlatform(machine);
    const version = Number((variant ?? "").replace(/^v/, "")) || 0;
    const form = (architecture: string, variant?: string): string => formatPlatform({ os, architecture, variant });
    const own = form(architecture, variant);
    switch (architecture) {
        case "amd64":
            return [own, ...downFrom(version, 1).map((v) => form("amd64", v)), form("386")];
        case "arm":
            return [own, ...downFrom(version, 5).map((v) => form("arm", v))];
        case "arm64":
            // An arm64 processor of any version counts as arm v8; later versions run plain arm64, too.
            return [
                own,
                ...(variant ? [form("arm64")] : []),
                form("arm", "v8"),
                ...downFrom(8, 5).map((v) => form("arm", v)),
            ];
        default:
            return [own];
    }
}

/** The versions below `version`, down to `lowest`: `v3` for 4 and 3. */
function downFrom(version: number, lowest: number): string[] {
    return Array.from({ length: Math.max(0, version - lowest) }, (_, i) => `v${version - 1 - i}`);
}
