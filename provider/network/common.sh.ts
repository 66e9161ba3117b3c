/**
 * Shell functions that all parts of the network's script stand on: time limits, locks, the reason of a failure.
 *
 * - Every command that could hang is run by `limited`. The whole has a deadline, so however many of them hang, it is over in less
 *   than 15 s; outside, the logger waits for 20.
 * - No word is taken for a pattern of file names (\`set -f\`), but where \`set +f\` says so.
 * - What a user is told is one line, the last one on stdout: `die` prints it.
 */
export const COMMON = `
set -uf
umask 022
LC_ALL=C PATH=\${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
newline='
' tab='	'
state=/var/lib/pulumi-containerd
run=/run/pulumi-containerd
# A key holds no ~.
dir=$run/$key new=$run/$key~new
IFS=' .' read -r now _ </proc/uptime
deadline=$((now + 12))

die() { printf '%s' "$*" | tr -s '\\n\\t ' ' ' | cut -c 1-300; exit 1; }

# Runs a command for at most SECONDS and not beyond the deadline; it holds no lock.
limited() { # SECONDS COMMAND...
    IFS=' .' read -r now _ </proc/uptime
    left=$((deadline - now))
    [ "$left" -lt "$1" ] || left=$1
    shift
    [ "$left" -gt 0 ] || return 124
    timeout -k 1 "$left" "$@" 7<&- 8<&- 9<&-
}

# Why a limited command failed, by its status and what it said.
failed() { # STATUS WHAT SAID
    case $1 in
    124 | 137) die "$2 did not answer in time" ;;
    127) die "$2: the command is missing on the node" ;;
    esac
    [ -n "\${3:-}" ] || die "$2: exit status $1"
    die "$2: $3"
}

# Locks lie on folders, which stay: of the container on its own (9), of the node on ours (8).
lock() { # FD KIND FOLDER WHAT SECONDS
    flock "$2" -w "$5" "$1" && return
    holder=
    set +f
    for file in /proc/[0-9]*/fd/*; do
        [ "$file" -ef "$3" ] || continue
        pid=\${file#/proc/}
        pid=\${pid%%/*}
        [ "$pid" != $$ ] && read -r name 2>/dev/null <"/proc/$pid/comm" && holder=" (process $pid, $name)"
    done
    die "$4 is locked by another command$holder: try again"
}
lock_own() {
    [ -d "$folder" ] || die "the folder $folder is gone"
    exec 9<"$folder"
    # All members of a pod may start at once.
    lock 9 -x "$folder" "its network" 8
}
lock_node() { # -s or -x
    [ -d "$state" ] && [ -d "$run" ] || mkdir -p "$state" "$run"
    lock_kind=$1
    exec 8<"$state"
    lock 8 "$1" "$state" "the node's network" 3
}
unlock_node() { exec 8<&-; }

has() { command -v "$1" >/dev/null 2>&1; }
need() { # COMMAND PACKAGE
    has "$1" || die "the node has no command $1: install Debian's package $2 on it"
}
`;
