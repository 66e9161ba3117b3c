#!/bin/sh
# Makes the packages that mmdebstrap has unpacked a machine that boots: furnish.sh ROOT KERNEL PUBLIC-KEY
# ROOT is the machine's `/`, KERNEL the folder of an unpacked package with a kernel, PUBLIC-KEY who may log in as root.
set -eu
root=$1 kernel=$2 key=$3

# The kernel, without the package that would make an initrd by itself: see initrd.sh.
cp -a "$kernel/boot/." "$root/boot/"
mkdir -p "$root/usr/lib/modules"
cp -a "$kernel/lib/modules/." "$root/usr/lib/modules/"
chroot "$root" depmod "$(ls "$root/usr/lib/modules")"

echo worker >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 worker\n::1 localhost ip6-localhost\n' >"$root/etc/hosts"
# There is no name server that it could reach.
rm -f "$root/etc/resolv.conf"
: >"$root/etc/resolv.conf"
# The root file system is there when systemd starts.
: >"$root/etc/fstab"

# What qemu's network for users gives to its only machine.
mkdir -p "$root/etc/network"
cat >"$root/etc/network/interfaces" <<'END'
auto lo
iface lo inet loopback
auto eth0
iface eth0 inet static
    address 10.0.2.15/24
    gateway 10.0.2.2
END

mkdir -p "$root/root/.ssh"
chmod 700 "$root/root/.ssh"
cp "$key" "$root/root/.ssh/authorized_keys"
chmod 600 "$root/root/.ssh/authorized_keys"
chroot "$root" ssh-keygen -A >/dev/null
# The one that is looked for; others only cost time.
find "$root/etc/ssh" -name 'ssh_host_*' ! -name 'ssh_host_ed25519_key*' -delete
cat >"$root/etc/ssh/sshd_config.d/playground.conf" <<'END'
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
UseDNS no
# An emulated processor takes its time.
LoginGraceTime 180
END

# A fixed identity: nothing of a first boot is left to do.
echo 5b1d3a0c6f4e4a0f9d2b8c7e6a5f4d3c >"$root/etc/machine-id"
# The processor is emulated: each unit costs it a quarter of a second or more, of the 25 s that are left. What is not there,
# no service of a worker needs; the driver of the network, which udev would find, is named.
units=$root/etc/systemd/system
mask() { for unit; do ln -sf /dev/null "$units/$unit"; done; }
mask getty.target getty-static.service systemd-logind.service
mask systemd-udev-trigger.service systemd-udev-settle.service ifupdown-pre.service ifupdown-wait-online.service
mask sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    dev-hugepages.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount
mask kmod-static-nodes.service modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service \
    modprobe@efi_pstore.service modprobe@fuse.service modprobe@loop.service
mask systemd-binfmt.service systemd-boot-update.service systemd-firstboot.service systemd-fsck-root.service \
    systemd-journal-catalog-update.service systemd-journal-flush.service systemd-machine-id-commit.service \
    systemd-network-generator.service systemd-pcrphase.service systemd-pstore.service systemd-remount-fs.service \
    systemd-repart.service systemd-sysusers.service systemd-update-done.service systemd-update-utmp.service \
    systemd-update-utmp-runlevel.service
mask systemd-ask-password-console.path systemd-ask-password-wall.path remote-fs.target
mask apt-daily.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer
mkdir -p "$root/etc/systemd/system-generators"
for generator in "$root"/usr/lib/systemd/system-generators/*; do
    ln -sf /dev/null "$root/etc/systemd/system-generators/${generator##*/}"
done
echo virtio_net >"$root/etc/modules-load.d/playground.conf"
# Logs in memory: journald writes no disk full.
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\n' >"$root/etc/systemd/journald.conf.d/playground.conf"
# A process 1 of a container that ignores SIGTERM would hold a reboot for 90 s.
mkdir -p "$root/etc/systemd/system.conf.d"
printf '[Manager]\nDefaultTimeoutStopSec=5s\n' >"$root/etc/systemd/system.conf.d/playground.conf"
