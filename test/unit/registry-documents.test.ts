/** The documents of an image, the config of registries, login challenges, and checked streams: the pure parts. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { hasCode, type ErrorCode } from "../../provider/errors";
import { parseChallenges } from "../../provider/registry/auth";
import { endpointsOf, isLoopback, parseRegistries } from "../../provider/registry/config";
import * as oci from "../../provider/registry/oci";
import { verified } from "../../provider/registry/verify";

const digest = oci.digestOf(Buffer.from("x"));
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

function fails(code: ErrorCode, message: RegExp): (error: unknown) => boolean {
    return (error) => {
        assert.ok(hasCode(error, code), String(error));
        assert.match(error.message, message);
        return true;
    };
}

describe("an image's documents", () => {
    const layer = { mediaType: oci.MediaType.ociLayerGzip, digest, size: 1 };
    const manifest = {
        schemaVersion: 2,
        config: { mediaType: oci.MediaType.ociConfig, digest, size: 2 },
        layers: [layer],
    };

    it("are parsed", () => {
        assert.deepEqual(oci.parseManifest(json(manifest), "app"), manifest);
        assert.equal(oci.parseIndex(json({ schemaVersion: 2, manifests: [layer] }), "app").manifests.length, 1);
        const config = { os: "linux", architecture: "amd64", rootfs: { type: "layers", diff_ids: [digest] } };
        assert.deepEqual(oci.parseConfig(json(config), "app"), config);
    });

    const broken: [what: string, parse: () => unknown, message: RegExp][] = [
        ["no JSON", () => oci.parseManifest(Buffer.from("<html>"), "app"), /manifest of app is no JSON/],
        ["no object", () => oci.parseManifest(json([]), "app"), /no JSON object/],
        ["no config", () => oci.parseManifest(json({ layers: [] }), "app"), /the config in the manifest of app/],
        ["no layers", () => oci.parseManifest(json({ ...manifest, layers: 1 }), "app"), /no list of layers/],
        [
            "a negative size",
            () => oci.parseManifest(json({ ...manifest, layers: [{ ...layer, size: -1 }] }), "app"),
            /layer 0 .* size/,
        ],
        [
            "a digest that is a path",
            () => oci.parseIndex(json({ manifests: [{ ...layer, digest: "sha256:../../x" }] }), "app"),
            /manifest 0 in the index of app is broken: it has no digest/,
        ],
        ["a config without layers", () => oci.parseConfig(json({ os: "linux" }), "app"), /diff_ids/],
    ];
    for (const [what, parse, message] of broken)
        it(`are refused with ${what}`, () => assert.throws(parse, fails("Failed", message)));

    it("have one media type", () => {
        const index = { schemaVersion: 2, manifests: [] };
        assert.equal(oci.mediaTypeOf(json(manifest), undefined, "app"), oci.MediaType.ociManifest);
        assert.equal(oci.mediaTypeOf(json(index), "text/plain", "app"), oci.MediaType.ociIndex);
        assert.equal(
            oci.mediaTypeOf(json(manifest), oci.MediaType.dockerManifest, "app"),
            oci.MediaType.dockerManifest,
        );
        assert.throws(
            () => oci.mediaTypeOf(json({ ...manifest, ...index }), undefined, "app"),
            fails("Failed", /at once/),
        );
        assert.throws(
            () => oci.mediaTypeOf(json(manifest), oci.MediaType.ociIndex, "app"),
            fails("Failed", /not what/),
        );
        assert.throws(
            () => oci.mediaTypeOf(json({ schemaVersion: 1, fsLayers: [] }), "text/plain", "app"),
            fails("Unsupported", /no container image/),
        );
    });

    it("are told apart by media type", () => {
        for (const type of [oci.MediaType.ociIndex, oci.MediaType.dockerIndex])
            assert.deepEqual([oci.isIndex(type), oci.isManifest(type)], [true, false]);
        for (const type of [oci.MediaType.ociManifest, oci.MediaType.dockerManifest])
            assert.deepEqual([oci.isIndex(type), oci.isManifest(type)], [false, true]);
        for (const type of ["ociLayer", "ociLayerGzip", "ociLayerZstd", "dockerLayer", "dockerForeignLayer"] as const)
            assert.ok(oci.isLayer(oci.MediaType[type]), type);
        assert.equal(oci.isLayer(oci.MediaType.ociConfig), false);
    });
});

describe("verified", () => {
    const content = Buffer.from("0123456789");
    const good = { digest: oci.digestOf(content), size: content.length };
    async function* chunks(...parts: string[]): AsyncGenerator<Uint8Array> {
        for (const part of parts) yield Buffer.from(part);
    }
    async function read(stream: AsyncIterable<Uint8Array>): Promise<string> {
        const parts: Uint8Array[] = [];
        for await (const part of stream) parts.push(part);
        return Buffer.concat(parts).toString();
    }

    it("passes on what is right", async () => {
        assert.equal(await read(verified(good, chunks("01234", "56789"))), "0123456789");
        const sha512 = `sha512:${createHash("sha512").update(content).digest("hex")}`;
        assert.equal(await read(verified({ ...good, digest: sha512 }, chunks("0123456789"))), "0123456789");
        assert.equal(await read(verified({ digest: oci.digestOf(Buffer.alloc(0)), size: 0 }, chunks())), "");
    });
    it("goes on from an offset, by size alone", async () => {
        assert.equal(await read(verified(good, chunks("56789"), 5)), "56789");
        await assert.rejects(read(verified(good, chunks("5678"), 5)), fails("Failed", /has 9 bytes.* says 10/));
    });
    it("refuses other bytes, with both digests", () =>
        assert.rejects(
            read(verified(good, chunks("012345678X"))),
            fails("Failed", new RegExp(`${good.digest}.*${oci.digestOf(Buffer.from("012345678X"))}`)),
        ));
    it("refuses too few", () => assert.rejects(read(verified(good, chunks("0123"))), fails("Failed", /4 bytes/)));
    it("refuses too many before giving them on", async () => {
        const seen: string[] = [];
        await assert.rejects(
            async () => {
                for await (const part of verified(good, chunks("0123456789", "X")))
                    seen.push(Buffer.from(part).toString());
            },
            fails("Failed", /more than the 10 bytes/),
        );
        assert.deepEqual(seen, ["0123456789"]);
    });
});

describe("the config of registries", () => {
    it("gives the mirrors first, then the registry", () => {
        const registries = parseRegistries({
            "docker.io": { mirrors: ["mirror.example:5000", "http://10.0.0.1", "https://proxy.example/v2/hub/"] },
        });
        assert.deepEqual(endpointsOf("docker.io", registries), [
            { host: "mirror.example:5000", prefix: "", mirrorOf: "docker.io" },
            { host: "10.0.0.1", scheme: "http", prefix: "", mirrorOf: "docker.io" },
            { host: "proxy.example", scheme: "https", prefix: "hub/", mirrorOf: "docker.io" },
            { host: "docker.io", prefix: "" },
        ]);
        assert.deepEqual(endpointsOf("other.example", registries), [{ host: "other.example", prefix: "" }]);
    });

    const refused: [value: unknown, message: RegExp][] = [
        [
            { "docker.io": { mirror: [] } },
            /config containerd:registries\["docker.io"\]\["mirror"\]: there is no such option/,
        ],
        [{ "docker.io": { mirrors: [3] } }, /\["docker.io"\]\["mirrors"\]\[0\]: string is expected/],
        [{ "docker.io": { mirrors: ["ftp://x"] } }, /\["docker.io"\].mirrors\[0\]: a mirror is/],
        [{ "docker.io": { mirrors: ["https://user:hunter2@x"] } }, /^(?!.*hunter2).*a mirror is/],
        [{ "https://docker.io": {} }, /a registry is a host/],
        [{ "docker.io": { password: "hunter2" } }, /^(?!.*hunter2).*username and password go together/],
        [{ "docker.io": { username: "a", password: 12345 } }, /^(?!.*12345).*string is expected/],
        ["docker.io", /is expected/],
    ];
    for (const [value, message] of refused)
        it(`refuses ${JSON.stringify(value)}`, () =>
            assert.throws(() => parseRegistries(value), fails("Invalid", message)));

    it("knows loopback", () => {
        for (const host of ["localhost", "localhost:5000", "127.0.0.1:1", "127.9.9.9", "[::1]:5000", "a.localhost"])
            assert.ok(isLoopback(host), host);
        for (const host of ["10.0.0.1", "registry.example", "127.0.0.1.example:80", "localhost.example", "[fd00::1]:5"])
            assert.equal(isLoopback(host), false, host);
    });
});

describe("login challenges", () => {
    const table: [header: string, expected: unknown][] = [
        ["", []],
        ['Basic realm="x"', [{ scheme: "basic", parameters: { realm: "x" } }]],
        [
            'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"',
            [
                {
                    scheme: "bearer",
                    parameters: {
                        realm: "https://auth.example/token",
                        service: "registry.example",
                        scope: "repository:a/b:pull,push",
                    },
                },
            ],
        ],
        [
            'Basic realm="a \\"b\\"", Bearer Realm = "c", error=invalid_token',
            [
                { scheme: "basic", parameters: { realm: 'a "b"' } },
                { scheme: "bearer", parameters: { realm: "c", error: "invalid_token" } },
            ],
        ],
        ["realm=x", []],
    ];
    for (const [header, expected] of table)
        it(`reads ${header || "nothing"}`, () => assert.deepEqual(parseChallenges(header), expected));
});
