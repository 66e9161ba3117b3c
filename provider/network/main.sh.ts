/** What the network's script does, by its first argument. The order is that of `ensure`; each function says what it needs. */
export const MAIN = `
udp_ports() { case "$newline$wanted" in *"\${newline}udp"*) return 0 ;; esac; return 1; }

check_tools() {
    need ip iproute2
    need unshare util-linux
    need nsenter util-linux
    need flock util-linux
    need awk mawk
    case $namespaces in *pid*) need perl perl-base ;; esac
    if [ "$driver" = bridge ]; then
        need nft nftables
        ! udp_ports || need conntrack conntrack
        need_sctp
    fi
    [ "$driver" != macvlan ] || [ -e "/sys/class/net/$parent" ] || die "the node has no interface $parent, the macvlan network's parent"
    [ "$driver" != cni ] || find_plugins
}

# The firewall would take the port without; then nobody could listen there. A module is loaded by the kernel for the first who asks.
need_sctp() {
    found=$newline$wanted
    case $found in *"\${newline}sctp"*) ;; *) return 0 ;; esac
    ! grep -q '^SCTP ' /proc/net/protocols 2>/dev/null || return 0
    ! limited 2 modprobe --dry-run --quiet sctp 2>/dev/null || return 0
    set -- \${found#*"\${newline}sctp"}
    [ "$5" = "$6" ] && ports="port $5/sctp" || ports="ports $5-$6/sctp"
    die "$ports: the node's kernel has no SCTP (neither built in nor as a module)"
}

only_4() { for one; do case $one in *:*) ;; *) echo "$one" ;; esac; done; }
# A node without IPv6 gets none, unless it was asked for.
settle_ip6() {
    [ -n "$ip6" ] || return 0
    if [ -e /proc/net/if_inet6 ] && ! is_on /proc/sys/net/ipv6/conf/all/disable_ipv6; then return 0; fi
    [ -z "$needs_ip6" ] || die "IPv6 is off on the node, and $needs_ip6 asks for it"
    ip6=
    addresses=$(only_4 $addresses) gateways=$(only_4 $gateways)
    bridge_addresses=$(only_4 $bridge_addresses) named_addresses=$(only_4 $named_addresses)
    IFS=$newline
    kept=; for one in $wanted; do case $one in tcp6* | udp6* | sctp6*) ;; *) kept=$kept\${kept:+"$newline"}$one ;; esac; done; wanted=$kept
    kept=; for one in $sets; do case $one in 'set net6 '* | 'set out6 '*) ;; *) kept=$kept\${kept:+"$newline"}$one ;; esac; done; sets=$kept
    unset IFS
}

ensure() { # ensure or take
    operation=$1
    check_tools
    lock_own
    set_limits
    # Once taken, the predecessor's ports and names are ours also after a reboot.
    if [ -n "$old" ] && [ -e "$folder/network.taken" ] && read -r taken <"$folder/network.taken" && [ "$taken" = "$old" ]; then
        operation=take
    fi
    [ "$driver" != bridge ] || ensure_rules $operation
    look_at_namespaces
    if [ -n "$wrong" ]; then
        make_namespaces
        # Plugins of CNI keep the path that they are told.
        if [ "$driver" = cni ]; then publish; connect "$dir/net"; else connect "$new/net"; publish; fi
    else
        look_at_link
        [ -z "$wrong" ] || mend
    fi
    flush_flows
    if [ $operation = take ] && [ -n "$old" ]; then
        printf '%s\\n' "$old" >"$folder/network.taken" || die "$folder cannot be written: is the disk full?"
    fi
    find_named
    write_names $operation
}
# Rules come first: what is refused leaves nothing behind.
ensure_rules() {
    look_at_bridge
    plan=
    if [ -z "$wrong" ]; then
        plan_rules "$1"
    fi
    if [ -n "$wrong$plan" ]; then
        # Of others' elements in other maps the kernel knows nothing: one at a time then.
        case "$wanted $plan" in *[46]_[0-9a-f]*) lock_node -x ;; *) lock_node -s ;; esac
        [ -z "$wrong" ] || make_bridge
        change_rules "$1"
        unlock_node
    fi
    accept_forwarding
}
# The addresses that others know it by; those that plugins of CNI gave are asked for.
find_named() {
    [ "$driver" = cni ] || return 0
    found=$(limited 3 nsenter --net="$dir/net" ip -o addr show dev eth0 scope global 2>/dev/null) || return 0
    named_addresses=
    while read -r _ _ family address _; do
        case $family in inet | inet6) named_addresses="$named_addresses \${address%/*}" ;; esac
    done <<END
$found
END
}

remove() {
    [ ! -d "$folder" ] || lock_own
    if [ "$driver" = cni ] && { [ -e "$dir/net" ] || [ -e "$run/$key~result" ]; }; then cni_del "$dir/net"; fi
    disconnect
    if [ "$driver" = bridge ]; then
        has nft || die "the node has no command nft: its rules cannot be removed"
        # Nobody may come onto the bridge while it is looked whether somebody is.
        lock_node -x
        remove_bridge
        remove_rules
        [ -z "$gone" ] || forget_forwarding
        unlock_node
        forget_flows
    fi
    remove_names
    remove_limits
    rm -f "$run/$key~flows" "$run/$key~result"
    set +f
    for file in "$run"/*; do [ ! -e "$file" ] || return 0; done
    set -f
    # An ensure that begins now must not lose the folder.
    lock_node -x
    rmdir "$run" 2>/dev/null
    unlock_node
}

say() { [ -z "$1" ] || printf 'wrong %s\\n' "$1"; }
look() {
    check_tools
    look_at_namespaces
    say "$wrong"
    [ -n "$wrong" ] || { look_at_link; say "$wrong"; }
    if [ "$driver" = bridge ]; then
        look_at_bridge
        say "$wrong"
        plan_rules look
        look_at_plan
        accept_forwarding look
        say "$wrong"
    fi
    find_named
    going= resolv=
    if [ -d "$folder" ]; then
        make_resolv
        if [ -e "$folder/network.taken" ]; then make_record take; else make_record ensure; fi
        compare_names "$record"
        [ -z "$changes" ] || say "hosts or resolv.conf are not current"
    fi
    echo looked
}
look_at_plan() {
    told=0
    IFS=$newline
    for line in $plan; do
        case $line in '#new '*) told=$((told + 1)) ;; esac
        # Their number would be more than can be told.
        [ $told -ne 21 ] || { echo "wrong more than 20 ports are not published"; break; }
        case $line in
        '#conflict '*) echo "wrong \${line#*#conflict }" ;;
        '#base' | 'add element inet '*' bridges '*) echo "wrong firewall rules are not there" ;;
        '#address') echo "wrong firewall rules of an address of the node are not there" ;;
        '#new '*)
            IFS=' '
            set -- $line
            case $4 in '*') at=all ;; *) at=$4 ;; esac
            [ "$5" = "$6" ] && echo "wrong port $5/$2 is not published (IPv$3, addresses: $at)" ||
                echo "wrong ports $5-$6/$2 are not published (IPv$3, addresses: $at)"
            IFS=$newline
            ;;
        'delete element '*) echo "wrong a port is published that should not be" ;;
        esac
    done
    unset IFS
}

check() {
    check_tools
    [ "$driver" = bridge ] || return 0
    [ -z "$subnet4" ] || has_bridge || refuse_overlap
    plan_rules ensure
    conflict_in_plan
    refuse_foreign
}

case \${1:-} in
ensure | take) settle_ip6; ensure "$1" ;;
remove) remove ;;
look) settle_ip6; look ;;
check) asked=$ip6; settle_ip6; check; [ "$asked" = "$ip6" ] || echo "no IPv6" ;;
*) die "usage: network.sh ensure|take|remove|look|check" ;;
esac
exit 0
`;
