/** The program whose life is disturbed: images that share layers, containers with all that lies on a node, tasks, a job. */
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { environment } from "../../playground/environment";
import { writeLayout } from "../../playground/layout";
import type { Registry } from "../../playground/registry";

/** Ends at once on SIGTERM, and is the same two processes at any time. */
const SERVICE = "trap 'exit 0' TERM; sleep 1000000 & wait";

/** References of the program's images, in the registry. */
export interface Images {
    base: string;
    /** The image that the update changes, before and after. */
    site: readonly [string, string];
}

/** Pushes the images: three small ones that have their lowest layer in common. */
export async function pushImages(registry: Registry): Promise<Images> {
    const work = await mkdtemp(path.join(tmpdir(), "pulumi-containerd-faults-"));
    try {
        const root = path.join(work, "root");
        for (const folder of ["bin", "etc", "proc", "sys", "dev", "run", "tmp"]) {
            await mkdir(path.join(root, folder), { recursive: true });
        }
        await copyFile(environment().busybox, path.join(root, "bin/busybox"));
        for (const command of ["sh", "sleep", "cat", "true"]) {
            await symlink("busybox", path.join(root, "bin", command));
        }
        await writeFile(path.join(root, "etc/passwd"), "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n");
        await writeFile(path.join(root, "etc/group"), "root:x:0:\napp:x:1000:\n");
        const push = async (name: string, ...extra: string[]): Promise<string> => {
            const layers = [root];
            for (const text of extra) {
                const folder = path.join(work, `layer-${text}`);
                await mkdir(folder, { recursive: true });
                await writeFile(path.join(folder, text), text);
                layers.push(folder);
            }
            const config = { Env: ["PATH=/bin"], Cmd: ["sh", "-c", SERVICE] };
            const layout = await writeLayout(path.join(work, name.replace(":", "-")), [{ config, layers }]);
            return registry.push(layout, name);
        };
        return {
            base: await push("base:1", "common"),
            site: [await push("site:1", "common", "one"), await push("site:2", "common", "two")],
        };
    } finally {
        await rm(work, { recursive: true, force: true });
    }
}

/** The program: `second` is what the update makes of it. Its secret is told apart from all else by its text. */
export function program({ base, site }: Images, second: boolean): string {
    const change = JSON.stringify(second ? "second" : "first");
    return `
const containerd = require("pulumi-containerd");
new containerd.Image("base", { ref: ${JSON.stringify(base)} });
const site = new containerd.Image("site", { ref: ${JSON.stringify(site[second ? 1 : 0])} });
const web = new containerd.Container("web", {
    image: site, user: "app", network: "none",
    files: { "/etc/web.conf": "always the same" },
    secrets: { password: ${JSON.stringify(SECRET)} },
});
const side = new containerd.Container("side", {
    image: ${JSON.stringify(base)}, network: "none", user: "app",
    files: { "/etc/side.conf": ${change} },
    labels: { generation: ${change} },
});
const job = new containerd.Container("job", { image: site, network: "none", args: ["sh", "-c", "exit 0"] });
new containerd.Task("web", { container: web, stop: { timeout: "2s" } });
new containerd.Task("side", { container: side, stop: { timeout: "2s" } });
new containerd.Task("job", { container: job, once: true });
`;
}

/** Must be found nowhere but in its file after what wrote it was killed and its successor was at work. */
export const SECRET = "swordfish-3f9c1c";
