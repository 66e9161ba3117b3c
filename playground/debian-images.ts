/**
 * Images of services, made of Debian packages: no registry of the outside is asked. Of the packages and all that they depend
 * on only the named programs stay, with the libraries that the dynamic linker wants for them, and busybox for a shell: the
 * image of a service is some 20 MB so. They are kept in the cache by a hash of what they are made of.
 */
import { createHash } from "node:crypto";
import { chmod, copyFile, lstat, mkdir, mkdtemp, readFile, readdir, readlink, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { ContainerdError } from "../provider/errors";
import { environment } from "./environment";
import { type ImageConfig, type Layout, machineArchitecture, writeLayout } from "./layout";
import { output } from "./process";
import { exists } from "./system";

/** Raised when the code below changes what it makes of a recipe. */
const REVISION = 2;

/** What an image is made of. */
export interface DebianRecipe {
    /** Of its folder in the cache. */
    name: string;
    /** Debian packages; what they depend on comes with them, what they recommend does not. */
    packages: readonly string[];
    /**
     * What stays of them, by path: programs and libraries with all that the dynamic linker wants for them, other files as
     * they are, folders whole.
     */
    keep: readonly string[];
    /** Folders to be made. Default: none. */
    folders?: readonly string[];
    config: ImageConfig;
}

/** The dynamic linker, which also tells what a program would be linked with. */
const LINKERS: Partial<Record<string, string>> = {
    amd64: "/lib64/ld-linux-x86-64.so.2",
    arm64: "/lib/ld-linux-aarch64.so.1",
};
/** Debian's merged /usr: these are links. */
const MERGED = ["bin", "sbin", "lib", "lib64"];
const ELF = Buffer.from("\x7fELF");
const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** What examples/sip uses of kamailio. */
const KAMAILIO_MODULES = [
    ...["cfg_rpc", "ctl", "db_sqlite", "dialog", "dispatcher", "kex", "maxfwd", "nathelper", "pv", "registrar", "rr"],
    ...["rtpengine", "sanity", "siputils", "sl", "textops", "textopsx", "tm", "tmx", "usrloc", "xlog"],
];

/**
 * kamailio, a SIP proxy and registrar, with the modules of `examples/sip`, `kamcmd`, and SQLite for what it remembers. Runs
 * `/etc/kamailio/kamailio.cfg` in the foreground and logs to its stderr.
 */
export function kamailioImage(): Promise<Layout> {
    const modules = `/usr/lib/${triplet()}/kamailio/modules`;
    return debianImage({
        name: "kamailio",
        packages: ["kamailio", "kamailio-sqlite-modules", "netbase", "sqlite3"],
        keep: [
            ...["/usr/sbin/kamailio", "/usr/sbin/kamcmd", "/usr/bin/sqlite3", "/usr/share/kamailio/db_sqlite"],
            // From netbase: kamailio looks TCP's number up.
            "/etc/protocols",
            ...KAMAILIO_MODULES.map((module) => `${modules}/${module}.so`),
        ],
        folders: ["/run/kamailio", "/etc/kamailio", "/var/lib/kamailio"],
        config: {
            Env: [PATH],
            Entrypoint: ["kamailio"],
            // In the foreground (DD), to stderr (E).
            Cmd: ["-DD", "-E", "-f", "/etc/kamailio/kamailio.cfg"],
            ExposedPorts: { "5060/udp": {}, "5060/tcp": {} },
        },
    });
}

/** rtpengine, a relay for RTP, in userspace alone: it needs no kernel module. `rtpengine-ctl` asks it for its counters. */
export function rtpengineImage(): Promise<Layout> {
    return debianImage({
        name: "rtpengine",
        packages: ["rtpengine-daemon"],
        keep: ["/usr/bin/rtpengine"],
        folders: ["/run/rtpengine", "/etc/rtpengine", "/var/spool/rtpengine"],
        config: {
            Env: [PATH],
            Entrypoint: ["rtpengine"],
            Cmd: ["--foreground", "--log-stderr", "--table=-1"],
        },
    });
}

/** An image of a recipe: from the cache, or made now (some seconds, most of them for the download). */
export async function debianImage(recipe: DebianRecipe): Promise<Layout> {
    const packages = await closureOf(recipe.packages);
    const parts = [REVISION, machineArchitecture, recipe, packages];
    const key = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 12);
    const dir = path.join(environment().cache, "images", `${recipe.name}-${key}`);
    const existing = await readFile(path.join(dir, "index.json"), "utf8").catch(() => undefined);
    if (existing !== undefined) {
        const index = JSON.parse(existing) as { manifests: { digest: string }[] };
        return { dir, tag: "latest", digest: index.manifests[0]?.digest ?? "" };
    }
    const work = await mkdtemp(path.join(tmpdir(), "pulumi-containerd-image-"));
    try {
        const whole = path.join(work, "whole");
        await unpack(packages, whole, path.join(work, "packages"));
        const root = path.join(work, "root");
        await keepOnly(recipe, whole, root);
        await addShell(root);
        return await writeLayout(dir, [{ config: recipe.config, layers: [root] }]);
    } finally {
        await rm(work, { recursive: true, force: true });
    }
}

