/**
 * A throwaway copy of this machine's files: an overlay on a tmpfs, in namespaces of its own, gone with its last process. What
 * runs there changes nothing here. systemd is a stand-in that writes down what it is told; all else is real.
 */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { environment, type ContainerdVersion } from "../../playground/environment";
import { run } from "../../playground/process";

/** $1: a folder with `test.sh`, which is run; $2: the folder of the containerd; $3: Debian's sshd as it would be in `/`, or `/`. */
const IN_A_COPY = `
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"/disk
mkdir "$1"/disk/upper "$1"/disk/work "$1"/disk/root
root=$1/disk/root
mount -t overlay -o "lowerdir=/,upperdir=$1/disk/upper,workdir=$1/disk/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root/run/systemd/system" "$root/usr/local/bin"
cp "$1/bootstrap.sh" "$1/test.sh" "$root/run/"
ln -sf "$2/containerd" "$root/usr/local/bin/containerd"
printf '#!/bin/sh\\ncase "$*" in *is-*) exit "$(cat /run/is-status 2>/dev/null || echo 0)" ;; esac\\necho "$*" >>/run/told\\n' >"$root/usr/local/bin/systemctl"
chmod 755 "$root/usr/local/bin/systemctl"
[ "$3" = / ] || cp -a "$3/usr" "$3/etc" "$root/"
mkdir -p "$root/etc/ssh/sshd_config.d"
grep -q ^sshd: "$root/etc/passwd" || echo 'sshd:x:990:65534::/run/sshd:/usr/sbin/nologin' >>"$root/etc/passwd"
rm -rf "$root/etc/containerd"
mkdir "$root/etc/containerd"
exec chroot "$root" /bin/sh -eu /run/test.sh
`;

/** What scripts in a copy may call. */
const HELPERS = `
interval() { containerd config dump 2>/dev/null | grep -A 1 '[.]restart' | tail -n 1; }
bootstrap() { status=0; sh /run/bootstrap.sh "$@" 2>&1 || status=$?; echo "status $status"; }
told() { cat /run/told 2>/dev/null || echo nothing; rm -f /run/told; }
`;

/** Copies for one suite. */
export class Copies {
    private constructor(private readonly folder: string) {}

    /** @param bootstrap the script that `bootstrap` runs in a copy. */
    static async prepare(bootstrap: string): Promise<Copies> {
        const folder = await mkdtemp("/var/tmp/pulumi-containerd-copy-");
        await mkdir(path.join(folder, "disk"));
        await writeFile(path.join(folder, "bootstrap.sh"), bootstrap);
        return new Copies(folder);
    }

    /** Runs a script in a new copy, where `containerd` is of that version and has no config, and gives what it printed. */
    async run(version: ContainerdVersion, script: string): Promise<string> {
        await writeFile(path.join(this.folder, "test.sh"), HELPERS + script);
        const { containerd, sshd } = environment();
        const given = [this.folder, containerd[version] ?? "", sshd];
        const args = ["--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", IN_A_COPY, "sh", ...given];
        const result = await run("unshare", args, { timeout: 50_000 });
        assert.equal(result.code, 0, result.stdout + result.stderr);
        return result.stdout;
    }

    remove(): Promise<void> {
        return rm(this.folder, { recursive: true, force: true });
    }
}
