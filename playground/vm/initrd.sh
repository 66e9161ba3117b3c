#!/bin/sh
# Makes the smallest initrd that finds a machine's disk: initrd.sh ROOT BUSYBOX OUTPUT
# Debian's own takes an emulated processor ten times as long to unpack and to run.
set -eu
root=$1 busybox=$2 output=$3
release=$(ls "$root/usr/lib/modules")
modules=usr/lib/modules/$release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/dev" "$work/proc" "$work/root" "$work/lib/modules"
cp "$busybox" "$work/bin/busybox"
# In the order in which they are loaded: what each needs comes before it.
needed() {
    for module; do
        # What is built into the kernel has no line.
        line=$(grep -E "(^|/)$module\.ko:" "$root/$modules/modules.dep") || continue
        list=
        for file in ${line%%:*} ${line#*:}; do list="$file $list"; done
        echo "$list"
    done | tr ' ' '\n' | awk 'NF && !seen[$0]++'
}
for file in $(needed virtio_pci virtio_blk crc32c_generic ext4); do
    cp "$root/$modules/$file" "$work/lib/modules/"
    echo "insmod /lib/modules/$(basename "$file")"
done >"$work/load"
cat >"$work/init" <<'END'
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
. /load
until mount -t ext4 -o rw /dev/vda /root; do sleep 0.1; done
exec switch_root /root /sbin/init
END
chmod 755 "$work/init"
(cd "$work" && find . | "$busybox" cpio -o -H newc) >"$output"