/** Debian's name of this machine's architecture in the paths of libraries. */
function triplet(): string {
    return machineArchitecture === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
}

/** The packages and all that they need, as `name=version`: what apt would install on a system that has nothing. */
async function closureOf(packages: readonly string[]): Promise<string[]> {
    const options = ["-o", "Dir::State::Status=/dev/null", "--no-install-recommends", "--simulate"];
    const env = { ...process.env, LC_ALL: "C" };
    const simulated = await output("apt-get", [...options, "install", ...packages], { env });
    return [...simulated.matchAll(/^Inst (\S+) \((\S+)/gm)].map(([, one, version]) => `${one}=${version}`).sort();
}

async function unpack(packages: readonly string[], root: string, downloads: string): Promise<void> {
    await mkdir(downloads);
    // As root: apt's own user may not write here.
    await output("apt-get", ["-o", "APT::Sandbox::User=root", "--quiet", "download", ...packages], { cwd: downloads });
    await mergeUsr(root);
    for (const archive of (await readdir(downloads)).sort()) {
        await output("dpkg-deb", ["--extract", path.join(downloads, archive), root]);
        // The largest would not fit beside all that they hold where /tmp is in memory.
        await rm(path.join(downloads, archive));
    }
}

/** Before anything is unpacked: packages would make folders of these links. */
async function mergeUsr(root: string): Promise<void> {
    for (const name of MERGED) {
        await mkdir(path.join(root, "usr", name), { recursive: true });
        await symlink(`usr/${name}`, path.join(root, name));
    }
}

/** Copies what a recipe keeps, and what that is linked with, from a whole system. */
async function keepOnly(recipe: DebianRecipe, whole: string, root: string): Promise<void> {
    await mergeUsr(root);
    for (const folder of ["dev", "etc", "proc", "sys", "run", "tmp", "root", ...(recipe.folders ?? [])]) {
        await mkdir(path.join(root, folder), { recursive: true });
    }
    await chmod(path.join(root, "tmp"), 0o1777);
    await mkdir(path.join(root, "var"), { recursive: true });
    await symlink("../run", path.join(root, "var/run"));
    const files = (await Promise.all(recipe.keep.map((file) => filesBelow(whole, file)))).flat();
    const linker = LINKERS[machineArchitecture];
    if (!linker) throw new ContainerdError("Unsupported", `no dynamic linker is known for ${machineArchitecture}`);
    const libraries = new Set<string>();
    for (const file of files) {
        if (!(await isElf(path.join(whole, file)))) continue;
        const listed = await output("chroot", [whole, linker, "--list", file]);
        for (const [, library] of listed.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm)) if (library) libraries.add(library);
    }
    for (const file of new Set([...files, ...libraries])) await copyInto(whole, root, file);
}

/** A file, or all files of a folder, as paths of the system. */
async function filesBelow(whole: string, file: string): Promise<string[]> {
    const found = path.join(whole, file);
    const info = await lstat(found).catch((cause: unknown) => {
        throw new ContainerdError("NotFound", `the packages have no ${file}`, { cause });
    });
    if (!info.isDirectory()) return [file];
    const entries = await readdir(found, { recursive: true, withFileTypes: true });
    return entries
        .filter((entry) => !entry.isDirectory())
        .map((entry) => path.join(file, path.relative(found, path.join(entry.parentPath, entry.name))));
}

async function isElf(file: string): Promise<boolean> {
    const start = await readFile(file).catch(() => undefined);
    return start?.subarray(0, ELF.length).equals(ELF) ?? false;
}

/** Copies a file by its name, with the contents that links lead to: libraries are links to files with their full version. */
async function copyInto(whole: string, root: string, file: string): Promise<void> {
    let source = path.join(whole, file);
    while ((await lstat(source)).isSymbolicLink()) {
        const link = await readlink(source);
        // An absolute one means the image's top folder, not this machine's.
        source = link.startsWith("/") ? path.join(whole, link) : path.join(path.dirname(source), link);
    }
    const target = path.join(root, file);
    await mkdir(path.dirname(target), { recursive: true });
    await copyFile(source, target);
}

/** busybox with its commands, where the image has none of that name. Runs as root: who needs other users writes them. */
async function addShell(root: string): Promise<void> {
    const bin = path.join(root, "usr/bin");
    await copyFile(environment().busybox, path.join(bin, "busybox"));
    for (const command of (await output(environment().busybox, ["--list"])).split("\n").filter(Boolean)) {
        if (await exists(path.join(root, "usr/sbin", command))) continue;
        // Fails for what is there.
        await symlink("busybox", path.join(bin, command)).catch(() => undefined);
    }
}
