/** Debian packages that are installed where a command is missing. None of them runs a service. */
import { existsSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { must, say } from "./run.mjs";

/** By what they are for: command (or file) and the package that brings it. */
const GROUPS = {
    /** What the playground and the workers' networks call. */
    playground: {
        runc: "runc",
        skopeo: "skopeo",
        umoci: "umoci",
        "update-ca-certificates": "ca-certificates",
        unshare: "util-linux",
        hostname: "hostname",
        mount: "mount",
        "apt-get": "apt",
        ip: "iproute2",
        nsenter: "util-linux",
        openssl: "openssl",
        ssh: "openssh-client",
        sudo: "sudo",
        socat: "socat",
        nft: "nftables",
        conntrack: "conntrack",
        pgrep: "procps",
        iptables: "iptables",
        "/usr/lib/cni/bridge": "containernetworking-plugins",
    },
    /** Who calls the services of the larger examples. */
    services: {
        sipp: "sip-tester",
        chromium: "chromium",
    },
    /** Virtual machines; only on x86. */
    emulator: {
        "qemu-system-x86_64": "qemu-system-x86",
        "qemu-img": "qemu-utils",
        mmdebstrap: "mmdebstrap",
        mke2fs: "e2fsprogs",
    },
};
const FOLDERS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** Installs the packages of some groups whose command is missing; what is there is left alone. */
export async function installPackages(...groups) {
    const wanted = groups.filter((group) => group !== "emulator" || process.arch === "x64");
    const has = (command) => FOLDERS.some((one) => existsSync(path.resolve(one, command)));
    const missing = wanted
        .flatMap((group) => Object.entries(GROUPS[group]))
        .filter(([command]) => !has(command))
        .map(([, name]) => name);
    if (missing.length === 0) return;
    say(`Debian packages: ${missing.join(" ")} (some seconds each)`);
    await updateLists();
    await install(missing);
}

/** Installs packages, without what they only recommend. */
export function install(packages) {
    return must("apt-get", ["install", "--yes", "--no-install-recommends", ...packages], {
        env: { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8" },
    });
}

let updated;

/** Package lists of today: a fresh machine has none, an old one's point to packages that are gone. */
export function updateLists() {
    updated ??= must("apt-get", ["update"]);
    return updated;
}
