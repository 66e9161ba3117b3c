/**
 * Shell functions for the firewall: the plan (`plan.awk.ts`) is made from what nft lists, applied in one transaction, and followed by
 * the flush of what conntrack learned while the rules were others.
 */
import { TABLE } from "./rules";
import { PLAN_AWK } from "./plan.awk";

export const RULES = `
table=${TABLE}
plan_awk='${PLAN_AWK}'

# Sets "plan": what our table lacks for this, and what stands in the way; nothing when all is well. Where a port may be new, what others
# have is looked at in the same go: one time limit for all, so what hangs is known by what is missing.
plan_rules() { # MODE, or look, to change nothing
    case $1$wanted in remove* | look* | ensure | take) others= ;; *) others=$tag ;; esac
    look_at_rules "$others"
    make_plan "$1"
    case $plan in *'#unlooked'*) ;; *) return 0 ;; esac
    look_at_rules '*'
    make_plan "$1"
}
# Sets "seen": our table as nft lists it (the reason where it does not) and a line == STATUS; then, unless a port of TAG is in the
# table, the sockets that listen, a line ==, and the rules of everybody.
look_at_rules() { # TAG, * for nobody's, or nothing: only the table
    # In one command with another, nft 1.0.6 lists our table alone.
    seen=$(limited 3 /bin/sh -c '
        listing=$(nft list table inet "$1" 2>&1)
        printf "%s\\n== %s\\n" "$listing" $?
        [ -n "$2" ] || exit 0
        case $listing in *" comment \\"$2\\" : "*) exit 0 ;; esac
        ss -Hlntu 2>/dev/null
        echo ==
        exec nft -t list ruleset 2>/dev/null' sh $table "$1")
    seen_status=$?
    case $seen in
    *"$newline== 0"*) ;;
    *'No such file or directory'*"$newline== "*) ;;
    *"$newline== "*) failed 1 "nft list" "\${seen%%"$newline== "*}" ;;
    *) failed $seen_status "nft list" "$seen" ;;
    esac
    # Who looks whether others have a port goes on without those that do not answer.
    [ $seen_status -ne 0 ] || return 0
    case $seen$newline in *"$newline==$newline"*) ;; *) seen="$seen$newline==$newline$(limited 3 nft -t list ruleset 2>/dev/null)" ;; esac
}
# Needs "seen".
make_plan() { # MODE
    plan=$(limited 3 awk -v table=$table -v mode="$1" -v tag="$tag" -v old="$old" -v gone="$gone" \\
        -v mark="$rules_mark" -v rules="$rules_count" "$others_awk$plan_awk$taken_awk" <<END
$wanted
$sets
==
$seen
END
    ) || failed $? "awk, planning the rules" "$plan"
}
conflict_in_plan() {
    case $plan in *'#conflict '*) ;; *) return 0 ;; esac
    reason=\${plan#*#conflict }
    die "\${reason%%"$newline"*}"
}
# Makes "plan" so, in one transaction.
apply_plan() {
    case $plan in *'#address'*) plan=$rules_address$newline$plan ;; esac
    case $plan in *'#base'*) plan=$rules_base$newline$plan ;; esac
    case $plan in *'#last'*) plan="delete table inet $table" ;; esac
    said=$(printf '%s\\n' "$plan" | limited 4 nft -f - 2>&1)
}
# Under the node's lock, with a plan from before it where that holds. Once more where the kernel refuses, since another one was
# faster then.
change_rules() { # ensure or take
    for attempt in 1 2 3; do
        if [ $attempt -gt 1 ] || [ -z "$plan" ] || [ "$lock_kind" = -x ]; then
            plan_rules "$1"
        fi
        conflict_in_plan
        [ -n "$plan" ] || return 0
        IFS=$newline
        for line in $plan; do case $line in '#moved '*) moved="$moved \${line#* }" ;; esac; done
        unset IFS
        refuse_foreign
        mark_flows
        apply_plan && return 0
        status=$?
        case $status in 124 | 137) break ;; esac
    done
    failed $status "nft, with the firewall rules" "$said"
}
remove_rules() {
    plan_rules remove
    # Without our table there is nothing to remove, nor the table.
    case $seen in *"$newline== 0"*) ;; *) return 0 ;; esac
    [ -z "$plan" ] || apply_plan || failed $? "nft, removing firewall rules" "$said"
}

# What conntrack has learned is looked through before the next success, even if this attempt is cut off. Where the rules that all
# share were missing, that is so for the others too.
mark_flows() {
    # Who is new has no flows yet, but those of UDP phones that knew its ports before.
    if udp_ports || [ -e "$records/$key" ]; then : >"$run/$key~flows"; fi
    case $plan in *'#base'*) ;; *) return 0 ;; esac
    set +f
    for other in "$run"/*@*; do case $other in *~* | *'*'*) ;; *) : >"$other~flows" ;; esac; done
    set -f
}
# UDP flows that conntrack learned while the rules were others stay as they are for as long as packets come. Forgotten are those to
# one of our ports (on an address of the node) that don't lead to us, and our own to outside that left under our own address. One
# call for each pair of addresses, however many flows.
flush_flows() { # ensure or take
    [ -e "$run/$key~flows" ] || return 0
    if has conntrack; then
        forget_lost
        # What the predecessor was about to answer leaves as a flow of its own, which would go on leading there. Those that it keeps
        # alive by itself (media) are left to it until it goes.
        pass=1
        while [ -n "$moved" ] && [ $pass -lt 5 ]; do
            pass=$((pass + 1))
            sleep 0.2
            forget_lost
            [ -n "$found" ] || break
        done
    fi
    rm -f "$run/$key~flows"
}
forget_lost() {
    found=
    # Its first character says whether there are any.
    is_on /proc/sys/net/netfilter/nf_conntrack_count || return 0
    flows=$(limited 4 conntrack -L -p udp 2>/dev/null) || failed $? "conntrack -L" ""
    [ -n "$flows" ] || return 0
    found=$(limited 3 awk -v moved="$moved" -v own="$masquerade $ip4 $ip6" "$lost_awk" <<END
$wanted
==
$flows
END
    ) || failed $? "awk, looking at flows" "$found"
    IFS=$newline
    for filter in $found; do
        unset IFS
        forget $filter
    done
    unset IFS
}
forget() { # FILTER...
    case $2 in *:*) set -- -f ipv6 "$@" ;; *) set -- -f ipv4 "$@" ;; esac
    said=$(limited 4 conntrack -D -p udp "$@" 2>&1) && return
    status=$?
    # That says that there was none.
    [ $status -eq 1 ] || failed $status "conntrack -D" "$said"
}
lost_awk='
function field(name,   value) {
    if (!match(rest, " " name "=[^ ]+")) return ""
    value = substr(rest, RSTART + length(name) + 2, RLENGTH - length(name) - 2)
    rest = substr(rest, RSTART + RLENGTH)
    return value
}
function wanted(address, port,   k) {
    if (!is_here(address)) return 0
    for (k = 1; k <= w; k++) {
        if ((family[k] == 6) != (address ~ /:/) || port + 0 < lo[k] || port + 0 > hi[k]) continue
        if (host[k] == "*" || host[k] == address) return k
    }
    return 0
}
# Whether an address is of the node. What conntrack and the kernel write alike is compared as it is.
function is_here(address,   row, words, count, i, group, text) {
    if (!looked++) {
        while ((getline row <"/proc/net/fib_trie") > 0) {
            if (row ~ /[|]-- /) { split(row, words, "-- "); text = words[2] }
            else if (row ~ /host LOCAL/) here[text] = 1
        }
        while ((getline row <"/proc/net/if_inet6") > 0) here[substr(row, 1, 32)] = 1
    }
    return address ~ /:/ ? (expanded(address) in here) : (address in here)
}
function expanded(address,   halves, left, right, i, a, b, text) {
    a = b = 0
    if (index(address, "::")) { split(address, halves, "::"); a = split(halves[1], left, ":"); b = split(halves[2], right, ":") }
    else a = split(address, left, ":")
    for (i = 1; i <= a; i++) text = text substr("000" left[i], length(left[i]))
    for (i = a + b; i < 8; i++) text = text "0000"
    for (i = 1; i <= b; i++) text = text substr("000" right[i], length(right[i]))
    return text
}
BEGIN {
    count = split(moved, words, " "); for (i = 1; i <= count; i++) predecessor[words[i]] = 1
    count = split(own, words, " "); if (words[1] == "yes") for (i = 2; i <= count; i++) ours[words[i]] = 1
}
$0 == "==" { part++; next }
!part && $2 == "udp" { w++; family[w] = $3; host[w] = $4; lo[w] = $5 + 0; hi[w] = $6 + 0; to[w] = $7; next }
part {
    rest = $0
    from = field("src"); at = field("dst"); port = field("dport")
    back_from = field("src"); back_at = field("dst"); back_port = field("dport")
    if ((from in ours) && back_at == from) line = "--orig-src " from " --reply-dst " from
    else if ((k = wanted(at, port)) && back_from != to[k]) line = "--orig-dst " at " --reply-src " back_from
    else if ((from in predecessor) && wanted(back_at, back_port)) line = "--orig-src " from " --reply-dst " back_at
    else next
    if (!seen[line]++) print line
}'
# Those of ours, when we go.
forget_flows() {
    has conntrack && is_on /proc/sys/net/netfilter/nf_conntrack_count || return 0
    for address in $ip4 $ip6; do
        forget --reply-src "$address"
        forget --orig-src "$address"
    done
}
`;
