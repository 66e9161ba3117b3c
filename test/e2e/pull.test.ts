/** How images come to the worker: with which credentials, from where, when, and what two resources share. */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { busyboxImage, multiPlatformImage } from "../../playground/images";
import { output } from "../../playground/process";
import { type Registry, startRegistry } from "../../playground/registry";
import type { Stack } from "../../playground/stack";
import type { ContainerdVersion } from "../../playground/worker";
import { type Census, census } from "../helpers/census";
import { type Front, startFront } from "../helpers/front";
import { temporary } from "../helpers/image";
import { failed, htpasswd, rewrite, Scene, succeeded, told, unchanged, warnings } from "./scene";

for (const version of ["1.6", "2"] satisfies ContainerdVersion[]) {
    describe(`pull: on containerd ${version}`, function () {
        this.timeout(180_000);
        let scene: Scene;
        let stack: Stack;
        let empty: Census;
        let locked: Registry;
        let front: Front;
        let folder: string;
        let removeFolder: () => Promise<void>;
        const login = { username: "app", password: "right one" };
        before(async () => {
            ({ folder, remove: removeFolder } = await temporary());
            scene = await Scene.open(version);
            locked = await startRegistry({ htpasswd: htpasswd(login.username, login.password) });
            await locked.push(await busyboxImage(), "private:1", login);
            front = await startFront({ target: scene.registry.address });
            // Docker's file of credentials, in a folder that only the second test's environment names.
            await mkdir(path.join(folder, "docker"));
            const auth = Buffer.from(`${login.username}:${login.password}`).toString("base64");
            await writeFile(
                path.join(folder, "docker/config.json"),
                JSON.stringify({ auths: { [locked.address]: { auth } } }),
            );
            stack = await scene.stack("");
            empty = await census(scene.worker);
        });
        after(async () => {
            await front?.close();
            await locked?.stop();
            await scene?.close();
            await removeFolder?.();
        });
        afterEach(async () => {
            await rewrite(stack, "");
            succeeded(await stack.up());
            await scene.holdsOnly(empty);
        });

        /** What does not depend on who pulls: the node by itself (2) or we (1.6). */
        const onModern = (title: string, test: () => Promise<void>): void => {
            if (version === "2") it(title, test);
        };

        it("with explicit credentials, and with Docker's file: neither change dirties anything", async () => {
            const image = (more: string): string => `
                const image = new containerd.Image("private", { ref: "${locked.address}/private:1", ${more} });
                new containerd.Container("web", { image, network: "none" });`;
            await rewrite(stack, image(`auth: ${JSON.stringify(login)}`));
            succeeded(await stack.up());
            // pulumi-docker#952: another login is no change.
            await rewrite(stack, image('auth: { username: "another", password: "changed" }'));
            unchanged(await stack.up(["--expect-no-changes"]));
            await rewrite(stack, "");
            succeeded(await stack.up());
            await scene.holdsOnly(empty);

            await rewrite(
                stack,
                `new containerd.Container("web", { image: "${locked.address}/private:1", network: "none" });`,
            );
            assert.match(failed(await stack.preview()), /image: .*no access to private/);
            const env = { DOCKER_CONFIG: path.join(folder, "docker") };
            succeeded(await stack.up([], { env }));
            unchanged(await stack.up(["--expect-no-changes"]));
        });

        onModern("with credentials that a preview does not know yet: nothing is replaced for that", async () => {
            await locked.push(await busyboxImage(), "private:latest", login);
            // Without its tag, so that the reference in the program is not the one in the state.
            const image = (more: string): string => `
                const image = new containerd.Image("private", { ref: "${locked.address}/private", ${more} });
                new containerd.Container("web", { image, network: "none" });`;
            const late = `const first = new containerd.Image("first", { ref: "${scene.busybox}" });
                const password = first.id.apply(() => "${login.password}");`;
            await rewrite(stack, image(`auth: ${JSON.stringify(login)}`));
            succeeded(await stack.up());
            for (const pull of ["missing", "always"]) {
                await rewrite(stack, image(`pull: "${pull}", auth: ${JSON.stringify(login)}`));
                succeeded(await stack.up());
                await rewrite(
                    stack,
                    late + image(`pull: "${pull}", auth: { username: "${login.username}", password }`),
                );
                const preview = succeeded(await stack.preview());
                assert.deepEqual(preview.changes, ["first: create"], told(preview));
                const kept = warnings(preview).map(({ message }) => message);
                assert.equal(kept.length, pull === "always" ? 1 : 0, kept.join());
                if (pull === "always") assert.match(kept[0]!, /^kept .*private:latest@sha256:.*`auth` is known only/);
                assert.deepEqual(succeeded(await stack.up()).changes, ["first: create"]);
                await rewrite(stack, image(`pull: "${pull}", auth: ${JSON.stringify(login)}`));
                succeeded(await stack.up());
            }
        });

        onModern("and stays where Pulumi was told to leave it, whatever comes after it", async () => {
            const image = (opts = ""): string =>
                `new containerd.Image("app", { ref: "${scene.busybox}" }, { ${opts} });`;
            await rewrite(stack, image("retainOnDelete: true"));
            succeeded(await stack.up());
            const there = await census(scene.worker);
            await rewrite(stack, "");
            assert.deepEqual(succeeded(await stack.up()).changes, ["app: delete"]);
            assert.deepEqual(await census(scene.worker), there);
            // One of the same name does not take it for a leftover of its own, and does not take it along.
            await rewrite(stack, image());
            succeeded(await stack.up());
            await rewrite(stack, "");
            succeeded(await stack.up());
            await scene.holdsOnly(there);
            assert.match(await scene.worker.ctr("images", "check"), /busybox:1 .* complete .* true/);
            // Told so afterwards, and no longer told so, both hold too.
            await rewrite(stack, image());
            succeeded(await stack.up());
            await rewrite(stack, image("retainOnDelete: true"));
            succeeded(await stack.up());
            await rewrite(stack, "");
            succeeded(await stack.up());
            await scene.holdsOnly(there);
            for (const name of (await scene.worker.ctr("images", "ls", "-q")).split("\n").filter(Boolean))
                await scene.worker.ctr("images", "rm", "--sync", name);
        });

        onModern("missing, always, never", async () => {
            const image = (ref: string, pull: string): string =>
                `const image = new containerd.Image("app", { ref: "${ref}", pull: "${pull}" }); exports.digest = image.digest;`;
            const [one, two] = [await busyboxImage(), await multiPlatformImage()];
            const ref = await scene.registry.push(one, "moving:1");
            await rewrite(stack, image(ref, "never"));
            assert.match(failed(await stack.up()), /ref: there is no image .*moving:1 .*pull is "never"/);
            await rewrite(stack, image(ref, "missing"));
            succeeded(await stack.up());
            await scene.registry.push(two, "moving:1");
            unchanged(await stack.up(["--expect-no-changes"]));
            await rewrite(stack, image(ref, "always"));
            assert.deepEqual(succeeded(await stack.up()).changes.at(-1), "app: replace");
            assert.equal((await stack.outputs())["digest"], two.digest);
            await rewrite(stack, "");
            succeeded(await stack.up());

            await scene.worker.ctr("images", "pull", "--plain-http", ref);
            await rewrite(stack, image(ref, "never"));
            succeeded(await stack.up());
            assert.equal((await stack.outputs())["digest"], two.digest);
            unchanged(await stack.up(["--expect-no-changes"]));
            await rewrite(stack, "");
            succeeded(await stack.up());
            // It was there before us, so it stays.
            assert.ok((await scene.worker.ctr("images", "ls", "-q")).split("\n").includes(ref));
            for (const name of (await scene.worker.ctr("images", "ls", "-q")).split("\n").filter(Boolean)) {
                await scene.worker.ctr("images", "rm", "--sync", name);
            }
        });

        it("from an OCI layout, an OCI archive and docker save's archive, without a registry", async () => {
            const layout = await busyboxImage();
            const oci = path.join(folder, "oci.tar");
            const docker = path.join(folder, "docker.tar");
            await output("skopeo", [
                "copy",
                "--quiet",
                "--insecure-policy",
                `oci:${layout.dir}:${layout.tag}`,
                `oci-archive:${oci}`,
            ]);
            await output("skopeo", [
                "copy",
                "--quiet",
                "--insecure-policy",
                `oci:${layout.dir}:${layout.tag}`,
                `docker-archive:${docker}:app:docker`,
            ]);
            const sources = {
                layout: `layout: "${layout.dir}"`,
                oci: `archive: "${oci}"`,
                docker: `archive: "${docker}"`,
            };
            const program = Object.entries(sources).map(
                ([
                    name,
                    source,
                ]) => `new containerd.Task("${name}", { once: true, container: new containerd.Container("${name}", {
                    image: new containerd.Image("${name}", { ref: "app:${name}", ${source} }), network: "none", args: ["echo", "it runs"] }) });`,
            );
            await rewrite(stack, program.join("\n"));
            succeeded(await stack.up());
            for (const id of Object.values(await scene.containers())) assert.equal(await scene.logOf(id), "it runs\n");
            unchanged(await stack.up(["--expect-no-changes"]));
            unchanged(await stack.refresh(["--expect-no-changes"]));
        });

        it("through a mirror of the stack's config, and from the registry itself where that has it not", async () => {
            const ref = "registry.invalid/busybox:1";
            const mirrored = await scene.stack(
                `new containerd.Task("job", { once: true, container: new containerd.Container("job", {
                    image: "${ref}", network: "none", args: ["echo", "mirrored"] }) });`,
                {
                    config: {
                        "containerd:registries": { "registry.invalid": { mirrors: [`http://${front.address}`] } },
                    },
                },
            );
            succeeded(await mirrored.up());
            assert.ok(
                front.seen.some(({ url }) => url.includes("/v2/busybox/blobs/")),
                "the layers came by it",
            );
            assert.match(await scene.worker.ctr("images", "ls", "-q"), /registry\.invalid\/busybox:1/);
            succeeded(await mirrored.destroy());
        });

        it("shared layers once, by several resources in one up, and they stay until the last is gone", async () => {
            const layout = await busyboxImage();
            const [a, b] = [
                await scene.registry.push(layout, "shared-a:1"),
                await scene.registry.push(layout, "shared-b:1"),
            ];
            const program = (names: string[]): string =>
                names
                    .map(
                        (
                            name,
                            index,
                        ) => `new containerd.Task("${name}", { once: true, container: new containerd.Container("${name}", {
                    image: ${index % 2 ? `new containerd.Image("${name}", { ref: "${b}" })` : `"${a}"`}, network: "none", args: ["true"] }) });`,
                    )
                    .join("\n");
            await rewrite(stack, program(["one", "two", "three", "four"]));
            succeeded(await stack.up());
            const now = await census(scene.worker);
            assert.equal(now.content.length, new Set(now.content).size);
            assert.deepEqual(now.leases, []);
            await rewrite(stack, program(["one"]));
            const up = succeeded(await stack.up());
            assert.equal(up.changes.length, 8, told(up));
            unchanged(await stack.refresh(["--expect-no-changes"]));
        });
    });
}
