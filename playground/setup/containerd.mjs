/** containerd of Debian and of its Go module, a registry, busybox, sshd and Docker. */
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { buildFromModule } from "./go.mjs";
import { cache, CONTAINERD_VERSION } from "./paths.mjs";
import { install, updateLists } from "./packages.mjs";
import { capture, folder, must, say } from "./run.mjs";

/** @returns the folder with Debian's containerd, `ctr` and the shim. */
export async function containerdFromDebian() {
    const installed = await capture("/usr/bin/containerd", ["--version"]).catch(() => ({ stdout: "" }));
    if (/ v?1\.6\./.test(installed.stdout)) return "/usr/bin";
    // Unpacked, not installed: installing would start a service, and would remove Docker's package of the same thing.
    return path.join(await unpacked("containerd"), "usr/bin");
}

/** @returns the path of `docker-registry`, for the same reason unpacked when it is not installed. */
export async function registryFromDebian() {
    const installed = "/usr/bin/docker-registry";
    return existsSync(installed) ? installed : path.join(await unpacked("docker-registry"), "usr/bin/docker-registry");
}

/**
 * sshd for the workers. Unpacked when it is not installed: installing would start it here, now and at each boot, as a door
 * that nobody asked for. Only the libraries that it needs are installed.
 *
 * @returns the folder in which it is as it would be in `/`; that is `/` when it is installed.
 */
export async function sshdFromDebian() {
    if (existsSync("/usr/sbin/sshd")) return "/";
    const root = await unpacked("openssh-server");
    // Without a file of settings it says so and ends with 1.
    await installLibraries(root, "usr/sbin/sshd", ["-t", "-f", "/nonexistent"]);
    return root;
}

/**
 * Docker as a peer, always unpacked: who has it installed runs it, perhaps another release.
 *
 * @returns the folder in which `docker.io` is as it would be in `/`.
 */
export async function dockerFromDebian() {
    const root = await unpacked("docker.io");
    await installLibraries(root, "usr/sbin/dockerd", ["--version"]);
    return root;
}

/** Installs the libraries that a command of an unpacked package needs, when one of them lacks. */
async function installLibraries(root, command, args) {
    // The linker ends it with 127 when a library lacks.
    const { code } = await capture(path.join(root, command), args);
    if (code !== 127) return;
    const depends = await must("sh", ["-c", 'dpkg-deb --field "$1"/*.deb Depends', "sh", root]);
    const libraries = depends.match(/\blib[a-z0-9.+-]+/g) ?? [];
    say(`Debian packages for ${path.basename(command)}: ${libraries.join(" ")}`);
    await updateLists();
    await install(libraries);
}

/** @returns the path of a busybox that needs no libraries: it goes into images. */
export async function staticBusybox() {
    return path.join(await unpacked("busybox-static"), "bin/busybox");
}

/** @returns the folder with containerd 2.x, `ctr` and the shim. */
export function containerdFromGo() {
    return buildFromModule({
        name: `containerd-${CONTAINERD_VERSION}`,
        module: "github.com/containerd/containerd/v2",
        version: CONTAINERD_VERSION,
        commands: ["cmd/containerd", "cmd/ctr", "cmd/containerd-shim-runc-v2"],
        variable: "github.com/containerd/containerd/v2/version.Version",
        value: CONTAINERD_VERSION,
        // Snapshotters that need C libraries, and Kubernetes' part, which takes half of the time.
        tags: "no_btrfs no_devmapper no_zfs no_cri",
        said: `containerd ${CONTAINERD_VERSION} from its Go module (about a minute)`,
    });
}

/** A Debian package's files in the cache. */
function unpacked(name) {
    return folder(path.join(cache, `debian-${name}`), async (temporary) => {
        say(`Debian's ${name}, unpacked into ${cache} (a few seconds)`);
        await updateLists();
        // As root: apt's own user may not write here.
        await must("apt-get", ["-o", "APT::Sandbox::User=root", "download", name], { cwd: temporary });
        const archive = readdirSync(temporary).find((file) => file.endsWith(".deb"));
        await must("dpkg-deb", ["--extract", path.join(temporary, archive), temporary]);
    });
}
