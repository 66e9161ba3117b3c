/** Docker's config.json and credential helpers, which are real programs here. */
import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { dockerCredentials } from "../../provider/registry/credentials";
import { failsWith, temporary } from "../helpers/image";

const secret = "hunter2";
const auth = Buffer.from(`alice:${secret}:x`).toString("base64");
const alice = { username: "alice", password: `${secret}:x` };

describe("Docker's credentials", () => {
    let work: Awaited<ReturnType<typeof temporary>>;
    let env: NodeJS.ProcessEnv;
    before(async () => {
        work = await temporary();
        await mkdir(path.join(work.folder, "bin"));
        env = { PATH: `${path.join(work.folder, "bin")}:${process.env.PATH}`, DOCKER_CONFIG: work.folder };
    });
    after(() => work.remove());

    const config = (value: unknown): Promise<void> =>
        writeFile(path.join(work.folder, "config.json"), typeof value === "string" ? value : JSON.stringify(value));
    /** A helper that notes its arguments and input, then runs `script`. */
    const helper = (name: string, script: string): Promise<void> =>
        writeFile(
            path.join(work.folder, "bin", `docker-credential-${name}`),
            `#!/bin/sh\n{ echo "$@"; cat; } > "$DOCKER_CONFIG/asked"\n${script}\n`,
            { mode: 0o755 },
        );
    const look = async (registry: string): Promise<object | undefined> => {
        const found = await dockerCredentials(registry, { env, helperTimeout: 1000 });
        return (
            found &&
            Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined && value !== ""))
        );
    };
    const neverTheSecret = (message: RegExp): RegExp => new RegExp(`^(?!.*${secret}).*${message.source}`, "s");

    it("are none without a file", async () => {
        const empty = path.join(work.folder, "bin");
        assert.equal(await dockerCredentials("docker.io", { folder: empty }), undefined);
        assert.equal(await dockerCredentials("docker.io", { env: { HOME: empty } }), undefined);
    });

    it("are found under the registry's names", async () => {
        await config({
            auths: {
                "https://index.docker.io/v1/": { auth },
                "registry.example:5000": { username: "bob", password: "b" },
                "https://old.example/v1/": { identitytoken: "idt" },
                "bearer.example": { registrytoken: "rt" },
                "empty.example": {},
            },
        });
        assert.deepEqual(await look("docker.io"), alice);
        assert.deepEqual(await look("registry.example:5000"), { username: "bob", password: "b" });
        assert.deepEqual(await look("old.example"), { identityToken: "idt" });
        assert.deepEqual(await look("bearer.example"), { registryToken: "rt" });
        for (const other of ["registry.example", "empty.example", "constructor", "other.example"])
            assert.equal(await look(other), undefined, other);
    });

    it("come from a helper, the registry's own before the store, by stdin", async () => {
        await helper("store", `echo '{"ServerURL":"x","Username":"alice","Secret":"${secret}:x"}'`);
        await helper("own", `echo '{"Username":"<token>","Secret":"idt"}'`);
        await config({
            credsStore: "store",
            credHelpers: { "own.example": "own" },
            auths: { "https://index.docker.io/v1/": {} },
        });
        assert.deepEqual(await look("docker.io"), alice);
        assert.equal(await readFile(path.join(work.folder, "asked"), "utf8"), "get\nhttps://index.docker.io/v1/");
        assert.deepEqual(await look("other.example:5000"), alice);
        assert.equal(await readFile(path.join(work.folder, "asked"), "utf8"), "get\nother.example:5000");
        assert.deepEqual(await look("own.example"), { identityToken: "idt" });
    });

    it("are none where a helper has none, or what stands in the file", async () => {
        await helper("none", "echo credentials not found in native keychain; exit 1");
        await config({ credsStore: "none", auths: { "registry.example": { auth } } });
        assert.equal(await look("docker.io"), undefined);
        assert.deepEqual(await look("registry.example"), alice);
    });

    it("fail with a sentence that holds no secret", async () => {
        await helper("fails", `echo "${secret}"; echo "${secret}" >&2; exit 3`);
        await config({ credsStore: "fails" });
        await assert.rejects(look("a.example"), failsWith("Unauthorized", neverTheSecret(/fails failed .*status 3/)));
        await helper("babbles", `echo "${secret}"`);
        await config({ credsStore: "babbles" });
        await assert.rejects(look("a.example"), failsWith("Unauthorized", neverTheSecret(/answered no JSON/)));
        await helper("hangs", "sleep 60");
        await config({ credsStore: "hangs" });
        await assert.rejects(look("a.example"), failsWith("Timeout", /hangs took longer than 1 s/));
        await helper("floods", "yes");
        await config({ credsStore: "floods" });
        await assert.rejects(look("a.example"), failsWith("Unauthorized", /answered too much/));
        await config({ credsStore: "missing" });
        await assert.rejects(look("a.example"), failsWith("Unauthorized", /can't be run: is it installed/));
        await config({ credsStore: "../../bin/x" });
        await assert.rejects(look("a.example"), failsWith("Invalid", /credential helper/));
        await config(`{"auths": {"a.example": {"password": "${secret}"}}, ${secret}`);
        await assert.rejects(look("a.example"), (error) => {
            assert.ok(!JSON.stringify(error, Object.getOwnPropertyNames(error)).includes(secret));
            return failsWith("Invalid", /config\.json is no JSON object/)(error);
        });
        await config({ auths: { "a.example": { auth: Buffer.from(secret).toString("base64") } } });
        await assert.rejects(look("a.example"), failsWith("Invalid", neverTheSecret(/no user:password/)));
    });
});
