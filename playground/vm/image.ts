/**
 * The disk of the playground's virtual machines: Debian 12 with its cloud kernel, systemd, containerd 1.6 and sshd, made of
 * packages that come from where this machine's apt has its own. Kept in the cache by a hash of its recipe.
 */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { ContainerdError } from "../../provider/errors";
import { environment } from "../environment";
import { run } from "../process";
import { endingWithUs, exists } from "../system";

const SUITE = "bookworm";
/** What a worker needs, what makes a machine of it, and nothing else. */
const PACKAGES = [
    ...["systemd", "systemd-sysv", "udev", "kmod", "ifupdown", "iproute2", "procps", "openssh-server"],
    ...["containerd", "runc", "containernetworking-plugins", "nftables", "conntrack", "iptables"],
];
/** How folders are called that are not whole yet. */
const MAKING = "making-";
/** With which status `build.sh` ends where there are no packages to make it of. */
const NO_PACKAGES = 3;
/** Milliseconds: packages may have to be downloaded, and a hundred be set up, beside other work. */
const TIMEOUT = 20 * 60_000;

/** Files of which machines are made. They are never written to. */
export interface MachineImage {
    dir: string;
    /** The root file system, raw. */
    disk: string;
    kernel: string;
    initrd: string;
    /** Private key that lets in as root. Of this machine's cache alone, as is the host key. */
    identityFile: string;
    /** Host key as it stands in known_hosts, without a name. */
    hostKey: string;
}

/**
 * The image, from the cache or made now (a minute and a half, on a busy machine four). Throws `Failed` with the last words
 * of what failed, and `Unsupported` where this machine's apt does not know the packages of which it is made.
 *
 * @param show shows what is done as it comes. Default: false.
 */
export async function machineImage({ show = false } = {}): Promise<MachineImage> {
    const scripts = (await readdir(__dirname)).filter((name) => name.endsWith(".sh")).sort();
    const texts = await Promise.all(scripts.map((name) => readFile(path.join(__dirname, name), "utf8")));
    const key = createHash("sha256")
        .update(JSON.stringify([SUITE, PACKAGES, texts]))
        .digest("hex")
        .slice(0, 12);
    const dir = path.join(environment().cache, "vm", `debian-12-${key}`);
    await makeFolder(dir, (making) => build(making, show));
    const [type = "", hostKey = ""] = (await readFile(path.join(dir, "host_key.pub"), "utf8")).split(" ");
    return {
        dir,
        disk: path.join(dir, "disk.img"),
        kernel: path.join(dir, "vmlinuz"),
        initrd: path.join(dir, "initrd"),
        identityFile: path.join(dir, "id_ed25519"),
        hostKey: `${type} ${hostKey.trim()}`,
    };
}

async function build(making: string, show: boolean): Promise<void> {
    const script = path.join(__dirname, "build.sh");
    const args = [script, making, environment().busybox, SUITE, PACKAGES.join(",")];
    // In namespaces of its own: what it mounts is seen by nobody else, and goes with it, as do its processes.
    const apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    const [command = "", ...rest] = endingWithUs([...apart, "sh", ...args]);
    const result = await run(command, rest, { timeout: TIMEOUT, show });
    if (result.code === 0) return;
    const said = result.stderr.trim().split("\n").slice(-10).join("\n");
    if (result.code === NO_PACKAGES) throw new ContainerdError("Unsupported", said);
    throw new ContainerdError("Failed", `the virtual machine's disk could not be made: ${said}`);
}

/**
 * Makes a folder that is there whole or not at all, and not if it is there; `fill` gets a temporary one beside it. Two that
 * do so at once both make it, and the first one's is taken.
 */
export async function makeFolder(target: string, fill: (making: string) => Promise<void>): Promise<void> {
    if (await exists(target)) return;
    const parent = path.dirname(target);
    await mkdir(parent, { recursive: true, mode: 0o700 });
    await removeForgotten(parent);
    const making = await mkdtemp(path.join(parent, MAKING));
    try {
        await fill(making);
        await rename(making, target).catch(async (error: unknown) => {
            if (!(await exists(target))) throw error;
        });
    } finally {
        await rm(making, { recursive: true, force: true });
    }
}

/** What somebody left there who was killed is large. */
async function removeForgotten(parent: string): Promise<void> {
    for (const name of await readdir(parent)) {
        if (!name.startsWith(MAKING)) continue;
        const folder = path.join(parent, name);
        const age = await stat(folder).then(
            ({ mtimeMs }) => Date.now() - mtimeMs,
            () => 0,
        );
        if (age > 2 * TIMEOUT) await rm(folder, { recursive: true, force: true });
    }
}
