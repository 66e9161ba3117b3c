/** The registry client against Debian's docker-registry: references, platforms, logins. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import type { Layout } from "../../playground/layout";
import { output } from "../../playground/process";
import { freePort, startRegistry, type Registry } from "../../playground/registry";
import { RegistryClient } from "../../provider/registry/client";
import { isIndex, parseIndex } from "../../provider/registry/oci";
import { choosePlatform } from "../../provider/registry/platform";
import { parseReference } from "../../provider/registry/reference";
import { registrySource } from "../../provider/registry/source";
import { bytesOf, failsWith, readWhole, smallImage, temporary } from "../helpers/image";
import { startTokenRegistry, type TokenRegistry } from "../helpers/token-registry";

const limits = { connect: 2_000, idle: 5_000, retries: 1 };
const noDigest = `sha256:${"0".repeat(64)}`;

describe("registry client", () => {
    const { folder, remove } = {} as Awaited<ReturnType<typeof temporary>>;
    let work = { folder, remove };
    let image: Layout;
    /** No login of the user who runs the tests. */
    let docker: { folder: string };

    before(async () => {
        work = await temporary();
        docker = { folder: work.folder };
        image = await smallImage(work.folder, ["amd64", "arm64"]);
    });
    after(() => work.remove());

    describe("at an open registry", () => {
        let registry: Registry;
        let reference: string;
        before(async () => {
            registry = await startRegistry();
            reference = await registry.push(image, "team/app:1.2");
        });
        after(() => registry.stop());

        it("resolves a tag, and reads the whole image", async () => {
            const source = registrySource(reference, { docker, limits });
            const root = await source.resolve();
            assert.equal(root.digest, image.digest);
            assert.ok(isIndex(root.mediaType));
            await readWhole(source);
            await source.close();
            await source.close();
        });

        it("resolves digests, which win over tags", async () => {
            const client = new RegistryClient({ docker, limits });
            const pinned = parseReference(parseReference(reference).pinned(image.digest));
            const other = parseReference(`${pinned.name}:no-such@${image.digest}`);
            for (const one of [pinned, other]) assert.equal((await client.resolve(one)).digest, image.digest);
            await client.close();
        });

        it("finds the image of a platform", async () => {
            const source = registrySource(reference, { docker, limits });
            const { bytes } = await source.manifest(image.digest);
            const arm = choosePlatform(parseIndex(bytes, reference), "linux/arm64/v8", reference);
            assert.equal(arm.platform?.architecture, "arm64");
            assert.ok((await source.manifest(arm.digest)).bytes.byteLength === arm.size);
            await source.close();
        });

        it("reads a blob from an offset on", async () => {
            const source = registrySource(reference, { docker, limits });
            const [layer] = (await readWhole(source)).layers;
            const whole = await bytesOf(source.blob(layer!, 0));
            assert.deepEqual(await bytesOf(source.blob(layer!, 123_456)), whole.subarray(123_456));
            assert.equal((await bytesOf(source.blob(layer!, layer!.size))).byteLength, 0);
            // Who stops early leaves nothing open that would hold the process.
            for await (const chunk of source.blob(layer!, 0)) {
                assert.ok(chunk.byteLength > 0);
                break;
            }
            await source.close();
        });

        it("says what is not there", async () => {
            const client = new RegistryClient({ docker, limits });
            const name = `${registry.address}/team/app`;
            await assert.rejects(
                client.resolve(parseReference(`${name}:1.3`)),
                failsWith(
                    "NotFound",
                    /\/team\/app:1\.3: no such tag or repository; is the name right\? \(MANIFEST_UNKNOWN/,
                ),
            );
            await assert.rejects(
                client.resolve(parseReference(`${registry.address}/nothing`)),
                failsWith("NotFound", /nothing:latest: no such tag or repository/),
            );
            await assert.rejects(
                client.manifest(parseReference(name), noDigest),
                failsWith("NotFound", /team\/app@sha256:0000/),
            );
            await assert.rejects(
                bytesOf(client.blob(parseReference(name), noDigest)),
                failsWith("NotFound", /team\/app@sha256:0000.*: no such blob/),
            );
            await assert.rejects(
                async () => client.manifest(parseReference(name), "sha256:../../x"),
                failsWith("Invalid", /no digest/),
            );
            await client.close();
        });
    });

    it("says when a registry is down", async () => {
        const client = new RegistryClient({ docker, limits });
        const port = await freePort();
        await assert.rejects(
            client.resolve(parseReference(`127.0.0.1:${port}/app`)),
            failsWith("Unreachable", new RegExp(`^127\\.0\\.0\\.1:${port}: refuses the connection`)),
        );
        await assert.rejects(
            client.resolve(parseReference("registry.invalid/app")),
            failsWith("Unreachable", /^registry\.invalid: (no such host|its name can't be looked up)/),
        );
        await client.close();
    });

    describe("at a registry with passwords", () => {
        // "alice", "wonderland"
        const htpasswd = "alice:$2b$05$abcdefghijklmnopqrstuuA0vov2GDneHB3.8.cv9UF9g.RdvScIW\n";
        const alice = { username: "alice", password: "wonderland" };
        let registry: Registry;
        let reference: string;
        before(async () => {
            registry = await startRegistry({ htpasswd });
            reference = await registry.push(image, "team/app:1", alice);
        });
        after(() => registry.stop());

        it("logs in with explicit credentials", async () => {
            const source = registrySource(reference, { docker, limits, credentials: alice });
            await readWhole(source);
            await source.close();
        });
        it("logs in with the stack's config", async () => {
            const source = registrySource(reference, { docker, limits, registries: { [registry.address]: alice } });
            await readWhole(source);
            await source.close();
        });
        it("logs in with Docker's config", async () => {
            const auth = Buffer.from("alice:wonderland").toString("base64");
            const own = await temporary();
            await writeFile(
                path.join(own.folder, "config.json"),
                JSON.stringify({ auths: { [registry.address]: { auth } } }),
            );
            const source = registrySource(reference, { docker: { folder: own.folder }, limits });
            await readWhole(source);
            await source.close();
            await own.remove();
        });
        it("refuses who has none, and says what to do", () => {
            const source = registrySource(reference, { docker, limits });
            return assert.rejects(
                source.resolve(),
                failsWith("Unauthorized", new RegExp(`^${registry.address}: no access to team/app: .*docker login`)),
            );
        });
        it("refuses a wrong password without showing it", () => {
            const credentials = { username: "alice", password: "looking-glass" };
            const source = registrySource(reference, { docker, limits, credentials });
            return assert.rejects(source.resolve(), failsWith("Unauthorized", /^(?!.*looking-glass)/));
        });
    });

    describe("at a registry with a token server", () => {
        const alice = { username: "alice", password: "wonderland" };
        const identityToken = randomBytes(16).toString("hex");
        let registry: TokenRegistry;
        before(async () => {
            registry = await startTokenRegistry({
                users: { alice: "wonderland" },
                identityTokens: [identityToken],
                open: ["open/app"],
            });
            for (const name of ["open/app", "closed/app"]) {
                const authfile = path.join(work.folder, "auth.json");
                const auth = Buffer.from("alice:wonderland").toString("base64");
                await writeFile(authfile, JSON.stringify({ auths: { [registry.address]: { auth } } }));
                const options = ["--all", "--insecure-policy", "--dest-tls-verify=false", "--dest-authfile", authfile];
                const to = `docker://${registry.address}/${name}:1`;
                await output("skopeo", ["copy", "--quiet", ...options, `oci:${image.dir}:${image.tag}`, to]);
            }
        });
        beforeEach(() => void registry.asked.splice(0));
        after(() => registry.stop());

        it("gets in anonymously where that is allowed", async () => {
            const source = registrySource(`${registry.address}/open/app:1`, { docker, limits });
            await readWhole(source);
            await source.close();
        });

        it("asks for one token, though many requests need it at once", async () => {
            const source = registrySource(`${registry.address}/closed/app:1`, { docker, limits, credentials: alice });
            await Promise.all(Array.from({ length: 8 }, () => source.resolve()));
            await readWhole(source);
            assert.equal(registry.asked.length, 1);
            assert.match(registry.asked[0]!.url, /service=test-registry&scope=repository%3Aclosed%2Fapp%3Apull/);
            await source.close();
        });

        it("changes an identity token for another, by POST", async () => {
            const own = await temporary();
            const auths = { [registry.address]: { identitytoken: identityToken } };
            await writeFile(path.join(own.folder, "config.json"), JSON.stringify({ auths }));
            const source = registrySource(`${registry.address}/closed/app:1`, {
                docker: { folder: own.folder },
                limits,
            });
            await readWhole(source);
            assert.deepEqual(
                registry.asked.map(({ method, headers }) => [method, headers.authorization]),
                [["POST", undefined]],
            );
            await source.close();
            await own.remove();
        });

        it("says when it is refused: anonymous, wrong password", async () => {
            const name = `${registry.address}/closed/app:1`;
            await assert.rejects(
                registrySource(name, { docker, limits }).resolve(),
                failsWith("Unauthorized", /no access to closed\/app/),
            );
            const credentials = { username: "alice", password: "looking-glass" };
            await assert.rejects(
                registrySource(name, { docker, limits, credentials }).resolve(),
                failsWith("Unauthorized", /^(?!.*looking-glass).*refused the user "alice"/),
            );
        });
    });
});
