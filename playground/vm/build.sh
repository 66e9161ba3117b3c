#!/bin/sh
# Makes the disk of a virtual machine of Debian packages: build.sh FOLDER BUSYBOX SUITE PACKAGES
# Into FOLDER: disk.img (its root file system), vmlinuz, initrd, id_ed25519 (which root lets in), host_key.pub. PACKAGES is a
# list with commas. Packages come from where this machine's apt has its own; ends with 3 where it has none of the suite.
set -eu
folder=$1 busybox=$2 suite=$3 packages=$4
here=$(dirname "$0")
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
work=$folder/work
mkdir -p "$work/kernel"

# Debian's own sources alone, whatever else this machine's apt has.
apt-get indextargets --format '$(ORIGIN)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    sed -n 's/^Debian|//p' | grep " $suite" | sort -u >"$work/sources.list" || true
grep -q " $suite main" "$work/sources.list" || {
    echo "the virtual machine is made of packages of Debian's $suite, and apt of this machine has no source of them" >&2
    exit 3
}
# How they are fetched, like proxies.
apt-config dump Acquire | grep -E '^Acquire::(https?|Check-|Retries|ForceIPv)[^ ]* ' >"$work/apt.conf" || true

echo "kernel"
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: //p' | head -n 1)
(cd "$work" && apt-get -o APT::Sandbox::User=root --quiet download "$kernel")
dpkg-deb --extract "$work/$kernel"*.deb "$work/kernel"

echo "packages"
# Only what is essential, and what is named: no apt, no manuals.
mmdebstrap --quiet --mode=root --variant=essential --format=directory --include="$packages" \
    --aptopt="$work/apt.conf" --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$work/root" "$work/sources.list"
root=$work/root
# Where this machine's packages come from is none of the machine's business.
rm -rf "$root/etc/apt/sources.list" "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*

echo "disk"
ssh-keygen -q -t ed25519 -N '' -C playground -f "$folder/id_ed25519"
sh "$here/furnish.sh" "$root" "$work/kernel" "$folder/id_ed25519.pub"
cp "$root/etc/ssh/ssh_host_ed25519_key.pub" "$folder/host_key.pub"
cp "$root"/boot/vmlinuz-* "$folder/vmlinuz"
sh "$here/initrd.sh" "$root" "$busybox" "$folder/initrd"
mke2fs -q -t ext4 -L worker -d "$root" "$folder/disk.img" 4G
rm -rf "$work"
