/** Which image of an index fits a machine, as containerd decides it. */
import assert from "node:assert/strict";
import { hasCode } from "../../provider/errors";
import type { Descriptor, Index } from "../../provider/registry/oci";
import { choosePlatform, formatPlatform, parsePlatform, platformsOf, runsOn } from "../../provider/registry/platform";

/** An index whose manifests have these platforms; "" has none. */
function indexOf(...platforms: string[]): Index {
    const manifests = platforms.map((text, i): Descriptor => {
        const [os = "", architecture = "", variant] = text.split("/");
        const platform = text === "" ? undefined : { os, architecture, variant };
        return { mediaType: "", digest: `sha256:${String(i).padStart(64, "0")}`, size: 1, platform };
    });
    return { schemaVersion: 2, manifests };
}

describe("platforms", () => {
    const normalized: Record<string, string> = {
        "linux/x86_64": "linux/amd64",
        "Linux/AMD64": "linux/amd64",
        "linux/amd64/v1": "linux/amd64",
        "linux/amd64/v2": "linux/amd64/v2",
        "linux/aarch64": "linux/arm64",
        "linux/arm64/v8": "linux/arm64",
        "linux/arm64/8": "linux/arm64",
        "linux/arm": "linux/arm/v7",
        "linux/armhf": "linux/arm/v7",
        "linux/armel": "linux/arm/v6",
        "linux/arm/6": "linux/arm/v6",
        "linux/i686": "linux/386",
        "linux/riscv64": "linux/riscv64",
    };
    for (const [text, expected] of Object.entries(normalized))
        it(`${text} is ${expected}`, () => assert.equal(formatPlatform(parsePlatform(text)), expected));

    for (const text of ["", "linux", "linux/", "linux/arm/v7/x", "linux/a b"])
        it(`refuses "${text}"`, () =>
            assert.throws(
                () => parsePlatform(text),
                (error) => hasCode(error, "Invalid"),
            ));

    const chosen: [machine: string, index: string[], expected: number][] = [
        ["linux/amd64", ["linux/arm64", "linux/amd64"], 1],
        ["linux/x86_64", ["linux/amd64"], 0],
        ["linux/amd64", ["linux/386", "linux/amd64"], 1],
        ["linux/amd64", ["linux/arm64", "linux/386"], 1],
        ["linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], 1],
        ["linux/arm64/v8", ["linux/arm/v7", "linux/arm64"], 1],
        ["linux/arm64", ["linux/arm64/v8"], 0],
        ["linux/arm64", ["linux/arm/v6", "linux/arm/v7"], 1],
        ["linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1],
        ["linux/arm/v7", ["linux/arm/v5"], 0],
        ["linux/arm", ["linux/arm/v6", "linux/arm"], 1],
        ["linux/amd64", ["unknown/unknown", "linux/amd64", "unknown/unknown"], 1],
        ["linux/amd64", ["windows/amd64", ""], 1],
    ];
    for (const [machine, index, expected] of chosen)
        it(`${machine} takes number ${expected} of ${index.join(", ")}`, () => {
            const list = indexOf(...index);
            assert.equal(choosePlatform(list, machine, "x"), list.manifests[expected]);
        });

    it("takes the first of equals", () => {
        const list = indexOf("linux/amd64", "linux/amd64");
        assert.equal(choosePlatform(list, "linux/amd64", "x"), list.manifests[0]);
    });

    it("says which platforms there are", () => {
        const list = indexOf("linux/arm/v7", "linux/arm64/v8", "unknown/unknown", "linux/arm64");
        assert.deepEqual(platformsOf(list), ["linux/arm/v7", "linux/arm64"]);
        assert.throws(
            () => choosePlatform(list, "linux/riscv64", "app:1"),
            (error) =>
                hasCode(error, "Unsupported") &&
                error.message === "app:1 has no image for linux/riscv64; there are linux/arm/v7, linux/arm64",
        );
        for (const machine of ["linux/arm/v6", "linux/amd64", "windows/arm64"])
            assert.throws(() => choosePlatform(list, machine, "app:1"), machine);
    });

    it("compares an image's config with a machine", () => {
        const machine = parsePlatform("linux/arm/v7");
        assert.equal(runsOn({ os: "linux", architecture: "arm", variant: "v6" }, machine), true);
        assert.equal(runsOn({ os: "linux", architecture: "arm", variant: "v8" }, machine), false);
        assert.equal(runsOn({ os: "linux", architecture: "amd64" }, machine), false);
    });
});
