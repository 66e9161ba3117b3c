/** What a user installs: the tarball of `npm pack` in an empty project, from every kind of program; and what its types refuse. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { repository } from "../../playground/environment";
import { output, run } from "../../playground/process";
import type { Stack } from "../../playground/stack";
import { type Census, census } from "../helpers/census";
import { PREAMBLE, Scene, succeeded, unchanged } from "./scene";

const DEPENDENCIES = Object.keys(
    (JSON.parse(readFileSync(path.join(repository, "package.json"), "utf8")) as { dependencies: object }).dependencies,
);

describe("package", function () {
    this.timeout(240_000);
    let folder: string;
    let tarball: string;
    let files: string[];
    let scene: Scene;
    let empty: Census;
    before(async () => {
        folder = await mkdtemp(path.join(tmpdir(), "pulumi-containerd-package-"));
        const packed = await output("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
            cwd: repository,
        });
        const [description] = JSON.parse(packed) as { filename: string; files: { path: string }[] }[];
        tarball = path.join(folder, description!.filename);
        files = description!.files.map(({ path }) => path);
        scene = await Scene.open("2");
        empty = await census(scene.worker);
    });
    after(async () => {
        await scene?.close();
        await rm(folder, { recursive: true, force: true });
    });

    /** Installs the tarball as npm lays it out. Its dependencies are this clone's, so that no registry of packages is asked. */
    async function install(project: string): Promise<void> {
        await rm(path.join(project, "node_modules"), { force: true, recursive: true });
        const installed = path.join(project, "node_modules/pulumi-containerd");
        await mkdir(installed, { recursive: true });
        await output("tar", ["-xzf", tarball, "-C", installed, "--strip-components=1"]);
        for (const name of [...DEPENDENCIES, "@types/node", "typescript"]) {
            const link = path.join(project, "node_modules", name);
            await mkdir(path.dirname(link), { recursive: true });
            await symlink(path.join(repository, "node_modules", name), link);
        }
    }

    it("holds what is needed to run it, and nothing else", () => {
        for (const name of [
            "package.json",
            "README.md",
            "LICENSE",
            "CHANGELOG.md",
            "dist/index.js",
            "dist/index.d.ts",
            "dist/dynamic/provider.js",
        ]) {
            assert.ok(files.includes(name), `${name} is missing`);
        }
        assert.deepEqual(
            files.filter((name) => /^(test|playground|examples|provider|docs|node_modules)\//.test(name)),
            [],
        );
    });

    const body = (ref: string): string => `
        const image = new containerd.Image("app", { ref: "${ref}" });
        const job = new containerd.Container("job", { image, network: "none", args: ["echo", "hello"] });
        const task = new containerd.Task("job", { container: job, once: true });
    `;
    const kinds: [what: string, entry: string, head: string, tail: string][] = [
        ["CommonJS", "index.js", PREAMBLE, "exports.exit = task.exitCode;"],
        [
            "ESM",
            "index.mjs",
            'import * as containerd from "pulumi-containerd";\n',
            "export const exit = task.exitCode;",
        ],
        [
            "ESM with named imports",
            "index.mjs",
            'import { Image, Container, Task } from "pulumi-containerd"; const containerd = { Image, Container, Task };\n',
            "export const exit = task.exitCode;",
        ],
        [
            "TypeScript",
            "index.ts",
            'import * as containerd from "pulumi-containerd";\n',
            "export const exit = task.exitCode;",
        ],
    ];
    for (const [what, entry, head, tail] of kinds) {
        it(`deploys from a program in ${what}`, async () => {
            const stack: Stack = await scene.stack("", { program: head + body(scene.busybox) + tail, entry });
            await install(stack.project);
            succeeded(await stack.up());
            assert.deepEqual(await stack.outputs(), { exit: 0 });
            if (entry === "index.js") unchanged(await stack.up(["--expect-no-changes"]));
            succeeded(await stack.destroy());
            await scene.holdsOnly(empty);
        });
    }

    it("has types that take the examples, and refuse what they should", async () => {
        const project = path.join(folder, "types");
        await mkdir(project);
        await install(project);
        const compilerOptions = {
            strict: true,
            module: "node16",
            moduleResolution: "node16",
            target: "es2022",
            noEmit: true,
            types: ["node"],
            skipLibCheck: false,
        };
        await writeFile(path.join(project, "package.json"), JSON.stringify({ name: "types", private: true }));
        const examples = ["quickstart", "nginx-host"];
        for (const name of examples) {
            await writeFile(
                path.join(project, `${name}.ts`),
                await readFile(path.join(repository, "examples", name, "index.ts")),
            );
        }
        await writeFile(
            path.join(project, "wrong.ts"),
            `import * as containerd from "pulumi-containerd";
            const image = "nginx:1.27";
            // @ts-expect-error Docker and Kubernetes mean different things by it
            new containerd.Container("a", { image, network: "host", command: ["x"] });
            // @ts-expect-error a typo
            new containerd.Container("b", { image, network: "hots" });
            // @ts-expect-error a typo in a name
            new containerd.Container("c", { image, network: "host", entrypiont: ["x"] });
            // @ts-expect-error a mount is one thing
            new containerd.Container("d", { image, network: "host", mounts: { "/a": { bind: "/b", tmpfs: {} } } });
            const container = new containerd.Container("e", { image, network: "host", env: { A: 1, B: undefined } });
            // @ts-expect-error a health check is one thing
            new containerd.Task("f", { container, health: { tcp: { port: 1 }, exec: ["x"] } });
            // @ts-expect-error a restart policy
            new containerd.Task("g", { container, restart: "sometimes" });
            new containerd.Task("h", { container, restart: "on-failure:3", health: false });
            const id: import("@pulumi/pulumi").Output<string> = container.containerId;
            export const endpoint = container.endpoint(80);
            export { id };
            `,
        );
        const include = [...examples, "wrong"].map((name) => `${name}.ts`);
        await writeFile(path.join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: include }));
        const { code, stdout } = await run(
            process.execPath,
            [path.join(repository, "node_modules/typescript/bin/tsc"), "-p", "."],
            { cwd: project },
        );
        assert.equal(code, 0, stdout);
    });
});
