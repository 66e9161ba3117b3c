/** The registry client against servers that break off, lie, redirect, are busy, or have a wrong certificate. */
import assert from "node:assert/strict";
import type { Layout } from "../../playground/layout";
import { freePort, startRegistry, type Registry } from "../../playground/registry";
import { RegistryClient, type RegistryOptions } from "../../provider/registry/client";
import { digestOf, MediaType, type Descriptor } from "../../provider/registry/oci";
import { parseReference, type Reference } from "../../provider/registry/reference";
import { registrySource } from "../../provider/registry/source";
import { verified } from "../../provider/registry/verify";
import { startFront, type Front, type FrontOptions } from "../helpers/front";
import { bytesOf, failsWith, readWhole, smallImage, temporary } from "../helpers/image";
import { selfSigned } from "../helpers/token-registry";

describe("registry client and faults", () => {
    let work: Awaited<ReturnType<typeof temporary>>;
    let image: Layout;
    let registry: Registry;
    let layer: Descriptor;
    let content: Buffer;
    let options: RegistryOptions;
    const fronts: Front[] = [];

    /** A front before the registry, and the image's name through it. */
    async function front(given: FrontOptions): Promise<{ front: Front; reference: Reference }> {
        const one = await startFront({ target: registry.address, ...given });
        fronts.push(one);
        return { front: one, reference: parseReference(`${one.address}/team/app:1`) };
    }
    const isBlob = (url: string): boolean => url.includes(`/blobs/${layer.digest}`);

    before(async () => {
        work = await temporary();
        options = { docker: { folder: work.folder }, limits: { connect: 2_000, idle: 1_000, retries: 2 } };
        image = await smallImage(work.folder, ["amd64"], 3_000_000);
        registry = await startRegistry();
        const source = registrySource(await registry.push(image, "team/app:1"), options);
        [layer] = (await readWhole(source)).layers as [Descriptor];
        content = await bytesOf(source.blob(layer, 0));
        await source.close();
    });
    afterEach(async () => {
        for (const one of fronts.splice(0)) await one.close();
    });
    after(async () => {
        await registry.stop();
        await work.remove();
    });

    async function read(reference: Reference, more: RegistryOptions = {}): Promise<Buffer> {
        const source = registrySource(reference, { ...options, ...more });
        try {
            return await bytesOf(verified(layer, source.blob(layer, 0)));
        } finally {
            await source.close();
        }
    }
    async function resolve(reference: Reference, more: RegistryOptions = {}): Promise<Descriptor> {
        const client = new RegistryClient({ ...options, ...more });
        try {
            return await client.resolve(reference);
        } finally {
            await client.close();
        }
    }

    it("goes on where a connection broke off", async () => {
        let cuts = 0;
        const { front: one, reference } = await front({
            intercept: async ({ url, headers }, response) => {
                if (!isBlob(url) || ++cuts > 2) return false;
                const from = Number(/\d+/.exec(headers.range ?? "")?.[0] ?? 0);
                const part = content.subarray(from, from + 1_000_000);
                const range = { "content-range": `bytes ${from}-${content.length - 1}/${content.length}` };
                response.writeHead(from ? 206 : 200, {
                    "content-length": content.length - from,
                    ...(from ? range : {}),
                });
                await new Promise<void>((resolve) => response.write(part, () => resolve()));
                response.destroy();
                return true;
            },
        });
        assert.deepEqual(await read(reference), content);
        const ranges = one.seen.filter(({ url }) => isBlob(url)).map(({ headers }) => headers.range);
        assert.equal(ranges.length, 3);
        assert.equal(ranges[0], undefined);
        assert.match(ranges[1]!, /^bytes=[1-9]\d*-$/);
    });

    it("goes on at a server that ignores Range, and refuses one that sends another part", async () => {
        const ignoring = await front({
            intercept: ({ url }, response) => isBlob(url) && (response.end(content), true),
        });
        const client = new RegistryClient(options);
        const rest = await bytesOf(client.blob(ignoring.reference, layer.digest, 2_000_000, layer.size));
        assert.deepEqual(rest, content.subarray(2_000_000));
        const wrong = await front({
            intercept: ({ url }, response) =>
                isBlob(url) && (response.writeHead(206, { "content-range": "bytes 7-9/10" }).end("xyz"), true),
        });
        await assert.rejects(
            bytesOf(client.blob(wrong.reference, layer.digest, 2_000_000, layer.size)),
            failsWith("Failed", /sent another part/),
        );
        await client.close();
    });

    it("gives up a server that falls silent in the middle", async () => {
        const { reference } = await front({
            intercept: ({ url }, response) => isBlob(url) && (response.write(content.subarray(0, 10)), true),
        });
        await assert.rejects(
            read(reference, { limits: { idle: 200, retries: 0 } }),
            failsWith("Unreachable", /stopped in the middle/),
        );
    });

    it("refuses other bytes than the digest's, with both digests", async () => {
        const other = Buffer.from(content);
        other[5]! ^= 1;
        const { reference } = await front({
            intercept: ({ url }, response) => isBlob(url) && (response.end(other), true),
        });
        await assert.rejects(
            read(reference),
            failsWith("Failed", new RegExp(`${layer.digest}, got ${digestOf(other)}`)),
        );
    });

    it("refuses a manifest that is not its digest's, and one too large", async () => {
        const lying = await front({ intercept: (_, response) => (response.end('{"schemaVersion":2}'), true) });
        await assert.rejects(
            resolve(parseReference(lying.reference.pinned(image.digest))),
            failsWith("Failed", new RegExp(`expected ${image.digest}, got sha256:`)),
        );
        const large = await front({ intercept: (_, response) => (response.end(Buffer.alloc(5 << 20, " ")), true) });
        await assert.rejects(resolve(large.reference), failsWith("Failed", /more than 4194304 bytes/));
    });

    it("asks by GET where HEAD is not allowed", async () => {
        const { reference } = await front({
            intercept: ({ method }, response) => method === "HEAD" && (response.writeHead(405).end(), true),
        });
        assert.deepEqual((await resolve(reference)).digest, image.digest);
    });

    it("waits as Retry-After says, and not longer than allowed", async () => {
        let busy = 1;
        const { front: one, reference } = await front({
            intercept: (_, response) => busy-- > 0 && (response.writeHead(429, { "retry-after": "1" }).end(), true),
        });
        const began = Date.now();
        assert.equal((await resolve(reference)).digest, image.digest);
        // A lower bound can't fail by a slow machine.
        assert.ok(Date.now() - began >= 1000);
        assert.equal(one.seen.length, 2);
        const long = await front({
            intercept: (_, response) => (response.writeHead(429, { "retry-after": "86400" }).end(), true),
        });
        await assert.rejects(resolve(long.reference), failsWith("Unreachable", /too many requests/));
        assert.equal(long.front.seen.length, 1);
    });

    it("tries again after 5xx, and gives up in the end with what the server said", async () => {
        const { front: one, reference } = await front({
            intercept: (_, response) => (
                response.writeHead(503).end('{"errors":[{"code":"UNAVAILABLE","message":"back\\u001b[1m soon"}]}'),
                true
            ),
        });
        // HEAD has no body; what was said comes with GET, which a blob is asked by.
        await assert.rejects(
            read(reference),
            failsWith("Unreachable", /HTTP status 503: UNAVAILABLE back \[1m soon; try again later/),
        );
        assert.equal(one.seen.length, 3);
    });

    it("never sends the login on to another host", async () => {
        const storage = await front({ intercept: (_, response) => (response.end(content), true) });
        const { front: one, reference } = await front({
            intercept: ({ url, headers }, response) => {
                if (!headers.authorization) response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
                else if (url.startsWith("/moved/"))
                    response.writeHead(307, { location: `http://${storage.front.address}/blob?signature=s` }).end();
                else response.writeHead(302, { location: `/moved${url}` }).end();
                return true;
            },
        });
        const registries = { [one.address]: { username: "alice", password: "wonderland" } };
        assert.deepEqual(await read(reference, { registries }), content);
        assert.equal(storage.front.seen.length, 1);
        assert.equal(storage.front.seen[0]!.headers.authorization, undefined);
        // At its own host it was sent on.
        assert.match(one.seen.at(-1)!.headers.authorization ?? "", /^Basic /);
    });

    it("does not log in where a redirect leads", async () => {
        const thief = await front({
            intercept: (_, response) => (
                response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end(),
                true
            ),
        });
        const { front: one, reference } = await front({
            intercept: (_, response) => (
                response.writeHead(307, { location: `http://${thief.front.address}/x` }).end(),
                true
            ),
        });
        const registries = { [one.address]: { username: "alice", password: "wonderland" } };
        await assert.rejects(read(reference, { registries }), failsWith("Unauthorized", /answered 401/));
        assert.deepEqual(
            [...one.seen, ...thief.front.seen].map(({ headers }) => headers.authorization).filter(Boolean),
            [],
        );
    });

    it("ends in a circle of redirects, and refuses what is no HTTP", async () => {
        const circle = await front({
            intercept: ({ url }, response) => (response.writeHead(302, { location: url }).end(), true),
        });
        await assert.rejects(read(circle.reference), failsWith("Failed", /redirects more than 5 times/));
        const file = await front({
            intercept: (_, response) => (response.writeHead(302, { location: "file:///etc/passwd" }).end(), true),
        });
        await assert.rejects(read(file.reference), failsWith("Failed", /no HTTP address/));
    });

    it("wants a certificate that it can trust", async () => {
        const tls = await selfSigned(work.folder);
        const { front: one, reference } = await front({ tls });
        await assert.rejects(
            resolve(reference),
            failsWith("Unreachable", /certificate is not to be trusted \(\w+\).*ca for/),
        );
        assert.equal(one.seen.length, 0);
        const digest = (await resolve(reference, { registries: { [one.address]: { ca: tls.cert } } })).digest;
        assert.equal(digest, image.digest);
        await resolve(reference, { registries: { [one.address]: { insecure: true } } });
    });

    it("refuses to be redirected from HTTPS to plain HTTP elsewhere", async () => {
        const tls = await selfSigned(work.folder);
        const { front: one, reference } = await front({
            tls,
            intercept: (_, response) => (
                response.writeHead(302, { location: "http://registry.invalid/x" }).end(),
                true
            ),
        });
        await assert.rejects(
            read(reference, { registries: { [one.address]: { ca: tls.cert } } }),
            failsWith("Failed", /from HTTPS to plain HTTP at registry\.invalid; refused/),
        );
    });

    it("asks mirrors in their order, without the registry's login, then the registry", async () => {
        const empty = await front({ target: undefined });
        const mirror = await front({});
        const dead = `127.0.0.1:${await freePort()}`;
        const mirrors = [dead, empty.front.address, `http://${mirror.front.address}`];
        const registries = { "registry.invalid": { mirrors, username: "alice", password: "wonderland" } };
        const more = { registries, limits: { retries: 0 } };
        const reference = parseReference("registry.invalid/team/app:1");
        assert.equal((await resolve(reference, more)).digest, image.digest);
        assert.deepEqual(await read(reference, more), content);
        assert.ok(empty.front.seen.length > 0);
        for (const { url, headers } of [...mirror.front.seen, ...empty.front.seen]) {
            assert.equal(headers.authorization, undefined);
            if (url !== "/v2/") assert.match(url, /\?ns=registry\.invalid$/);
        }
        await assert.rejects(
            resolve(parseReference("registry.invalid/team/other"), more),
            failsWith(
                "Unreachable",
                /^registry\.invalid: .*Before it: .*refuses the connection.*no such tag or repository at the mirror/,
            ),
        );
    });

    it("goes on with the registry where a mirror breaks off or lies", async () => {
        const { front: mirror } = await front({
            intercept: async ({ url, method }, response) => {
                if (url.includes("/manifests/") && method === "GET") return (response.end('{"schemaVersion":2}'), true);
                if (!isBlob(url)) return false;
                response.writeHead(200, { "content-length": content.length });
                await new Promise<void>((resolve) => response.write(content.subarray(0, 1_000_000), () => resolve()));
                response.destroy();
                return true;
            },
        });
        const { front: one, reference } = await front({});
        const more = { registries: { [one.address]: { mirrors: [mirror.address] } }, limits: { retries: 0 } };
        assert.deepEqual(await read(reference, more), content);
        assert.match(one.seen.find(({ url }) => isBlob(url))?.headers.range ?? "", /^bytes=\d+-$/);
        const client = new RegistryClient({ ...options, ...more });
        assert.equal((await client.manifest(reference, image.digest)).mediaType, MediaType.ociManifest);
        await client.close();
    });
});
