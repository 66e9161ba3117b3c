/**
 * Shell functions for namespaces and what connects them: made aside and published whole, looked at, mended, removed.
 */
export const LINK = `
# These look, and put into "wrong" what is not as it should be; empty when all is well.
look_at_namespaces() {
    wrong=
    set --
    for kind in $namespaces; do
        [ -e "$dir/$kind" ] || { wrong="its namespaces are not there"; return; }
        set -- "$@" "$dir/$kind"
    done
    # That one did not answer must not pass for "not there": who lives in them would lose them.
    found=$(limited 2 stat -f -c %T "$@" 2>/dev/null)
    status=$?
    case $status in 124 | 137) failed $status "stat, looking at namespaces" ;; esac
    for type in $found; do [ "$type" != nsfs ] || shift; done
    [ $# -eq 0 ] || { wrong="its namespaces are not there"; return; }
    case $namespaces in *pid*) is_held "$dir" || { wrong="its namespace of processes has ended"; return; } ;; esac
    [ "$shm" = 0 ] || case $(limited 2 stat -c %d "$run" "$dir/shm" 2>/dev/null | uniq | wc -l) in
    2) ;;
    *) wrong="its /dev/shm is not there" ;;
    esac
}
look_at_bridge() {
    wrong=
    [ -e "/sys/class/net/$bridge" ] || { wrong="the bridge $bridge is not there"; return; }
    found=$(limited 2 ip -o addr show dev "$bridge" up 2>&1)
    status=$?
    case $status in 124 | 137) failed $status "ip addr" ;; esac
    for address in $bridge_addresses; do
        case "$found " in *" $address "*) ;; *) wrong="the bridge $bridge lacks $address" ;; esac
    done
    is_on /proc/sys/net/ipv4/conf/"$bridge"/route_localnet || wrong="localhost is not routed on the bridge $bridge"
    is_on /proc/sys/net/ipv4/ip_forward || wrong="IPv4 is not forwarded"
    [ -z "$ip6" ] || is_on /proc/sys/net/ipv6/conf/all/forwarding || wrong="IPv6 is not forwarded"
}
# Of a file below /proc/sys a shell's read gets the first character, and then takes it for cut off.
is_on() { value=0; read -r value 2>/dev/null <"$1"; [ "\${value:-0}" != 0 ]; }
look_at_link() {
    wrong=
    if [ "$driver" = bridge ]; then
        [ "/sys/class/net/$veth/master" -ef "/sys/class/net/$bridge" ] || { wrong="$veth is not in the bridge $bridge"; return; }
        is_on "/sys/class/net/$veth/carrier" || { wrong="$veth is down"; return; }
    fi
    [ "$driver" != none ] || return 0
    found=$(printf 'addr show dev eth0\\nroute show table all type unicast\\n' |
        limited 3 nsenter --net="$dir/net" ip -o -batch - 2>&1)
    status=$?
    case $status in
    0) ;;
    124 | 137) failed $status "ip, looking at the container's interface" ;;
    *) wrong="eth0 is not there"; return ;;
    esac
    for address in $addresses; do
        case $found in *" $address "*) ;; *) wrong="eth0 lacks $address" ;; esac
    done
    # A plugin of CNI says itself what addresses there are.
    case $driver$found in cni*' inet'*) ;; cni*) wrong="eth0 has no address" ;; esac
    for gateway in $gateways; do
        case $found in *"default via $gateway dev eth0"*) ;; *) wrong="there is no way out by $gateway" ;; esac
    done
}

# Refuses a subnet that leads elsewhere already: the node could not reach what is there any more.
refuse_overlap() {
    routes=$(limited 3 ip -o -4 route show table main) || failed $? "ip route" "$routes"
    found=$(limited 3 awk -v subnet="$subnet4" -v bridge="$bridge" '
        function number(text,   p) { split(text, p, "."); return ((p[1] * 256 + p[2]) * 256 + p[3]) * 256 + p[4] }
        function size(bits) { return 2 ^ (32 - bits) }
        BEGIN { split(subnet, own, "/"); first = number(own[1]); last = first + size(own[2]) - 1 }
        $1 == "default" { next }
        {
            to = ($1 ~ /^[0-9]/) ? $1 : $2
            if (split(to, other, "/") < 2) other[2] = 32
            # Halves of everything are a default route too.
            if (other[2] < 2) next
            for (i = 1; i < NF; i++) if ($i == "dev") device = $(i + 1)
            low = number(other[1]); high = low + size(other[2]) - 1
            if (device != bridge && low <= last && first <= high) { print to " on " device; exit }
        }' <<END
$routes
END
    ) || failed $? awk "$found"
    [ -z "$found" ] || die "the subnet $subnet4 of the network overlaps a route of the node, $found: give the network another subnet"
}

# Under the node's lock, shared. Who makes it holds a lock of its own; the alias says that it is whole.
make_bridge() {
    create=
    has_bridge || {
        exec 7<"$run"
        flock -w 3 7 || has_bridge || die "another command makes the bridge $bridge and does not get on"
        if has_bridge; then exec 7<&-; else
            [ -z "$subnet4" ] || refuse_overlap
            create="link add name $bridge address $bridge_mac \${mtu:+mtu $mtu }type bridge"
            [ -z "$ip6" ] || create="$create\${newline}link set dev $bridge addrgenmode none"
            [ ! -e "/sys/class/net/$bridge" ] || create=
            create="$create\${newline}link set dev $bridge alias pulumi-containerd:$network"
        fi
    }
    said=$({
        [ -z "$create" ] || echo "\${create%"$newline"*}"
        echo "link set dev $bridge up"
        for address in $bridge_addresses; do
            case $address in *:*) echo "addr replace $address dev $bridge nodad" ;; *) echo "addr replace $address dev $bridge" ;; esac
        done
        [ -z "$create" ] || echo "\${create##*"$newline"}"
    } | limited 3 ip -batch - 2>&1) || failed $? "ip, making the bridge $bridge" "$said"
    exec 7<&-
    turn_on "/proc/sys/net/ipv4/conf/$bridge/route_localnet"
    turn_on /proc/sys/net/ipv4/ip_forward
    [ -z "$ip6" ] || is_on /proc/sys/net/ipv6/conf/all/forwarding || {
        # A router takes no routes from others, unless it is told to: the node would lose its way out.
        set +f
        for file in /proc/sys/net/ipv6/conf/*/accept_ra; do
            read -r value <"$file"
            [ "$value" != 1 ] || echo 2 >"$file"
        done
        set -f
        turn_on /proc/sys/net/ipv6/conf/all/forwarding
    }
}
has_bridge() { [ -e "/sys/class/net/$bridge" ] && read -r alias 2>/dev/null <"/sys/class/net/$bridge/ifalias" && [ "$alias" = "pulumi-containerd:$network" ]; }
turn_on() { is_on "$1" || echo 1 >"$1" || die "$1 cannot be turned on"; }

# Takes apart a folder of namespaces, whatever of it there is; never what lies in them.
drop() { # FOLDER
    [ -d "$1" ] || return 0
    # With it end all that are in the namespace. One that was begun, and has no namespace by name yet, goes too.
    if is_held "$1" || { [ -n "$holder" ] && is_named "$holder"; }; then kill -9 "$holder"; fi
    rm -f "$1/holder"
    for file in net ipc uts pid shm root; do
        file=$1/$file
        [ -e "$file" ] || continue
        status=0
        while [ $status -eq 0 ]; do
            limited 2 umount -l "$file" 2>/dev/null
            status=$?
        done
        # Any other says that it is no mount any more.
        case $status in 124 | 137) failed $status umount ;; esac
        if [ -d "$file" ]; then rmdir "$file"; else rm -f "$file"; fi
    done
    rmdir "$1"
}

# A new set of namespaces, aside: published when it is whole.
make_namespaces() {
    drop "$new" && drop "$dir" || die "old namespaces in $run cannot be removed"
    mkdir -p "$new"
    set --
    for kind in $namespaces; do
        : >"$new/$kind"
        [ "$kind" = pid ] || set -- "$@" "--$kind=$new/$kind"
    done
    # A bridge's is connected from within, in the same go.
    inside=
    [ "$driver" != bridge ] || {
        # Of another namespace, which is lost.
        [ ! -e "/sys/class/net/$veth" ] || said=$(limited 3 ip link delete dev "$veth" 2>&1) || {
            status=$?
            [ ! -e "/sys/class/net/$veth" ] || failed $status "ip link delete" "$said"
        }
        inside="link add name eth0 address $mac \${mtu:+mtu $mtu }type veth peer name $veth \${mtu:+mtu $mtu }netns /proc/$$/ns/net$newline$(configuration)"
    }
    said=$(limited 4 unshare "$@" /bin/sh -c '
        case $1 in *uts*) hostname "$2" || exit ;; esac
        for file in /proc/sys/net/ipv6/conf/default/accept_dad /proc/sys/net/ipv6/conf/default/accept_ra; do
            [ ! -e "$file" ] || echo 0 >"$file"
        done
        [ -z "$3" ] || printf "%s\\n" "$3" | exec ip -batch -' sh "$namespaces" "$hostname" "$inside" 2>&1) ||
        failed $? "unshare and ip, making namespaces" "$said"
    [ "$shm" = 0 ] || {
        mkdir "$new/shm"
        said=$(limited 2 mount -t tmpfs -o "size=$shm,mode=1777,nosuid,nodev,noexec" shm "$new/shm" 2>&1) ||
            failed $? "mount, making /dev/shm" "$said"
    }
    case $namespaces in *pid*) hold_processes ;; esac
}
# A namespace of processes lives as long as its first one, which also collects those whose parents have ended. A member that may trace
# others gets hold of it: so it has no rights, an empty root, and of the node no other namespaces than the pod has.
hold_processes() {
    set --
    for kind in $namespaces; do [ "$kind" = pid ] || set -- "$@" "--$kind=$new/$kind"; done
    mkdir -m 555 "$new/root"
    said=$(limited 3 unshare --pid /bin/sh -c '
        folder=$1 code=$2 name=$3
        shift 3
        nsenter "$@" setsid perl -e "$code" "$folder/root" "$name" </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
        echo $! >"$folder/holder" && exec mount --bind "/proc/$$/ns/pid_for_children" "$folder/pid"
        ' sh "$new" "$holder_code" "pulumi-containerd $key" "$@" 2>&1) || failed $? "unshare, making a namespace of processes" "$said"
    # It must be without rights before anybody joins it.
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        read -r holder <"$new/holder"
        case $(cat "/proc/$holder/status" 2>/dev/null) in *"\${newline}Uid:\${tab}65534\${tab}65534\${tab}65534\${tab}65534\${newline}"*) return 0 ;; esac
        sleep 0.1
    done
    die "the process that holds the namespace of processes does not get ready"
}
holder_code='
    use POSIX ();
    my ($root, $name) = @ARGV;
    chdir $root and chroot "." or exit 1;
    $SIG{CHLD} = "IGNORE";
    $0 = $name;
    $) = "65534 65534";
    POSIX::setgid(65534) and POSIX::setuid(65534) or exit 1;
    sleep while 1;'
# Whether the process that holds the namespace of processes in FOLDER is there; sets "holder".
is_held() { # FOLDER
    holder=
    read -r holder 2>/dev/null <"$1/holder" && [ "/proc/$holder/ns/pid" -ef "$1/pid" ]
}
is_named() { # PID
    case $(tr '\\0' ' ' 2>/dev/null <"/proc/$1/cmdline") in *"pulumi-containerd $key"*) return 0 ;; *) return 1 ;; esac
}
publish() { said=$(limited 2 mv -T "$new" "$dir" 2>&1) || failed $? "mv, publishing the namespaces" "$said"; }

# Connects the namespace at PATH, from whatever state.
connect() { # PATH
    # What shares the node's network has none here.
    case $driver:$namespaces in
    none:*net* | cni:*) said=$(limited 3 nsenter --net="$1" ip link set dev lo up 2>&1) || failed $? "ip link" "$said" ;;
    esac
    [ "$driver" != none ] || return 0
    if [ "$driver" = cni ]; then
        cni_del "$1"
        cni_add "$1"
        return
    fi
    [ "$1" = "$new/net" ] || limited 2 nsenter --net="$1" ip link delete dev eth0 2>/dev/null
    if [ "$driver" = macvlan ]; then
        outside="link add link $parent name eth0 address $mac \${mtu:+mtu $mtu }netns $1 type macvlan mode $mode"
    else
        outside="link set dev $veth master $bridge up
link set dev $veth type bridge_slave hairpin on"
        [ "$1" = "$new/net" ] || {
            outside="link add name $veth \${mtu:+mtu $mtu }type veth peer name eth0 address $mac \${mtu:+mtu $mtu }netns $1$newline$outside"
            # Of another namespace, which is lost.
            [ ! -e "/sys/class/net/$veth" ] || outside="link delete dev $veth\${newline}$outside"
        }
        # Who called when the rules stood already has made the node look for it in vain: it would look again after a second.
        for address in $ip4 $ip6; do outside="$outside\${newline}neigh replace $address lladdr $mac dev $bridge nud reachable"; done
    fi
    said=$(printf '%s\\n' "$outside" | limited 3 ip -batch - 2>&1) || failed $? "ip, connecting the container" "$said"
    [ "$driver:$1" = "bridge:$new/net" ] || configure "$1" || failed $? "ip, giving the container its address" "$said"
}
configure() { # PATH
    said=$(configuration | limited 3 nsenter --net="$1" ip -batch - 2>&1)
}
# What ip does within the namespace.
configuration() {
    echo "link set dev lo up"
    echo "link set dev eth0 up"
    for address in $addresses; do
        case $address in *:*) echo "addr replace $address dev eth0 nodad" ;; *) echo "addr replace $address dev eth0" ;; esac
    done
    for gateway in $gateways; do echo "route replace default via $gateway dev eth0"; done
}
# The gentle way first: who uses the namespace keeps its connections.
mend() {
    case $driver$wrong in
    *'eth0 lacks'* | *'no way out'*)
        ! configure "$dir/net" || look_at_link
        [ -n "$wrong" ] || return 0
        ;;
    esac
    connect "$dir/net"
}

# Everything of the link on the node's side.
disconnect() {
    [ ! -e "/sys/class/net/$veth" ] || said=$(limited 3 ip link delete dev "$veth" 2>&1) || failed $? "ip link delete" "$said"
    if [ "$driver" = macvlan ] && [ -e "$dir/net" ]; then limited 2 nsenter --net="$dir/net" ip link delete dev eth0 2>/dev/null; fi
    drop "$new" && drop "$dir" || die "the namespaces in $run cannot be removed"
}
# Sets "gone" to yes when nobody is on the bridge any more.
remove_bridge() {
    gone=
    [ "$driver" = bridge ] || return 0
    if [ -e "/sys/class/net/$bridge" ]; then
        set +f
        for port in "/sys/class/net/$bridge/brif"/*; do [ ! -e "$port" ] || { set -f; return 0; }; done
        set -f
        # Another's of that name.
        has_bridge || return 0
        said=$(limited 3 ip link delete dev "$bridge" 2>&1) || failed $? "ip link delete" "$said"
    fi
    gone=yes
}
`;
