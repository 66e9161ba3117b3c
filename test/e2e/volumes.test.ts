/** Volumes by the real engine: what outlives what, what is refused so that no data is lost, and what is found again. */
import assert from "node:assert/strict";
import type { Stack } from "../../playground/stack";
import { type Census, census } from "../helpers/census";
import { failed, rewrite, Scene, succeeded, told, unchanged, warnings } from "./scene";

const SLEEP = `["sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait"]`;
const FOLDER = "/var/lib/pulumi-containerd/volumes";

describe("volumes", function () {
    this.timeout(300_000);
    let scene: Scene;
    let stack: Stack;
    let empty: Census;
    before(async () => {
        scene = await Scene.open("2");
        // The folder of all volumes stays, like the one above it.
        await scene.worker.run('mkdir -p "$1/records" && chmod 700 "$1"', FOLDER);
        empty = await census(scene.worker);
        stack = await scene.stack("");
    });
    after(() => scene?.close());
    beforeEach(async () => {
        await rewrite(stack, "");
        succeeded(await stack.up());
        await scene.worker.run('rm -rf "$1"/*@*', FOLDER);
    });

    /** A container with its task; `mounts` as in a program. */
    function user(mounts: string, more = "", name = "web"): string {
        return `new containerd.Task("${name}", { container: new containerd.Container("${name}", {
            image: "${scene.busybox}", network: "host", entrypoint: ${SLEEP}, mounts: ${mounts}, ${more} }) });\n`;
    }

    async function inside(script: string, name = "web"): Promise<string> {
        const { [name]: id } = await scene.containers();
        const exec = `look-${Math.random().toString(36).slice(2)}`;
        return scene.worker.ctr("tasks", "exec", "--exec-id", exec, id!, "sh", "-c", script);
    }

    /** Keys of the volumes on the worker: those with a folder, and those with a record. */
    async function volumes(): Promise<{ folders: string[]; records: string[] }> {
        const names = (await scene.worker.run('cd "$1" && ls -1d *@* records/* 2>/dev/null || true', FOLDER)).split(
            "\n",
        );
        const plain = names.filter(Boolean).map((name) => name.replace(/-[0-9a-f]{7}@/, "@").replace(/\.json$/, ""));
        return {
            folders: plain.filter((name) => !name.startsWith("records/")),
            records: plain.filter((name) => name.startsWith("records/")).map((name) => name.slice("records/".length)),
        };
    }

    const both = (...keys: string[]) => ({ folders: keys, records: keys });

    it("outlive their containers: replaced, taken out of the program, made again", async () => {
        const volume = `const data = new containerd.Volume("data", { directory: { uid: 5, gid: 6, mode: "0775" } }); exports.path = data.path;\n`;
        await rewrite(
            stack,
            volume + user('{ "/data": data, "/seen": { volume: data, readOnly: true, subPath: "a/b" } }'),
        );
        const preview = succeeded(await stack.preview());
        assert.deepEqual(preview.changes.sort(), ["data: create", "web: create", "web: create"]);
        succeeded(await stack.up());
        const { path } = (await stack.outputs()) as { path: string };
        assert.match(path, /^\/var\/lib\/pulumi-containerd\/volumes\/data-[0-9a-f]{7}@default\/data$/);
        assert.equal(await scene.worker.run('stat -c "%a %u:%g" "$1"', path), "775 5:6\n");
        assert.equal(await inside("echo kept >/data/a/b/file && cat /seen/file"), "kept\n");
        await assert.rejects(inside("echo no >/seen/other"), /Read-only file system/);
        unchanged(await stack.refresh(["--expect-no-changes"]));
        unchanged(await stack.up(["--expect-no-changes"]));

        await rewrite(stack, volume + user('{ "/data": data }', "env: { A: 1 }"));
        assert.ok(succeeded(await stack.up()).changes.includes("web: replace"));
        assert.equal(await inside("cat /data/a/b/file"), "kept\n");
        await rewrite(stack, volume);
        succeeded(await stack.up());
        await rewrite(stack, volume.replace("0775", "0700") + user('{ "/data": data }'));
        assert.deepEqual(succeeded(await stack.up()).changes.sort(), ["data: update", "web: create", "web: create"]);
        assert.equal(await inside("cat /data/a/b/file; stat -c %a /data"), "kept\n700\n");
        assert.deepEqual(((await stack.outputs()) as { path: string }).path, path);
        assert.deepEqual(await volumes(), both("data@default"));

        // As `docker volume rm`: what it holds goes with it.
        succeeded(await stack.destroy());
        await scene.holdsOnly(empty);
    });

    describe("that would be replaced are refused while they hold data:", () => {
        const program = (args: string) =>
            `const data = new containerd.Volume("data", { ${args} });\n${user('{ "/data": data }')}`;
        const rows: [how: string, was: string, is: string][] = [
            ["made before the old one goes", "", 'namespace: "other"'],
            ["of a name that there can be once,", 'name: "fixed"', 'name: "fixed", driver: "tmpfs"'],
        ];
        for (const [how, was, is] of rows) {
            it(how, async () => {
                await rewrite(stack, program(was));
                succeeded(await stack.up());
                await inside("echo precious >/data/file");
                await rewrite(stack, program(is));
                const preview = succeeded(await stack.preview());
                assert.ok(preview.changes.includes("data: replace"), told(preview));
                assert.match(told(preview), /is to be replaced, because of its \w+: the new volume begins empty/);
                assert.match(
                    failed(await stack.up()),
                    /volume (data-\w+|fixed)@default holds data, and would be replaced by an empty one/,
                );
                assert.equal(await scene.worker.run('cat "$1"/*@default/data/file', FOLDER), "precious\n");
                // Undone, all is as it was.
                await rewrite(stack, program(was));
                succeeded(await stack.up());
                assert.equal(await inside("cat /data/file"), "precious\n");
                // Emptied, it may go.
                await inside("rm /data/file");
                await rewrite(stack, program(is));
                const up = succeeded(await stack.up());
                assert.ok(up.changes.includes("data: replace"), told(up));
                assert.equal((await volumes()).folders.length, is.includes("tmpfs") ? 0 : 1);
            });
        }
    });

    it("that another program's container mounts are not deleted", async () => {
        await rewrite(stack, `const data = new containerd.Volume("data", { name: "shared" }); exports.id = data.id;`);
        succeeded(await stack.up());
        const { id } = (await stack.outputs()) as { id: string };
        const other = await scene.stack(
            `const data = containerd.Volume.get("theirs", "${id}");\n${user('{ "/data": data }', 'namespace: "elsewhere"')}`,
            { stack: "other" },
        );
        succeeded(await other.up());
        assert.match(
            failed(await stack.destroy()),
            /volume shared@default is mounted by a container, and was left as it is: delete first elsewhere\/web-\w+ \(urn:pulumi:other::/,
        );
        assert.deepEqual(await volumes(), both("shared@default"));
        succeeded(await other.destroy());
        succeeded(await stack.destroy());
        assert.deepEqual(await volumes(), both());
    });

    it("keep to protect, retainOnDelete and aliases; labels change in place", async () => {
        const volume = (args: string, opts: string, name = "data") =>
            `new containerd.Volume("${name}", { name: "kept", ${args} }, { ${opts} });`;
        const record = async () =>
            JSON.parse(await scene.worker.run('cat "$1/records/kept@default.json"', FOLDER)) as Record<string, unknown>;
        await rewrite(stack, volume('labels: { a: "1", gone: "2" }', "protect: true"));
        succeeded(await stack.up());
        assert.deepEqual((await record())["labels"], { a: "1", gone: "2" });
        assert.match(failed(await stack.destroy()), /protect/);
        await scene.worker.run('echo precious >"$1/kept@default/data/file"', FOLDER);
        await rewrite(
            stack,
            volume('labels: { a: "3" }', 'retainOnDelete: true, aliases: [{ name: "data" }]', "renamed"),
        );
        assert.deepEqual(succeeded(await stack.up()).changes, ["renamed: update"]);
        assert.deepEqual(
            [
                (await record())["labels"],
                (await record())["retain"],
                String((await record())["owner"])
                    .split("::")
                    .at(-1),
            ],
            [{ a: "3" }, true, "renamed"],
        );
        unchanged(await stack.refresh(["--expect-no-changes"]));
        // It stays with what it holds, so there is no place for another one of its name.
        await rewrite(stack, volume('driver: "tmpfs"', "retainOnDelete: true", "renamed"));
        assert.match(failed(await stack.up()), /name: a volume kept@default is there already/);
        succeeded(await stack.destroy());
        assert.deepEqual(await volumes(), both("kept@default"));
        // Nor is it taken over in silence.
        await rewrite(stack, volume("", "", "renamed"));
        assert.match(
            failed(await stack.up()),
            /name: a volume kept@default is there already, and it belongs to urn:pulumi:\S+::renamed/,
        );
        assert.equal(await scene.worker.run('cat "$1/kept@default/data/file"', FOLDER), "precious\n");
        await scene.worker.run('rm -r "$1"/*@* "$1"/records/*', FOLDER);
        await scene.worker.run('mkdir -p "$1/kept@default/data"', FOLDER);
        assert.match(
            failed(await stack.up()),
            /name: there is a folder .*kept@default\/data already, and no record says whose/,
        );
    });

    it("gone from the node are found by refresh, and made again with what mounts them", async () => {
        await rewrite(
            stack,
            `const data = new containerd.Volume("data", { name: "fixed" });\n${user('{ "/data": data }')}`,
        );
        succeeded(await stack.up());
        const before = (await scene.pids())["web"];
        // Without its record it is still the same folder.
        await scene.worker.run('rm "$1/records/fixed@default.json"; echo kept >"$1/fixed@default/data/file"', FOLDER);
        assert.deepEqual(succeeded(await stack.refresh()).changes, ["data: update"]);
        assert.deepEqual(succeeded(await stack.up()).changes, ["data: update"]);
        assert.equal(await inside("cat /data/file"), "kept\n");
        assert.equal((await scene.pids())["web"], before);

        await scene.worker.run('rm -r "$1/fixed@default"', FOLDER);
        assert.deepEqual(succeeded(await stack.refresh()).changes, ["data: delete"]);
        // A running process would not see the new folder.
        const up = succeeded(await stack.up());
        assert.ok(up.changes.includes("data: create") && up.changes.includes("web: replace"), told(up));
        assert.equal(await inside("echo new >/data/file && cat /data/file"), "new\n");
        unchanged(await stack.up(["--expect-no-changes"]));
    });

    it("left by a create that was killed are removed by the next, unless they hold data", async () => {
        await rewrite(stack, `new containerd.Volume("data");`);
        for (const data of [false, true]) {
            succeeded(await stack.up());
            // As if the engine had been killed before it wrote down what was made.
            const { deployment } = await stack.exportState();
            const urn = deployment.resources?.find(({ type }) => type.endsWith(":Volume"))?.urn ?? "";
            assert.equal((await stack.pulumi(["state", "delete", urn, "--yes", "--stack", stack.name])).code, 0);
            if (data) await scene.worker.run('for d in "$1"/data-*/data; do echo precious >"$d/file"; done', FOLDER);
            const up = succeeded(await stack.up());
            if (data)
                assert.match(told(up), /was made by this resource and is not in the state any more. It holds data/);
            else assert.deepEqual(warnings(up), []);
            assert.deepEqual(await volumes(), data ? both("data@default", "data@default") : both("data@default"));
            succeeded(await stack.destroy());
        }
        assert.equal(await scene.worker.run('cat "$1"/data-*/data/file', FOLDER), "precious\n");
        await scene.worker.run('rm -r "$1"/data-* "$1"/records/*', FOLDER);
        await scene.holdsOnly(empty);
    });

    it("by options: tmpfs, a folder of the node's, scratch; a file system that the kernel lacks is refused", async () => {
        await scene.worker.run("mkdir -p /srv/own && echo own >/srv/own/file");
        await rewrite(
            stack,
            `const memory = new containerd.Volume("memory", { driver: "tmpfs", options: { o: "size=1m,mode=0700" } });
            const own = new containerd.Volume("own", { options: { type: "none", o: "bind,ro", device: "/srv/own" } });
            ${user('{ "/memory": memory, "/own": own, "/scratch": { scratch: "work" }, "/same": { scratch: "work", readOnly: true } }', 'user: "1000:1000"')}`,
        );
        succeeded(await stack.up());
        assert.match(await inside("grep ' /memory ' /proc/mounts"), /tmpfs .*size=1024k,mode=700/);
        assert.equal(await inside("cat /own/file; echo x >/scratch/file; cat /same/file"), "own\nx\n");
        await assert.rejects(inside("echo no >/own/file2"));
        unchanged(await stack.refresh(["--expect-no-changes"]));
        // A restart keeps what lies in the scratch folder; the container's end takes it away.
        await scene.worker.ctr("tasks", "kill", "-s", "9", (await scene.containers())["web"]!);
        succeeded(await stack.refresh());
        succeeded(await stack.up());
        assert.equal(await inside("cat /scratch/file"), "x\n");
        succeeded(await stack.destroy());
        assert.equal(await scene.worker.run("cat /srv/own/file"), "own\n");
        await scene.worker.run("rm -r /srv/own");
        await scene.holdsOnly(empty);

        await rewrite(stack, `new containerd.Volume("odd", { options: { type: "nosuchfs", device: "x" } });`);
        assert.match(failed(await stack.up()), /node here, driver: the node's kernel cannot mount nosuchfs/);
        await rewrite(
            stack,
            `new containerd.Volume("nfs", { driver: "nfs", options: { device: "10.0.0.5:/export" } });`,
        );
        const known = (await scene.worker.run("cat /proc/filesystems")).includes("nfs");
        const up = await stack.up();
        if (known) succeeded(up);
        else assert.match(failed(up), /node here, driver: the node's kernel cannot mount nfs/);
    });

    it("of another node are refused in the preview", async () => {
        const nodes = { here: { socket: scene.worker.address }, there: { socket: "/run/there.sock" } };
        const far = await scene.stack(
            `const data = new containerd.Volume("data", { node: "there" });\n${user('{ "/data": data }')}`,
            { stack: "far", config: { "containerd:nodes": nodes } },
        );
        assert.match(
            failed(await far.preview()),
            /mounts\["\/data"\]\.volume: is on node there, and this goes to node here/,
        );
    });
});
