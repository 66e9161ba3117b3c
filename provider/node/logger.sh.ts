/**
 * The script that a node runs for each task: it makes ready what the container needs, says so, and then is its logger.
 *
 * It is started by the shim through `LOG_URI` and needs dash, coreutils and sed, nothing of ours. Its settings stand before
 * it as variables: `folder`, `log`, `driver` (`file` or `none`), `max_size` (bytes of a file), `max_files` (the current one
 * included), `network` (the script to be run before, or
 * empty), and those of the log URI (`logUri`). What it keeps to:
 *
 * - The application comes first. Whatever happens to a disk, a folder or a part of the logger, the output goes on being
 *   read; what can't be written is thrown away, and writing resumes when it can.
 * - Bytes stay as they are, and each is in the file at once: it copies by `cat` and `dd`, reads no lines, buffers nothing.
 * - It ends by itself when both streams have ended and all is written, and only then: containerd sends SIGTERM on the
 *   deletion of a task and then waits for it, 10 s at most.
 *
 * `dd` counts reads, not bytes. So each `dd` gets a block size and a count whose product the file still has room for, and
 * the number of reads that it reports tells the end of the stream from a file that is full.
 */
import { GATE_FUNCTIONS } from "./gate.sh";

export const LOGGER_SCRIPT = `${GATE_FUNCTIONS}
umask 027
LC_ALL=C; export LC_ALL PATH

limited() { limit=$1; shift; timeout -k 1 "$limit" "$@" </dev/null 3<&- 4<&- 5>&-; }

# Ensures the network, which says in ensure.log what it does. How much that is, is limited too: /run is memory.
ensure() {
    [ -n "$network" ] || return 0
    [ -f "$network" ] || { refuse "the script of its network is gone: $network"; return 1; }
    (ulimit -f 32768; limited 20 sh "$network" ensure) >ensure.log 2>&1
    status=$?
    [ ! -s ensure.log ] || { tail -c 4096 ensure.log >ensure.new && mv ensure.new ensure.log; }
    [ "$status" -ne 0 ] || return 0
    why=$(sed -n '/[^[:space:]]/h; \${ x; p; }' ensure.log | tail -c 300)
    case $status in 124 | 137)
        why="its network was not ensured within 20 s, or killed, and said last: \${why:-nothing}"
        # Each such attempt holds up the restarts of the whole node: it waits like what ends at once, but has not failed.
        note_start
        write "$folder/ended" "$boot/$time none" ;;
    esac
    refuse "\${why:-its network could not be ensured: status $status}"
    return 1
}

# Copies a stream to standard output until it ends, whatever becomes of cat. The trap is for a shell that cannot fork.
relay() {
    exec <&"$1" 3<&- 4<&-
    trap 'exec cat >/dev/null' EXIT
    failures=0
    until cat; do failures=$((failures + 1)); [ "$failures" -lt 5 ] || exit; done
    trap - EXIT
}
streams() { relay 4 & relay 3; wait; }

# Makes room for at least a byte, rotating if need be, and leaves the file's size in "size". The container's folder is not
# made again: when it is gone, so is the container.
make_room() {
    [ -d "$folder/log" ] || mkdir "$folder/log" || return
    if [ -L "$log" ] || [ ! -f "$log" ]; then rm -f "$log"; fi
    size=$(stat -c %s "$log") || size=0
    [ "$size" -ge "$max_size" ] || return 0
    number=$max_files
    while [ "$number" -gt 2 ]; do
        number=$((number - 1))
        mv -fT "$log.$((number - 1))" "$log.$number"
    done
    if [ "$max_files" -gt 1 ]; then mv -fT "$log" "$log.1"; else rm -f "$log"; fi && size=0
}

# Copies to the file until it is full or "asked" reads are done; "reads" is how many there were. A killed dd is no failure.
append() {
    block=$((max_size - size)); [ "$block" -le 8192 ] || block=8192
    asked=$(((max_size - size) / block)); [ "$asked" -le 1024 ] || asked=1024
    said=$(dd bs="$block" count="$asked" 2>&1 >>"$log") || { [ $? -gt 128 ] && reads=$asked; return; }
    reads=\${said%% records in*}; reads=\${reads##*[!0-9+]}; reads=$((\${reads%+*} + \${reads#*+}))
}

# Throws away what comes next, and then all that comes in two seconds. Fails at the end of the stream.
drop() {
    lost=\${lost:-$(date -u +%Y-%m-%dT%H:%M:%SZ)}
    case $(dd bs=65536 count=1 2>&1 >/dev/null) in 0+0*) return 1 ;; esac
    ! timeout -s KILL 2 cat >/dev/null
}
note_lost() {
    [ -n "$lost" ] || return 0
    printf '\\n[pulumi-containerd: output since %s is lost: the log could not be written]\\n' "$lost" >>"$log" && lost=
}

write_files() {
    exec 3<&- 4<&- 2>/dev/null
    trap 'exec cat >/dev/null' EXIT
    limited 2 mkdir -p "$folder/log"
    lost= number=$max_files
    while [ -e "$log.$number" ]; do rm -f "$log.$number" || break; number=$((number + 1)); done
    while :; do
        if make_room && note_lost && append; then [ "$reads" -eq "$asked" ] || break; else drop || break; fi
    done
    trap - EXIT
}

# containerd could not remove this bundle beside what it has forgotten of the last one (lifecycle/bundle.ts).
forgotten=../.\${PWD##*/}
[ "$forgotten" = ../. ] || [ ! -d "$forgotten" ] || rm -rf --one-file-system "$forgotten" 2>/dev/null

# The bundle's folder is new for each start. With a terminal the process is made before its logger: too late to refuse it.
ready= over= count=0 failures=0
if [ -e init.pid ] || { admit && ensure; }; then note_start; pass && ready=1; fi 2>/dev/null
# While the start is under way: a later one must not be told so.
[ -z "$over" ] || tell_monitor >/dev/null 2>&1
exec 5>&-
if [ -z "$ready" ]; then
    # Nothing will run, or at least nothing that should.
    cat <&4 >/dev/null 3<&- &
    exec cat <&3 >/dev/null 4<&-
fi
watch

trap '' HUP INT TERM
if [ "$driver" = none ]; then streams >/dev/null & else streams | write_files & fi
exec 3<&- 4<&-
wait $!
unwatch 2>/dev/null
exit 0
`;
