/**
 * Images for the demo, the tests and the benchmarks, made of Debian packages: no registry of the outside is asked. They are
 * kept in the cache by a hash of what they are made of.
 */
import { createCipheriv, createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { environment } from "./environment";
import { type ImageConfig, type Layout, type PlatformImage, machineArchitecture, writeLayout } from "./layout";
import { output } from "./process";

/** Raised when a recipe below changes what it makes. */
const RECIPES = 1;

const USERS = [
    "root:x:0:0:root:/root:/bin/sh",
    "daemon:x:1:1:daemon:/usr/sbin:/bin/false",
    "www-data:x:33:33:www-data:/var/www:/bin/false",
    "app:x:1000:1000:app:/home/app:/bin/sh",
    "nobody:x:65534:65534:nobody:/nonexistent:/bin/false",
    "",
].join("\n");
const GROUPS = [
    "root:x:0:",
    "daemon:x:1:",
    "tty:x:5:app",
    "adm:x:4:app",
    "www-data:x:33:",
    "app:x:1000:",
    "extra:x:2000:app",
    "nogroup:x:65534:",
    "",
].join("\n");
const BUSYBOX_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** A shell, busybox's commands (also `httpd`), and users: root, app (1000, in groups tty, adm, extra), nobody, … */
export function busyboxImage(): Promise<Layout> {
    return cached("busybox", [], (work) => busyboxPlatform(work, {}));
}

/** busybox with another configuration, to test what an image's defaults do. */
export function busyboxImageWith(config: ImageConfig): Promise<Layout> {
    return cached("busybox", [JSON.stringify(config)], (work) => busyboxPlatform(work, config));
}

/** An index of busybox for this machine's architecture and a second one, whose files say only which one they are. */
export function multiPlatformImage(): Promise<Layout> {
    return cached("platforms", [], async (work) => {
        const here = await busyboxPlatform(work, {});
        const other = machineArchitecture === "arm64" ? "amd64" : "arm64";
        const folder = path.join(work, "other");
        await mkdir(folder);
        await writeFile(path.join(folder, "architecture"), `${other}\n`);
        return [...here, { architecture: other, config: { Cmd: ["/bin/sh"] }, layers: [folder] }];
    });
}

/** An image for another architecture alone. */
export function foreignImage(): Promise<Layout> {
    return cached("foreign", [], async (work) => {
        const architecture = machineArchitecture === "arm64" ? "amd64" : "arm64";
        await writeFile(path.join(work, "architecture"), architecture);
        return [{ architecture, config: { Cmd: ["/bin/sh"] }, layers: [work] }];
    });
}

/**
 * busybox below layers of bytes that do not compress: for measuring pulls.
 *
 * @param layers how many, beside busybox. Default: 5.
 * @param bytes of all of them together. Default: 150 MB.
 */
export function bigImage({ layers = 5, bytes = 150_000_000 } = {}): Promise<Layout> {
    return cached(`big-${layers}x${Math.round(bytes / 1e6)}M`, [String(bytes)], async (work) => {
        const [busybox] = await busyboxPlatform(work, { Cmd: ["sleep", "infinity"] });
        const folders = busybox ? [...busybox.layers] : [];
        for (let layer = 0; layer < layers; layer++) {
            const folder = path.join(work, `layer-${layer}`);
            await mkdir(folder);
            await writeNoise(path.join(folder, `data-${layer}`), Math.floor(bytes / layers));
            folders.push(folder);
        }
        return [{ config: { Cmd: ["sleep", "infinity"] }, layers: folders }];
    });
}

/** nginx of Debian with its libraries, run as the official image runs it. Listens on port 80 of `/etc/nginx/conf.d`. */
export async function nginxImage(): Promise<Layout> {
    const packages = await packagesOf("nginx-light");
    return cached("nginx", packages, async (work) => {
        const root = path.join(work, "root");
        await unpackPackages(packages, root, path.join(work, "packages"));
        await mkdir(path.join(root, "etc/nginx/conf.d"), { recursive: true });
        await writeUsers(root);
        await writeFile(path.join(root, "etc/nginx/nginx.conf"), NGINX_CONF);
        await writeFile(path.join(root, "etc/nginx/conf.d/default.conf"), NGINX_DEFAULT);
        await mkdir(path.join(root, "usr/share/nginx/html"), { recursive: true });
        await copyFile(
            path.join(root, "var/www/html/index.nginx-debian.html"),
            path.join(root, "usr/share/nginx/html/index.html"),
        ).catch(() => writeFile(path.join(root, "usr/share/nginx/html/index.html"), "<h1>Welcome to nginx!</h1>\n"));
        await mkdir(path.join(root, "var/log/nginx"), { recursive: true });
        for (const [log, stream] of [
            ["access.log", "stdout"],
            ["error.log", "stderr"],
        ] as const) {
            await symlink(`/dev/${stream}`, path.join(root, "var/log/nginx", log));
        }
        const config: ImageConfig = {
            Env: [BUSYBOX_PATH],
            Cmd: ["nginx", "-g", "daemon off;"],
            ExposedPorts: { "80/tcp": {} },
            StopSignal: "SIGQUIT",
        };
        return [{ config, layers: [root] }];
    });
}

const NGINX_CONF = `user www-data;
worker_processes 1;
error_log /var/log/nginx/error.log notice;
pid /run/nginx.pid;
events { worker_connections 256; }
http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log /var/log/nginx/access.log;
    include /etc/nginx/conf.d/*.conf;
}
`;
const NGINX_DEFAULT = `server {
    listen 80;
    server_name localhost;
    location / {
        root /usr/share/nginx/html;
        index index.html;
    }
}
`;

/** A layout from the cache, or made by `recipe`, which fills a temporary folder and says what the image is made of. */
async function cached(
    name: string,
    parts: readonly string[],
    recipe: (work: string) => Promise<PlatformImage[]>,
): Promise<Layout> {
    const key = createHash("sha256")
        .update(JSON.stringify([RECIPES, machineArchitecture, ...parts]))
        .digest("hex")
        .slice(0, 12);
    const dir = path.join(environment().cache, "images", `${name}-${key}`);
    const existing = await readFile(path.join(dir, "index.json"), "utf8").catch(() => undefined);
    if (existing !== undefined) {
        const index = JSON.parse(existing) as { manifests: { digest: string }[] };
        return { dir, tag: "latest", digest: index.manifests[0]?.digest ?? "" };
    }
    const work = await mkdtemp(path.join(tmpdir(), "pulumi-containerd-image-"));
    try {
        return await writeLayout(dir, await recipe(work));
    } finally {
        await rm(work, { recursive: true, force: true });
    }
}

async function busyboxPlatform(work: string, config: ImageConfig): Promise<PlatformImage[]> {
    const root = path.join(work, "busybox");
    for (const folder of ["bin", "etc", "root", "tmp", "proc", "sys", "dev", "run", "var/www", "home/app", "usr/bin"]) {
        await mkdir(path.join(root, folder), { recursive: true });
    }
    await copyFile(environment().busybox, path.join(root, "bin/busybox"));
    const commands = (await output(environment().busybox, ["--list"]))
        .split("\n")
        .filter((one) => one && one !== "busybox");
    for (const command of commands) await symlink("busybox", path.join(root, "bin", command));
    await writeUsers(root);
    return [{ config: { Env: [BUSYBOX_PATH], Cmd: ["sh"], ...config }, layers: [root] }];
}

async function writeUsers(root: string): Promise<void> {
    await mkdir(path.join(root, "etc"), { recursive: true });
    await writeFile(path.join(root, "etc/passwd"), USERS);
    await writeFile(path.join(root, "etc/group"), GROUPS);
}

/** Bytes that do not compress, the same ones for the same name: a key stream of AES. */
async function writeNoise(file: string, bytes: number): Promise<void> {
    const key = createHash("sha256").update(path.basename(file)).digest();
    const stream = createCipheriv("aes-256-ctr", key, Buffer.alloc(16));
    const zeros = Buffer.alloc(1 << 20);
    function* chunks() {
        for (let left = bytes; left > 0; left -= zeros.length)
            yield stream.update(zeros.subarray(0, Math.min(left, zeros.length)));
    }
    await writeFile(file, chunks());
}

/** A Debian package and all that it needs, as `name=version`: what apt would install on a system that has nothing. */
async function packagesOf(name: string): Promise<string[]> {
    const options = ["-o", "Dir::State::Status=/dev/null", "--no-install-recommends", "--simulate"];
    const simulated = await output("apt-get", [...options, "install", name], { env: { ...process.env, LC_ALL: "C" } });
    const lines = [...simulated.matchAll(/^Inst (\S+) \((\S+)/gm)];
    return lines.map(([, one, version]) => `${one}=${version}`).sort();
}

async function unpackPackages(packages: readonly string[], root: string, downloads: string): Promise<void> {
    await mkdir(downloads);
    await output("apt-get", ["-o", "APT::Sandbox::User=root", "--quiet", "download", ...packages], { cwd: downloads });
    // Debian's merged /usr: the links first, or the packages would make folders of them.
    for (const name of ["bin", "sbin", "lib", "lib64"]) {
        await mkdir(path.join(root, "usr", name), { recursive: true });
        await symlink(`usr/${name}`, path.join(root, name));
    }
    for (const folder of ["dev", "proc", "sys", "run", "tmp", "root"])
        await mkdir(path.join(root, folder), { recursive: true });
    for (const archive of (await readdir(downloads)).sort()) {
        await output("dpkg-deb", ["--extract", path.join(downloads, archive), root]);
    }
    for (const folder of ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/bug"]) {
        await rm(path.join(root, folder), { recursive: true, force: true });
    }
}
