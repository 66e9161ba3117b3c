/** Wrong input: the user sees one clear sentence with the argument's path, and nothing was touched. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { bigImage, busyboxImage, foreignImage } from "../../playground/images";
import { machineArchitecture } from "../../playground/layout";
import { freePort, type Registry, startRegistry } from "../../playground/registry";
import type { Stack, UpdateResult } from "../../playground/stack";
import type { ContainerdVersion } from "../../playground/worker";
import { type Census, census } from "../helpers/census";
import { type Front, startFront } from "../helpers/front";
import { temporary } from "../helpers/image";
import { failed, htpasswd, rewrite, Scene, succeeded, told, warnings } from "./scene";

const ZEROS = `sha256:${"0".repeat(64)}`;

/** Errors about one resource, without the engine's words around them. */
function errorsOf(result: UpdateResult, name: string): string[] {
    return warnings(result)
        .filter(({ severity, urn }) => severity === "error" && urn?.endsWith(`::${name}`))
        .map(({ message }) =>
            message.replace(/^.* resource '\S+' has a problem: /, "").replace(/^1 error occurred:\s*\* /, ""),
        );
}

/** One error about the resource, and it is one sentence or few, not a stack trace. */
function oneSentence(result: UpdateResult, name: string, says: RegExp): void {
    failed(result);
    const errors = errorsOf(result, name);
    assert.equal(errors.length, 1, told(result));
    assert.match(errors[0]!, says);
    assert.doesNotMatch(errors[0]!, /\n\s+at |undefined|\[object|<nil>/);
    assert.ok(errors[0]!.length < 700, errors[0]);
}

describe("bad input: refused by check", function () {
    this.timeout(240_000);
    let scene: Scene;
    let locked: Registry;
    let stack: Stack;
    let empty: Census;
    let folder: string;
    let removeFolder: () => Promise<void>;
    before(async () => {
        scene = await Scene.open("2");
        locked = await startRegistry({ htpasswd: htpasswd("app", "right") });
        await locked.push(await busyboxImage(), "private:1", { username: "app", password: "right" });
        ({ folder, remove: removeFolder } = await temporary());
        await writeFile(path.join(folder, "not-an-archive.tar"), "this is no archive\n".repeat(100));
        stack = await scene.stack("");
        empty = await census(scene.worker);
    });
    after(async () => {
        await scene?.close();
        await locked?.stop();
        await removeFolder?.();
    });

    const container = (args: string): string =>
        `new containerd.Container("bad", { image: "${scene.busybox}", network: "none", ${args} });`;
    const image = (args: string): string => `new containerd.Image("bad", { ${args} });`;

    const rows: [what: string, program: () => string, says: RegExp][] = [
        [
            "an unknown argument",
            () => container("memroy: {}"),
            /^memroy: is not an argument of this resource: did you mean `memory`\?$/,
        ],
        ["a wrong type", () => container('args: "httpd"'), /^args: must be a list, not a text$/],
        ["command", () => container('command: ["httpd"]'), /^command: .*`entrypoint`.*`args`/],
        ["an id that containerd refuses", () => container('name: "a--b"'), /^name: may hold letters, digits/],
        ["an empty reference", () => image('ref: ""'), /^ref: .*empty/],
        ["a malformed reference", () => image('ref: "Nginx:::1"'), /^ref: /],
        ["a malformed image", () => container("").replace(scene.busybox, "UPPER/x"), /^image: /],
        [
            "an unknown tag",
            () => image(`ref: "${scene.registry.address}/busybox:nope"`),
            /^ref: .*busybox:nope.*no such tag/,
        ],
        [
            "an unauthorized registry",
            () => image(`ref: "${locked.address}/private:1"`),
            /^ref: .*no access to private: it wants a user and a password/,
        ],
        [
            "wrong credentials",
            () => image(`ref: "${locked.address}/private:1", auth: { username: "app", password: "wrong" }`),
            /^ref: .*no access to private: it answered 401/,
        ],
        [
            "a registry that is down",
            () => image('ref: "127.0.0.1:1/app:1"'),
            /^ref: 127\.0\.0\.1:1: refuses the connection/,
        ],
        [
            "an archive that is none",
            () => image(`ref: "app:1", archive: "${folder}/not-an-archive.tar"`),
            /^archive: .*not-an-archive\.tar/,
        ],
        [
            "an archive that is not there",
            () => image(`ref: "app:1", archive: "${folder}/nope.tar"`),
            /^archive: .*nope\.tar/,
        ],
        ["a layout that is none", () => image(`ref: "app:1", layout: "${folder}"`), /^layout: /],
        [
            "an environment variable with =",
            () => container('env: { "A=B": "1" }'),
            /^env\["A=B"\]: the name of an environment variable must not hold "="$/,
        ],
        [
            "negative memory",
            () => container("memory: { limit: -1 }"),
            /^memory\.limit: must not be negative, and is -1$/,
        ],
        [
            "a label over the limit",
            () => container('labels: { big: "x".repeat(5000) }'),
            /^labels\.big: has 5003 bytes.*4096/,
        ],
        [
            "a port without a network",
            () => container('ports: ["80:80"]'),
            /^ports: can't be published without a network/,
        ],
    ];
    for (const [what, program, says] of rows) {
        it(what, async () => {
            await rewrite(stack, program());
            oneSentence(await stack.preview(), "bad", says);
        });
    }

    it("the last of them also in an up, and none has touched the worker", async () => {
        oneSentence(await stack.up(), "bad", rows.at(-1)![2]);
        assert.deepEqual(await census(scene.worker), empty);
    });

    it("a node that is not configured: the preview warns, the up fails", async () => {
        await rewrite(stack, container('node: "nowhere"'));
        const preview = succeeded(await stack.preview());
        assert.match(
            warnings(preview)[0]?.message ?? "",
            /no node nowhere in the stack config containerd:nodes, which has here/,
        );
        oneSentence(await stack.up(), "bad", /node nowhere.*no node nowhere in the stack config containerd:nodes/s);
    });

    it("config that is wrong", async () => {
        const odd = await scene.stack(container(""), { config: { "containerd:nodes": { here: { sokcet: "/x" } } } });
        oneSentence(await odd.preview(), "bad", /^config containerd:nodes\.here\.sokcet: .*did you mean `socket`\?$/);
    });
});

for (const version of ["1.6", "2"] satisfies ContainerdVersion[]) {
    describe(`bad input: refused by containerd ${version} or before it is asked`, function () {
        this.timeout(240_000);
        let scene: Scene;
        let stack: Stack;
        let front: Front;
        let folder: string;
        let removeFolder: () => Promise<void>;
        let hung: ReturnType<typeof createServer>;
        let result: UpdateResult;
        let empty: Census;
        let now: Census;

        before(async () => {
            scene = await Scene.open(version);
            ({ folder, remove: removeFolder } = await temporary());
            front = await startFront({
                target: scene.registry.address,
                intercept: async (seen, response) => {
                    if (!/\/blobs\//.test(seen.url) || seen.method !== "GET") return false;
                    const answer = await fetch(`http://${scene.registry.address}${seen.url}`);
                    const bytes = Buffer.from(await answer.arrayBuffer());
                    bytes[bytes.length - 1]! ^= 1;
                    response.end(bytes);
                    return true;
                },
            });
            await scene.registry.push(await foreignImage(), "foreign:1");
            await scene.registry.push(await bigImage({ layers: 1, bytes: 100_000 }), "noise:1");
            const lying = await handmadeLayout(path.join(folder, "lying"), tar([["fine", "x"]]), 1);
            const leaving = await handmadeLayout(
                path.join(folder, "leaving"),
                tar([
                    ["../../../../../../../../evil-1", "x"],
                    ["link", "", "/"],
                    ["link/evil-2", "x"],
                ]),
            );
            const sockets = path.join(scene.worker.dir, "sockets");
            await mkdir(sockets);
            await deadSocket(path.join(sockets, "dead.sock"));
            hung = createServer((socket) => socket.once("data", () => socket.destroy()));
            hung.listen(path.join(sockets, "closing.sock"));
            await once(hung, "listening");
            await writeFile(path.join(sockets, "file.sock"), "");
            await scene.worker.ctr("images", "pull", "--plain-http", scene.busybox);
            await scene.worker.ctr("containers", "create", scene.busybox, "ctrs-own");
            empty = await census(scene.worker);
            const c = (name: string, args: string): string =>
                `new containerd.Container("${name}", { image: "${scene.busybox}", network: "none", ${args} });\n`;
            const i = (name: string, args: string): string => `new containerd.Image("${name}", { ${args} });\n`;
            stack = await scene.stack(
                i("digest", `ref: "${scene.registry.address}/busybox@${ZEROS}"`) +
                    i("bytes", `ref: "${front.address}/noise:1"`) +
                    i("platform", `ref: "${scene.registry.address}/foreign:1"`) +
                    i("platform-asked", `ref: "${scene.busybox}", platform: "linux/s390x"`) +
                    i("lying", `ref: "lying:1", layout: "${lying}"`) +
                    i("leaving", `ref: "leaving:1", layout: "${leaving}"`) +
                    i("never", `ref: "${scene.registry.address}/absent:1", pull: "never"`) +
                    c("mount", 'mounts: { "/m": { bind: "/does/not/exist" } }') +
                    c("user", 'user: "nosuchuser"') +
                    c("snapshotter", 'snapshotter: "zfs"') +
                    c("foreign-name", 'name: "ctrs-own"') +
                    ["missing", "dead", "closing", "file"].map((node) => c(`node-${node}`, `node: "${node}"`)).join(""),
                {
                    config: {
                        "containerd:nodes": {
                            here: { socket: scene.worker.address },
                            missing: { socket: path.join(sockets, "missing.sock") },
                            dead: { socket: path.join(sockets, "dead.sock") },
                            closing: { socket: path.join(sockets, "closing.sock") },
                            file: { socket: path.join(sockets, "file.sock") },
                        },
                    },
                },
            );
            result = await stack.up(["--continue-on-error"]);
            now = await census(scene.worker);
        });
        after(async () => {
            hung?.close();
            await front?.close();
            await scene?.close();
            await removeFolder?.();
        });

        const rows: [name: string, says: RegExp][] = [
            ["digest", /busybox@sha256:0+.*(no such|not found)/],
            // Several nodes: it came through the cache, which looks at the bytes first.
            ["bytes", /sha256:[0-9a-f]+ does not have that digest: .*noise:1@sha256:[0-9a-f]+ gave other bytes$/],
            ["platform", /platform|linux\/(arm64|amd64)/],
            ["platform-asked", /linux\/s390x/],
            ["lying", /has \d+ bytes; its manifest says \d+$/],
            ["never", /ref: there is no image .*absent:1.* and pull is "never"/],
            ["mount", /node here, mounts\["\/m"\]\.bind: .*\/does\/not\/exist/],
            ["user", /node here, user: .*nosuchuser/],
            ["snapshotter", /node here, snapshotter: the node has no snapshotter zfs; it has .*overlayfs/],
            [
                "foreign-name",
                /node here, name: a container named ctrs-own is there already, and it was not made by this package/,
            ],
            ["node-missing", /node missing.*missing\.sock/],
            ["node-dead", /node dead.*dead\.sock/],
            ["node-closing", /node closing/],
            ["node-file", /node file/],
        ];
        for (const [name, says] of rows) it(name, () => oneSentence(result, name, says));

        it("nothing that leaves the root got out of it", async () => {
            assert.equal((await scene.worker.run("find / -xdev -name 'evil-*' -not -path '*/snapshots/*'")).trim(), "");
            const { stdout } = await execFileResult("find", ["/", "-maxdepth", "1", "-name", "evil-*"]);
            assert.equal(stdout.trim(), "");
        });

        it("nothing of them was left on the worker", async () => {
            // Whether containerd takes an image whose paths it keeps below the root is its own affair.
            if (errorsOf(result, "leaving").length) assert.deepEqual(now, empty);
            succeeded(await stack.destroy());
            await scene.holdsOnly(empty);
        });

        it("two resources with one fixed name: the second is refused, by the first one's URN", async () => {
            const one = (name: string): string =>
                `new containerd.Container("${name}", { name: "fixed", image: "${scene.busybox}", network: "none", args: ["sleep", "1"] });`;
            await rewrite(stack, one("first"));
            succeeded(await stack.up());
            const before = await census(scene.worker);
            await rewrite(stack, one("first") + one("second"));
            oneSentence(
                await stack.up(),
                "second",
                /node here, name: a container named fixed is there already, and it belongs to urn:pulumi:\S+::first/,
            );
            assert.deepEqual(await census(scene.worker), before);
            const other = await scene.stack(one("first"), { project: "other" });
            oneSentence(await other.up(), "first", /belongs to urn:pulumi:dev::test::\S+::first/);
            assert.deepEqual(await census(scene.worker), before);
            succeeded(await other.destroy());
            succeeded(await stack.destroy());
            await scene.holdsOnly(empty);
        });

        it("a health probe on a port where nobody listens", async () => {
            const port = await freePort();
            await rewrite(
                stack,
                `const web = new containerd.Container("web", { image: "${scene.busybox}", network: "host", args: ["sleep", "1000"] });
                new containerd.Task("web", { container: web, stop: { signal: "KILL" }, health: { tcp: { port: ${port} }, interval: "100ms", startPeriod: "300ms", retries: 1 } });`,
            );
            oneSentence(
                await stack.up(),
                "web",
                new RegExp(`health: container web-\\w+ runs, but is not healthy: no connection to port ${port}`),
            );
            succeeded(await stack.destroy());
            await scene.holdsOnly(empty);
        });
    });
}

function tar(entries: [name: string, content: string, link?: string][]): Promise<Buffer> {
    const archive = pack();
    for (const [name, content, linkname] of entries) {
        if (linkname) archive.entry({ name, type: "symlink", linkname });
        else archive.entry({ name }, content);
    }
    archive.finalize();
    return buffer(archive);
}

/** A layout with one layer made by hand; `lie` is added to the size that the manifest tells of it. */
async function handmadeLayout(folder: string, layer: Promise<Buffer>, lie = 0): Promise<string> {
    await mkdir(path.join(folder, "blobs/sha256"), { recursive: true });
    const put = async (
        mediaType: string,
        bytes: Buffer,
    ): Promise<{ mediaType: string; digest: string; size: number }> => {
        const hex = createHash("sha256").update(bytes).digest("hex");
        await writeFile(path.join(folder, "blobs/sha256", hex), bytes);
        return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
    };
    const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));
    const plain = await layer;
    const oci = "application/vnd.oci.image";
    const blob = await put(`${oci}.layer.v1.tar+gzip`, gzipSync(plain));
    const config = await put(
        `${oci}.config.v1+json`,
        json({
            architecture: machineArchitecture,
            os: "linux",
            config: {},
            rootfs: { type: "layers", diff_ids: [`sha256:${createHash("sha256").update(plain).digest("hex")}`] },
        }),
    );
    const layers = [{ ...blob, size: blob.size + lie }];
    const manifest = await put(
        `${oci}.manifest.v1+json`,
        json({ schemaVersion: 2, mediaType: `${oci}.manifest.v1+json`, config, layers }),
    );
    await writeFile(path.join(folder, "index.json"), json({ schemaVersion: 2, manifests: [manifest] }));
    await writeFile(path.join(folder, "oci-layout"), json({ imageLayoutVersion: "1.0.0" }));
    return folder;
}

/** A socket's file whose process was killed. */
async function deadSocket(file: string): Promise<void> {
    const script = "require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))";
    await execFileResult(process.execPath, ["-e", script, file]);
}

function execFileResult(command: string, args: string[]): Promise<{ stdout: string }> {
    return new Promise((resolve) => execFile(command, args, (_error, stdout) => resolve({ stdout })));
}
