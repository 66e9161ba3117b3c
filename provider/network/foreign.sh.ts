/**
 * Shell functions that look at what others on the node have: listening processes, rules of Docker, of CNI's portmap and of anybody,
 * iptables' policy for what is forwarded. The kernel would let us take a port from each of them without a word.
 */
import { TABLE } from "./rules";

export const FOREIGN = `
# Refuses a port that is new in "plan" and that somebody has whom our own table doesn't know.
refuse_foreign() {
    case $plan in *'#looked'*) ;; *) return 0 ;; esac
    [ $seen_status -ne 0 ] || tables=
    rules=
    IFS=$newline
    for line in $plan; do
        case $line in
        '#listens '*) unset IFS; refuse_listener \${line#* } ;;
        '#table '*) [ $seen_status -ne 0 ] || tables=$tables$newline\${line#?} ;;
        '#rule '*) rules=$rules\${line#* }$newline ;;
        esac
    done
    unset IFS
    refuse_rules "$rules"
    for tool in iptables ip6tables; do
        has $tool && has_tables $tool nat || continue
        foreign=$(limited 3 $tool -w 2 -t nat -S 2>/dev/null) || continue
        refuse_rules "$(printf '%s\\n' "$foreign" | limited 2 awk -v tool=$tool "$iptables_dnat_awk")"
    done
}
# Whether iptables, of either make, has a table: asking it would make one. "tables" are those of nft, of everybody, a line each.
has_tables() { # TOOL TABLE
    family=ip
    [ "$1" = iptables ] || family=ip6
    while read -r name; do [ "$name" != "$2" ] || return 0; done 2>/dev/null <"/proc/net/\${family}_tables_names"
    [ -n "\${tables+known}" ] || tables=$(limited 3 nft list tables 2>&1) || failed $? "nft list" "$tables"
    case "$newline$tables$newline" in *"\${newline}table $family $2$newline"*) return 0 ;; esac
    return 1
}

# Around the plan's program, in one with it: what others have, from the lines that follow our table, and after the plan, for those of
# its ports that are new (\`fresh\`), its signs \`#looked\` (or \`#unlooked\`), \`#table FAMILY NAME\`, \`#listens PROTOCOL PORT\` and
# \`#rule\` with a line for refuse_rules.
others_awk='
/^==/ { part++; if (part > 1) next }
part == 2 { socket[++socket_count] = $1 " " $5; next }
part == 3 && $1 == "table" && $4 == "{" { of = $2 == "ip" ? 4 : $2 == "ip6" ? 6 : "*"; from = $2 " " $3; table_name[++table_count] = from; next }
# Those of iptables are asked of it.
part == 3 && from != "inet ${TABLE}" && from != "ip nat" && from != "ip6 nat" && / dnat / { dnat[++dnat_count] = of " " from " " $0 }
part > 2 { next }
'
taken_awk='
function listens(text,   words, address, port, low, high, is6, any, i, k) {
    split(text, words, " ")
    port = words[2]; sub(/.*:/, "", port); port += 0
    address = words[2]; sub(/:[^:]*$/, "", address); sub(/%.*/, "", address); gsub(/[][]/, "", address)
    is6 = address ~ /:/; any = address == "*" || address == "0.0.0.0" || address == "::"
    for (i = 1; i <= fresh_count; i++) {
        k = fresh[i]
        if (proto[k] != words[1] || port < lo[k] || port > hi[k]) continue
        # A client has such a port for a moment.
        if (words[1] == "udp" && lo[k] != hi[k] && port >= ephemeral[1] + 0 && port <= ephemeral[2] + 0) continue
        if (address != "*" && is6 != (family[k] == 6)) continue
        if (any || host[k] == "*" || host[k] == address) return port
    }
    return 0
}
function leads(text,   words, rule, ports, address, list, count, edge, i, j, k) {
    split(text, words, " ")
    sub(/^[^ ]+ [^ ]+ [^ ]+ /, "", text)
    if (!match(text, /(tcp|udp|sctp) dport [{]?[^a-z{}]+/)) return
    rule = ports = substr(text, RSTART, RLENGTH)
    sub(/^.* dport [{]? ?/, "", ports); gsub(/ /, "", ports); sub(/ .*/, "", rule)
    address = "*"
    if (match(text, /ip6? daddr [0-9a-f.:]+/)) { address = substr(text, RSTART, RLENGTH); sub(/.* /, "", address) }
    count = split(ports, list, ",")
    for (i = 1; i <= count; i++) {
        if (split(list[i], edge, "-") == 1) edge[2] = edge[1]
        for (j = 1; j <= fresh_count; j++) {
            k = fresh[j]
            if (edge[1] == "" || proto[k] != rule || edge[1] + 0 > hi[k] || edge[2] + 0 < lo[k]) continue
            print "#rule " rule, words[1], edge[1], edge[2], address, "a rule of the nft table " words[2] " " words[3]
            break
        }
    }
}
END {
    if (!fresh_count || mode == "look") exit
    if (part < 3) { print "#unlooked"; exit }
    print "#looked"
    for (i = 1; i <= table_count; i++) print "#table " table_name[i]
    getline row <"/proc/sys/net/ipv4/ip_local_port_range"
    split(row, ephemeral)
    for (i = 1; i <= socket_count; i++) {
        split(socket[i], words, " ")
        if ((port = listens(socket[i]))) { print "#listens " words[1], port; exit }
    }
    for (i = 1; i <= dnat_count; i++) leads(dnat[i])
}'
refuse_listener() { # PROTOCOL PORT
    protocol=$1 port=$2 user=
    sockets=$(limited 3 ss -Hlnp "--$protocol" "sport = :$port" 2>/dev/null) || sockets=
    case $sockets in *'users:(("'*)
        user=\${sockets#*'users:(("'} pid=\${user#*pid=}
        pid=\${pid%%[!0-9]*} user=\${user%%'"'*}
        # Threads have names too; the program's is the better one.
        program=$(limited 1 readlink "/proc/$pid/exe" 2>/dev/null) && user=\${program##*/}
        user=" $user (process $pid)"
        ;;
    esac
    die "port $port/$protocol is taken by\${user:- a process}, which listens on the node"
}

# Lines of PROTOCOL FAMILY FIRST LAST ADDRESS WHO; family and address are \`*\` where none is named.
refuse_rules() {
    [ -n "$1" ] || return 0
    locals=$(limited 2 ip -o addr show 2>/dev/null) || return 0
    found=$(limited 2 awk '
        $1 == "#new" { w++; proto[w] = $2; family[w] = $3; host[w] = $4; lo[w] = $5 + 0; hi[w] = $6 + 0; next }
        $0 == "==" { part++; next }
        part == 1 { split($4, words, "/"); here[words[1]] = 1; next }
        part == 2 {
            for (k = 1; k <= w; k++) {
                if (proto[k] != $1 || ($2 != "*" && $2 != family[k]) || $3 + 0 > hi[k] || $4 + 0 < lo[k]) continue
                # On all addresses of the node it meets those only that are of the node.
                if ($5 != "*" && (host[k] == "*" ? !($5 in here) && $5 !~ /^127[.]/ : host[k] != $5)) continue
                port = $3 + 0 > lo[k] ? $3 : lo[k]
                for (i = 1; i <= 5; i++) sub(/^[^ ]+ /, "")
                print "port " port "/" proto[k] " is taken by " $0
                exit
            }
        }' <<END
$plan
==
$locals
==
$1
END
    ) || return 0
    [ -z "$found" ] || die "$found"
}
iptables_dnat_awk='
/ -j DNAT / {
    proto = ports = ""; address = "*"
    for (i = 3; i < NF; i++) {
        if ($i == "-p") proto = $(i + 1)
        if ($i == "--dport" || $i == "--dports") ports = $(i + 1)
        if ($i == "-d" && $(i - 1) != "!") { address = $(i + 1); sub(/[/](32|128)$/, "", address) }
    }
    who = ($2 ~ /^DOCKER/) ? "Docker" : ($2 ~ /^CNI-/) ? "the CNI plugin portmap" : ($2 ~ /^KUBE/) ? "Kubernetes" : "another program"
    count = split(ports, list, ",")
    for (i = 1; i <= count; i++) {
        split(list[i], edge, ":")
        print proto, (tool == "iptables" ? 4 : 6), edge[1], (edge[2] == "" ? edge[1] : edge[2]), address, who " (chain " $2 " of " tool ")"
    }
}'

# Where iptables drops what is forwarded (Docker and ufw turn that on, maybe after us), it is told of our bridge. With "look" it is
# only said that it should be, in "wrong".
accept_forwarding() { # [look]
    only=\${1:-}
    wrong=
    for tool in iptables ip6tables; do
        [ $tool = iptables ] || [ -n "$ip6" ] || continue
        has $tool || continue
        has_tables $tool filter || has dockerd || has ufw || continue
        rules=$(limited 3 $tool -w 2 -S FORWARD 2>&1) || {
            status=$?
            case $status in 4 | 124 | 137) failed $status "$tool" "$rules" ;; esac
            continue
        }
        case $rules in *'-P FORWARD ACCEPT'*) has dockerd || has ufw || continue ;; esac
        case $rules in *"-A FORWARD -i $bridge -m comment --comment pulumi-containerd -j ACCEPT"*) ;; *) accept $tool -i "$bridge" ;; esac
        case $rules in
        *"-A FORWARD -o $bridge -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -m comment --comment pulumi-containerd -j ACCEPT"*) ;;
        *) accept $tool -o "$bridge" -m conntrack --ctstate RELATED,ESTABLISHED,DNAT ;;
        esac
    done
}
accept() { # TOOL MATCH...
    tool=$1; shift
    [ -z "$only" ] || { wrong="$tool does not let through what is forwarded to or from the bridge $bridge"; return 0; }
    said=$(limited 3 "$tool" -w 2 -I FORWARD "$@" -m comment --comment pulumi-containerd -j ACCEPT 2>&1) || failed $? "$tool" "$said"
}
forget_forwarding() {
    for tool in iptables ip6tables; do
        has $tool && has_tables $tool filter || continue
        rules=$(limited 3 $tool -w 2 -S FORWARD 2>/dev/null) || continue
        IFS=$newline
        for rule in $rules; do
            case $rule in "-A FORWARD -"[io]" $bridge "*'--comment pulumi-containerd '*) ;; *) continue ;; esac
            unset IFS
            limited 3 $tool -w 2 -D \${rule#-A } 2>/dev/null
            IFS=$newline
        done
        unset IFS
    done
}
`;
