/**
 * The gate: whether a container may start now, and how a start is refused. containerd's restart monitor starts what has ended at
 * every round, for ever, and before 1.7 whatever the exit status was. Its logger runs before runc but cannot fail a start; so it
 * decides, and leaves a mark in the bundle's folder, else the reason; and a `createRuntime` hook lets only what has the mark
 * pass. What the hook prints reaches whoever asked for the start, through runc's and containerd's words: `refusal` finds it.
 *
 * As with Docker, what ran for ten seconds has come up. What ended before waits: restarts 1 and 2 in a row not at all, the third
 * until 1 s after the last start, then 2, 4 and so on, at most 60 s. A start of ours (`FRESH_LOG_URI`) never waits and counts
 * from nothing, and so does the first one after a boot.
 */
import { EXIT_STATUS_SCRIPT } from "./exit-status.pl";

/** File in the bundle that lets a start pass. Whatever starts a container of ours with another logger has to make it. */
export const READY_MARK = "ensured";
/** File in the bundle whose first line says why not. */
const REASON = "refused";

/** Stands before our reason in the runtime's long text. */
const SAID = "pulumi-containerd refuses the start: ";
const SILENT = "its logger did not say that it is ready (see containerd's log on the node)";

/** The hook: runs in the bundle's folder, starts no process: a shell's own commands do all. */
export const GATE_HOOK = [
    `[ -e ${READY_MARK} ] && exit 0`,
    "why=",
    `[ -e ${REASON} ] && IFS= read -r why <${REASON}`,
    `printf '%s\\n' "${SAID}\${why:-${SILENT}}" >&2`,
    "exit 1",
].join("\n");

/**
 * Our reason in what the runtime says of a start that failed; undefined where it was not the gate that refused. Pure.
 *
 * @example
 * refusal("… exit status 1, stdout: , stderr: pulumi-containerd refuses the start: no bridge: unknown") // "no bridge"
 */
export function refusal(said: string): string | undefined {
    const start = said.lastIndexOf(SAID);
    if (start < 0) return undefined;
    const [line = ""] = said.slice(start + SAID.length).split("\n");
    return line.replace(/(: unknown)+\s*$/, "").trim();
}

/**
 * Shell functions for the logger, which runs in the bundle's folder, and whose variables they use: `folder` (the container's
 * own), `fresh` (set for a start of ours), `policy` (`on-failure:N` where that is ours to keep).
 *
 * What is known of the last start lies in `starts` (boot, time, starts in a row that came to nothing, failures), of its end in
 * `ended`. Both are written in place, since then a full disk has room for them.
 */
export const GATE_FUNCTIONS = `
pass() { echo >${READY_MARK}; }
# One line, nothing in it that is no text.
refuse() { printf '%s' "$*" | tr -s '\\000-\\037\\177' ' ' | head -c 400 >${REASON}; echo >>${REASON}; }
write() { printf '%-119s\\n' "$2" 1<>"$1"; }

# Seconds since the boot, and which boot that was: a node that is a container boots with its process 1.
clock() {
    read -r boot </proc/sys/kernel/random/boot_id
    read -r stat </proc/1/stat
    set -- \${stat##*) }
    boot=$boot.\${20}
    read -r time _ </proc/uptime
    now=\${time%.*}
}
# Whether process $1 lives and has the parent $2.
is_child() {
    read -r stat <"/proc/$1/stat" || return
    set -- "$2" \${stat##*) }
    [ "$3" = "$1" ] && [ "$2" != Z ]
}

# Whether the container may start. Refuses, with "over" set if for good.
admit() {
    over= count=0 failures=0 last_boot= last=0
    clock
    case $policy in on-failure:*)
        command -v perl >/dev/null || { refuse "restart: $policy needs perl on the node"; return 1; } ;;
    esac
    [ -f "$folder/starts" ] && [ -z "$fresh" ] || return 0
    read -r last_boot last count failures _ <"$folder/starts"
    case $count$failures\${last%.*} in *[!0-9]*) count=0 failures=0 last_boot= last=0 ;; esac
    case $policy in on-failure:*) spared || { over=1; return 1; } ;; esac
    [ "$last_boot" = "$boot" ] || count=0
    delay=0
    if [ "$count" -ge 9 ]; then delay=60; elif [ "$count" -ge 3 ]; then delay=$((1 << (count - 3))); fi
    left=$((\${last%.*} + delay - now))
    [ "$left" -gt 0 ] && [ "$left" -le "$delay" ] || return 0
    refuse "back off: ended $count times in a row within 10 s of its start, next start in $left s"
    return 1
}
# Whether on-failure lets it start once more. An end that a boot kept from being seen is none of its own. Status "none": it did
# not come to a start.
spared() {
    run= status=
    [ ! -f "$folder/ended" ] || read -r run status _ <"$folder/ended"
    [ "$run" = "$last_boot/$last" ] || status=
    if [ "$status" = 0 ]; then refuse "ended with status 0, and restarts $policy only"; return 1; fi
    [ "$status" != none ] || return 0
    [ "$last_boot" = "$boot" ] || [ -n "$status" ] || return 0
    failures=$((failures + 1))
    [ "\${policy#*:}" -eq 0 ] || [ "$failures" -le "\${policy#*:}" ] && return 0
    refuse "failed $failures times, last with status \${status:-unknown}, and restarts $policy only"
    return 1
}
# Tells the monitor that it is over, so that it does not try for ever. ctr lies beside the shim.
tell_monitor() {
    shim=$(readlink "/proc/$PPID/exe")
    address=$(tr '\\0' '\\n' <"/proc/$PPID/environ" | sed -n 's/^TTRPC_ADDRESS=\\(.*\\)\\.ttrpc$/\\1/p')
    limited 5 "\${shim%/*}/ctr" --address "$address" --namespace "$CONTAINER_NAMESPACE" containers label "$CONTAINER_ID" containerd.io/restart.status=stopped
}

# Writes down a start.
note_start() {
    clock
    count=$((count + 1))
    [ -d "$folder" ] || limited 2 mkdir -p "$folder"
    write "$folder/starts" "$boot $time $count $failures"
}
# Watches what it comes to: "timer" and "waiter" are processes that end with the container's, and that "unwatch" ends.
watch() {
    (
        trap 'kill "$nap"; exit' TERM
        sleep 10 & nap=$!
        wait "$nap" || exit
        read -r pid <init.pid # without an end of line, so it fails
        is_child "$pid" "$PPID" || exit
        read -r last_boot last _ failures _ <"$folder/starts"
        [ "$last_boot $last" = "$boot $time" ] && write "$folder/starts" "$boot $time 0 $failures"
    ) </dev/null >/dev/null 2>&1 3<&- 4<&- &
    timer=$! waiter=
    case $policy in on-failure:*)
        perl -e '${EXIT_STATUS_SCRIPT}' "$CONTAINER_ID" "$boot/$time" "$folder/ended" </dev/null >/dev/null 2>&1 3<&- 4<&- &
        waiter=$! ;;
    esac
}
unwatch() {
    # The answer may be just on its way.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -n "$waiter" ] && is_child "$waiter" $$ || break
        sleep 0.1
    done
    for process in $timer $waiter; do ! is_child "$process" $$ || kill "$process"; done
}
`;
