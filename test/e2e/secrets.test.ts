/** That no secret leaves its place: not into the state, the engine's log and output, containerd's database, or a process' arguments. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { busyboxImage } from "../../playground/images";
import { type Registry, startRegistry } from "../../playground/registry";
import type { Stack } from "../../playground/stack";
import { failed, htpasswd, rewrite, Scene, succeeded, told } from "./scene";

const PASSWORDS = {
    file: "swordfish-in-a-file",
    env: "swordfish-in-env",
    content: "swordfish-in-content",
    registry: "swordfish-registry",
    changed: "swordfish-changed",
};

describe("secrets", function () {
    this.timeout(180_000);
    let scene: Scene;
    let stack: Stack;
    let registry: Registry;
    let ref: string;
    before(async () => {
        scene = await Scene.open("2");
        registry = await startRegistry({ htpasswd: htpasswd("app", PASSWORDS.registry) });
        ref = await registry.push(await busyboxImage(), "private:1", { username: "app", password: PASSWORDS.registry });
        stack = await scene.stack(program(PASSWORDS.file, "one"), {
            config: Object.fromEntries(Object.entries(PASSWORDS).map(([name, secret]) => [`test:${name}`, { secret }])),
        });
    });
    after(async () => {
        await scene?.close();
        await registry?.stop();
    });

    function program(password: string, visible: string): string {
        const key = Object.entries(PASSWORDS).find(([, value]) => value === password)?.[0] ?? "file";
        return `
            const config = new pulumi.Config();
            const image = new containerd.Image("private", {
                ref: "${ref}", auth: { username: "app", password: config.requireSecret("registry") },
            });
            const web = new containerd.Container("web", {
                image, network: "none", entrypoint: ["sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait"],
                secrets: { pw: config.requireSecret("${key}"), plain: "swordfish-in-a-file" },
                env: { PASSWORD: config.requireSecret("env"), VISIBLE: "${visible}" },
                files: { "/etc/app.conf": { content: config.requireSecret("content") } },
            });
            new containerd.Task("web", { container: web });
        `;
    }

    /** Whether one of the secrets stands in a text; which. */
    function leaks(text: string): string[] {
        return Object.entries(PASSWORDS).flatMap(([name, value]) => {
            const forms = [
                value,
                Buffer.from(value).toString("base64"),
                Buffer.from(`app:${value}`).toString("base64"),
            ];
            return forms.some((form) => text.includes(form)) ? [name] : [];
        });
    }

    /** All files that the engine keeps of a stack: state, backups, history, config, event logs. */
    async function engineFiles(): Promise<string> {
        const files = await readdir(stack.folder, { recursive: true, withFileTypes: true });
        const texts = files
            .filter((file) => file.isFile() && file.name !== "index.js")
            .map((file) => readFile(path.join(file.parentPath, file.name), "utf8"));
        return (await Promise.all(texts)).join("\n");
    }

    it("keeps them out of all that the engine says and keeps, and brings them where they belong", async () => {
        const [preview, up] = [await stack.preview(["--diff"]), await stack.up()];
        succeeded(up);
        assert.deepEqual(leaks(told(preview) + told(up)), []);
        assert.deepEqual(leaks(await engineFiles()), []);
        assert.deepEqual(leaks(JSON.stringify(await stack.exportState())), []);
        const { web } = await scene.containers();
        const inside = await scene.worker.ctr(
            "tasks",
            "exec",
            "--exec-id",
            "look",
            web!,
            "sh",
            "-c",
            "cat /run/secrets/pw /etc/app.conf; echo $PASSWORD; ls -ln /run/secrets/pw",
        );
        assert.ok(
            inside.includes(PASSWORDS.file) && inside.includes(PASSWORDS.content) && inside.includes(PASSWORDS.env),
            inside,
        );
        assert.match(inside, /-r-------- +1 0 +0 .*\/run\/secrets\/pw/);
    });

    it("keeps them out of containerd's labels and arguments of processes, and secrets out of its database", async () => {
        const { web } = await scene.containers();
        const info = JSON.parse(await scene.worker.ctr("containers", "info", web!)) as {
            Labels: object;
            Spec: { process: { env: string[] } };
        };
        assert.deepEqual(leaks(JSON.stringify(info.Labels)), []);
        // The environment is in the spec, as the documentation of `env` says; nothing else is.
        info.Spec.process.env = [];
        assert.deepEqual(leaks(JSON.stringify(info.Spec)), []);
        assert.deepEqual(leaks(await scene.worker.run("cat /proc/*/cmdline | tr '\\0' ' '")), []);
        assert.deepEqual(
            leaks(
                await scene.worker.run("cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' | grep -v ^PASSWORD= || true"),
            ),
            [],
        );
        assert.deepEqual(leaks(await readFile(scene.worker.log, "utf8")), []);
        assert.equal((await scene.worker.run("stat -c %a:%u /var/lib/pulumi-containerd")).trim().endsWith(":0"), true);
    });

    it("masks only the value in a preview: the change beside it is seen", async () => {
        await rewrite(stack, program(PASSWORDS.changed, "two"));
        const preview = succeeded(await stack.preview(["--diff"]));
        assert.match(preview.stdout, /VISIBLE.*"one" => "two"/);
        assert.match(preview.stdout, /pw.*\[secret\]/);
        assert.deepEqual(leaks(told(preview)), []);
        const up = succeeded(await stack.up());
        assert.deepEqual(leaks(told(up) + (await engineFiles())), []);
    });

    it("does not show them in a refresh that finds drift, or in a destroy", async () => {
        const { web } = await scene.containers();
        await scene.worker.ctr("tasks", "kill", "-s", "SIGKILL", web!);
        await scene.worker.run('rm "/var/lib/pulumi-containerd/$1@default"/*/pw', web!).catch(() => undefined);
        const refresh = succeeded(await stack.refresh(["--diff"]));
        assert.deepEqual(leaks(told(refresh) + (await engineFiles())), []);
    });

    it("does not print one that is wrong", async () => {
        const wrong = [
            'new containerd.Container("wrong", { image: "busybox@sha256:' +
                "0".repeat(64) +
                '", network: "none", user: config.requireSecret("env").apply((v) => v + " :"), secrets: { "a b": config.requireSecret("file") } });',
            'new containerd.Container("wrong", { image: config.requireSecret("file").apply((v) => "UPPER/" + v + "::"), network: "none" });',
            'new containerd.Container("wrong", { image: "busybox@sha256:' +
                "0".repeat(64) +
                '", network: "none", memory: { limit: config.requireSecret("env") }, env: { [`A=`]: config.requireSecret("env") } });',
            'new containerd.Task("wrong", { container: web, stop: { signal: config.requireSecret("env") }, restart: config.requireSecret("file") });',
        ];
        for (const line of wrong) {
            await rewrite(
                stack,
                program(PASSWORDS.changed, "two").replace("new containerd.Task", `${line}\nnew containerd.Task`),
            );
            const preview = await stack.preview();
            failed(preview);
            assert.deepEqual(leaks(told(preview)), [], told(preview));
        }
    });

    it("does not print one in the error of a registry that refuses it, or of a node", async () => {
        await rewrite(
            stack,
            program(PASSWORDS.changed, "two")
                .replace('"registry"', '"env"')
                .replace(ref, `${registry.address}/private:2`),
        );
        const refused = await stack.up();
        assert.match(failed(refused), /ref: .*(refuse|credentials|Unauthorized|unauthorized|password)/);
        assert.deepEqual(leaks(told(refused) + (await engineFiles())), []);
        await rewrite(stack, program(PASSWORDS.changed, "two"));
        const destroy = succeeded(await stack.destroy());
        assert.deepEqual(leaks(told(destroy) + (await engineFiles())), []);
    });
});
