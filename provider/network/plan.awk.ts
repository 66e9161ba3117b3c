/**
 * The decision about firewall rules, as a program of awk (it must be taken on the node, under a lock): from what is wanted and what
 * nft lists, the text of one transaction for nft. Nothing where all is well.
 *
 * Input: `wantedLines`, then `set SET ELEMENT` lines (`bridgeElements`), a line `==`, and `nft list table`. Variables: `table`,
 * `mode` (`ensure`, `take`, `remove`), `tag`, `old` (tag of the predecessor, or empty), `mark` and `rules` (of `baseRules`), `gone`
 * (`yes` when the bridge goes too).
 *
 * Lines that begin with `#` are comments to nft and signs to the script: `#base` and `#address` (the rules that all share, or those
 * of an address, are not as they should be), `#new PROTOCOL FAMILY HOST FIRST LAST` (a port that is not there), `#conflict REASON`,
 * `#moved ADDRESS` (of the predecessor, whose ports are taken), `#last` (nobody has anything in the table any more).
 *
 * No apostrophes in it: it stands in a shell's quotes.
 */
export const PLAN_AWK = `
function add(set, element) { printf "add element inet %s %s { %s }\\n", table, set, element }
function drop(i) { if (!dropped[i]++) printf "delete element inet %s %s { %s }\\n", table, in_map[i], key_of[i] }
function described(proto, from, to) { return (from == to ? "port " from "/" proto " is" : "ports " from "-" to "/" proto " are") }
function numbers(from, to) { return from == to ? from : from "-" to }
# Of udp4_c0a80001: c0a80001, else *
function host_of(map_name) { return map_name ~ /_/ ? substr(map_name, index(map_name, "_") + 1) : "*" }

# Of a map or set: KEY [comment "TAG"] [: VALUE]
function element(text,   i, value, owner, edge) {
    gsub(/^[ \\t]+|[ \\t]+$/, "", text)
    if (text == "") return
    # The colons of an IPv6 address have no blanks around them.
    if ((i = index(text, " : "))) { value = substr(text, i + 3); text = substr(text, 1, i - 1) }
    if ((i = index(text, " comment \\""))) {
        owner = substr(text, i + 10); sub(/".*/, "", owner); text = substr(text, 1, i - 1)
    }
    listed[name " " text] = 1
    if (name == "bridges") bridges[text] = 1
    if (name ~ /^addresses/) { sub(/^jump at_/, "", value); address_of[value] = text; return }
    if (name !~ /^(tcp|udp|sctp)[46]/) return
    n++
    in_map[n] = name; key_of[n] = text; tag_of[n] = owner; value_of[n] = value
    base_of[n] = name; sub(/_to$/, "", base_of[n])
    split(text, edge, "-")
    first[n] = edge[1] + 0; last[n] = (edge[2] == "" ? edge[1] : edge[2]) + 0
}

$0 == "==" { listing = 1; next }
!listing && $1 == "set" { sets++; set_name[sets] = $2; set_element[sets] = substr($0, length($2) + 6); next }
!listing && NF == 8 {
    w++
    map[w] = $1; proto[w] = $2; family[w] = $3; host[w] = $4; lo[w] = $5 + 0; hi[w] = $6 + 0; to[w] = $7; target[w] = $8
    next
}
!listing { next }
/^[ \\t]*(map|set) [^ ]+ {$/ { name = $2; chain = ""; next }
/^[ \\t]*chain [^ ]+ {$/ { chain = $2; next }
!inside && /^[ \\t]*elements = {/ { inside = 1; text = ""; sub(/^[ \\t]*elements = {/, "") }
inside {
    text = text " " $0
    if (text !~ /}/) next
    inside = 0
    sub(/}.*/, "", text)
    count = split(text, parts, ",")
    for (p = 1; p <= count; p++) element(parts[p])
    next
}
chain ~ /^at_/ && / comment "r[0-9a-f]+"$/ { address_rules[substr(chain, 4)]++ }
chain != "" && index($0, "comment \\"" mark "\\"") { base++ }

function remove_own(   i, s, h, f, p, b, others) {
    for (i = 1; i <= n; i++) {
        if (tag_of[i] == tag) { drop(i); ours[host_of(base_of[i])] = 1 }
        else { used[host_of(base_of[i])] = 1; others = 1 }
    }
    for (h in ours) {
        if (h == "*" || used[h]) continue
        f = length(h) == 8 ? 4 : 6
        if (h in address_of) printf "delete element inet %s addresses%s { %s }\\n", table, f, address_of[h]
        printf "flush chain inet %s at_%s\\ndelete chain inet %s at_%s\\n", table, h, table, h
        split("tcp udp sctp", protocols, " ")
        for (p = 1; p <= 3; p++) {
            printf "delete map inet %s %s%s_%s\\n", table, protocols[p], f, h
            printf "delete map inet %s %s%s_%s_to\\n", table, protocols[p], f, h
        }
    }
    for (s = 1; s <= sets && gone == "yes"; s++) {
        if (!listed[set_name[s] " " set_element[s]]) continue
        printf "delete element inet %s %s { %s }\\n", table, set_name[s], set_element[s]
        if (set_name[s] == "bridges") delete bridges[set_element[s]]
    }
    for (b in bridges) others = 1
    if (!others) print "#last"
}

# What is ours and wanted stays; what is ours and not wanted goes.
function compare(   i, k) {
    for (i = 1; i <= n; i++) {
        if (tag_of[i] != tag) continue
        for (k = 1; k <= w; k++) {
            if (base_of[i] != map[k] || first[i] != lo[k] || last[i] != hi[k]) continue
            if (in_map[i] == map[k] && value_of[i] == to[k]) { there[k] = 1; break }
            if (in_map[i] != map[k] && value_of[i] == target[k]) { there_to[k] = 1; break }
        }
        if (k > w) drop(i)
    }
}

# Whether others leave a wanted port to us.
function may_have(k,   i, j, one, other, from, until) {
    other = host_of(map[k])
    for (i = 1; i <= n; i++) {
        if (tag_of[i] == tag || in_map[i] != base_of[i]) continue
        if (index(in_map[i], proto[k] family[k]) != 1 || first[i] > hi[k] || lo[k] > last[i]) continue
        one = host_of(in_map[i])
        if (one != other && one != "*" && other != "*") continue
        if (old == "" || tag_of[i] != old) {
            from = first[i] > lo[k] ? first[i] : lo[k]; until = last[i] < hi[k] ? last[i] : hi[k]
            print "#conflict " described(proto[k], from, until) " published by " tag_of[i]
            return 0
        }
        if (mode != "take") return 0
        if (!said[value_of[i]]++) print "#moved " value_of[i]
        for (j = 1; j <= n; j++) if (tag_of[j] == old && base_of[j] == base_of[i] && first[j] == first[i]) drop(j)
    }
    return 1
}

END {
    if (mode == "remove") { remove_own(); exit }
    if ((w || sets) && base != rules) print "#base"
    for (k = 1; k <= w; k++) {
        h = host_of(map[k])
        if (h != "*" && !(asked[h]++) && (address_rules[h] != 6 || !(h in address_of))) print "#address"
    }
    compare()
    for (s = 1; s <= sets; s++) if (!listed[set_name[s] " " set_element[s]]) add(set_name[s], set_element[s])
    for (k = 1; k <= w; k++) {
        if (there[k] && (target[k] == "-" || there_to[k])) continue
        if (!may_have(k)) continue
        print "#new " proto[k], family[k], host[k], lo[k], hi[k]
        fresh[++fresh_count] = k
        own = " comment \\"" tag "\\" : "
        if (!there[k]) adds = adds sprintf("add element inet %s %s { %s }\\n", table, map[k], numbers(lo[k], hi[k]) own to[k])
        if (target[k] != "-" && !there_to[k])
            adds = adds sprintf("add element inet %s %s_to { %s }\\n", table, map[k], lo[k] own target[k])
    }
    printf "%s", adds
}
`;
