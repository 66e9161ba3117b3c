/**
 * Shell functions for names: `hosts` of everybody on the network, and `resolv.conf`. Who is on a network stands in records, one file
 * each below our folder, which live through a reboot.
 *
 * A record's lines: `host ADDRESS NAME...`, `head LINE` (what stands first in its `hosts`), `old KEY` (its predecessor, whose names
 * are not yet its own) or `took KEY` (they are).
 *
 * The files are bind-mounted into containers: they are written in place, without being shorter for a moment, and only when changed.
 * A container may have written into its own; nothing is read out of them but whether they are as they should be.
 */
export const NAMES = `
records=$state/networks/$network
[ -n "$network" ] || records=

# Sets "changes": a line for each file that is not as it should be, PATH, a tab and its new text for printf %b.
compare_names() { # The own record, or nothing when it goes
    own_record=$1
    set --
    hosts=
    for other in "$folder/hosts" "$folder/resolv.conf"; do [ ! -e "$other" ] || hosts=$hosts$newline$other; done
    if [ -n "$records" ]; then
        set +f
        for other in "$records"/[A-Za-z0-9]*; do
            [ -e "$other" ] || continue
            set -- "$@" "$other"
            [ "$other" = "$records/$key" ] || hosts=$hosts$newline$state/\${other##*/}/hosts
        done
        set -f
    fi
    IFS=$newline
    sizes= status=0
    [ -z "$hosts" ] || { sizes=$(limited 2 stat -c '%s %n' $hosts 2>/dev/null); status=$?; }
    unset IFS
    case $status in 124 | 137) failed $status "stat, looking at names" ;; esac
    changes=$(sizes=$sizes own_record=$own_record resolv=$resolv limited 3 awk -v key="$key" -v state="$state" \\
        -v going="$going" -v kept="$records" "$names_awk" /dev/null "$@") || failed $? "awk, writing names" "$changes"
}
names_awk='
function line(k, text,   space, kind) {
    space = index(text, " "); kind = substr(text, 1, space - 1); text = substr(text, space + 1)
    if (kind == "host") hosts[k, ++host_count[k]] = text
    else if (kind == "head") head[k] = head[k] text "\\n"
    else if (kind == "old") old[k] = text
    else if (kind == "took") taken[text] = 1
}
function named(k, name,   i, j, words, count) {
    for (i = 1; i <= host_count[k]; i++) {
        count = split(hosts[k, i], words, " ")
        for (j = 2; j <= count; j++) if (words[j] == name) return 1
    }
    return 0
}
# Lines of k that others see, or that it sees itself.
function lines(k, itself,   i, j, words, count, kept, text) {
    if (!itself && (k in taken)) return ""
    for (i = 1; i <= host_count[k]; i++) {
        count = split(hosts[k, i], words, " "); kept = ""
        for (j = 2; j <= count; j++)
            if (itself || !(k in old) || !named(old[k], words[j])) kept = kept (kept == "" ? "" : " ") words[j]
        if (kept != "") text = text words[1] "\\t" kept "\\n"
    }
    return text
}
function compare(file, text,   now, row, pad) {
    if ((file in size) && size[file] <= 1048576) {
        while ((getline row <file) > 0) now = now row "\\n"
        close(file)
        sub(/\\n+$/, "\\n", now)
        if (now == text) return
        for (pad = size[file] - length(text); pad > 0; pad--) text = text "\\n"
    }
    gsub(/\\\\/, "\\\\\\\\", text); gsub(/\\t/, "\\\\t", text); gsub(/\\n/, "\\\\n", text)
    print file "\\t" text
}
# A record without what it says about a predecessor that is gone.
function living(text,   rows, count, i, words, kept) {
    count = split(text, rows, "\\n")
    for (i = 1; i <= count; i++) {
        split(rows[i], words, " ")
        if ((words[1] != "old" && words[1] != "took") || (words[2] in present)) kept = kept rows[i] "\\n"
    }
    return kept
}
BEGIN {
    count = split(ENVIRON["sizes"], rows, "\\n")
    for (i = 1; i <= count; i++) size[substr(rows[i], index(rows[i], " ") + 1)] = substr(rows[i], 1, index(rows[i], " ") - 1) + 0
    if (ENVIRON["own_record"] != "") {
        keys[++n] = key
        count = split(ENVIRON["own_record"], rows, "\\n")
        for (i = 1; i <= count; i++) line(key, rows[i])
    }
}
FNR == 1 { k = FILENAME; sub(/.*[/]/, "", k); present[k] = 1; if (k != key) keys[++n] = k }
k == key { stored = stored (stored == "" ? "" : "\\n") $0; next }
{ line(k, $0) }
END {
    if (kept != "" && living(stored) != living(ENVIRON["own_record"])) print "record"
    if (going == "") {
        compare(state "/" key "/resolv.conf", ENVIRON["resolv"] "\\n")
    }
    # All that write a file write the same.
    for (i = 2; i <= n; i++) for (j = i; j > 1 && keys[j - 1] > keys[j]; j--) { k = keys[j]; keys[j] = keys[j - 1]; keys[j - 1] = k }
    for (i = 1; i <= n; i++) {
        file = state "/" keys[i] "/hosts"
        # Of those that are not made yet.
        if (keys[i] != key && !(file in size)) continue
        text = head[keys[i]] lines(keys[i], 1)
        for (j = 1; j <= n; j++) if (j != i) text = text lines(keys[j], 0)
        compare(file, text)
    }
}'

apply_names() {
    IFS=$newline
    for change in $changes; do
        case $change in record) continue ;; esac
        # <> does not cut the file: its new text has at least its old length.
        printf '%b' "\${change#*"$tab"}" 1<>"\${change%%"$tab"*}" || die "\${change%%"$tab"*} cannot be written: is the disk full?"
    done
    unset IFS
}
lock_records() {
    { [ -d "$records" ] || mkdir -p "$records"; } && exec 7<"$records" || die "$records cannot be made"
    flock -w 3 7 || die "the names of the network are locked by another command: try again"
}

make_record() {
    record=
    if [ -n "$old" ]; then if [ "$1" = take ]; then record="took $old_key"; else record="old $old_key"; fi; fi
    for address in $named_addresses; do record=$record\${record:+"$newline"}"host $address $names"; done
    IFS=$newline
    for text in $hosts_head; do record=$record\${record:+"$newline"}"head $text"; done
    unset IFS
}

write_names() { # ensure or take
    going= resolv=
    make_resolv
    make_record "$1"
    # Without a lock first, where nothing should change.
    if [ -z "$records" ] || [ -e "$records/$key" ]; then
        compare_names "$record"
        [ -n "$changes" ] || return 0
    fi
    if [ -n "$records" ]; then
        lock_records
        compare_names "$record"
        { printf '%s\\n' "$record" >"$records/~$key" && mv -f "$records/~$key" "$records/$key"; } || die "$records cannot be written: is the disk full?"
    fi
    apply_names
    exec 7<&-
}
remove_names() {
    [ -n "$records" ] && [ -e "$records" ] || return 0
    lock_records
    rm -f "$records/$key" "$records/~$key"
    going=yes resolv=
    compare_names ""
    apply_names
    rmdir "$records" "$state/networks" 2>/dev/null
    exec 7<&-
}

# Sets "resolv": the servers that were given, else the node's, without those that only the node itself can reach.
make_resolv() {
    servers=$dns_servers search=$dns_search options=$dns_options
    node_servers= node_search= node_options=
    read_resolv /etc/resolv.conf
    case " $node_servers" in *[!\\ ]*) ;; *) node_search= node_options=; read_resolv /run/systemd/resolve/resolv.conf ;; esac
    [ -n "$servers" ] || servers=$node_servers
    [ -n "$search" ] || search=$node_search
    [ -n "$options" ] || options=$node_options
    resolv="# Written by pulumi-containerd."
    for server in $servers; do resolv=$resolv\${newline}"nameserver $server"; done
    set -- $search; [ $# -eq 0 ] || resolv=$resolv\${newline}"search $*"
    set -- $options; [ $# -eq 0 ] || resolv=$resolv\${newline}"options $*"
}
read_resolv() {
    [ -r "$1" ] || return 0
    while read -r word rest; do
        rest=\${rest%%[#;]*}
        case "$word $rest" in
        'nameserver 127.'* | 'nameserver ::1'*) ;;
        'nameserver '*) node_servers="$node_servers \${rest%% *}" ;;
        'search '* | 'domain '*) node_search=$rest ;;
        'options '*) node_options=$rest ;;
        esac
    done <"$1"
}
`;
