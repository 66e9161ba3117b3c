/** The commands that are looked for. */
// prettier-ignore
export const TOOLS = ["ip", "ss", "nft", "conntrack", "unshare", "nsenter", "flock", "timeout", "awk", "perl", "socat"] as const;

/**
 * The script that asks a machine what it has: `survey.sh PATH-OF-CONTAINERD'S-SOCKET` prints `key=value` lines.
 *
 * It needs a POSIX shell and what every Linux has; a command that is missing, fails or hangs is a key that is missing. Nothing
 * is changed on the machine, nothing is listed that may be long but the folder of CNI plugins and the names of processes.
 * `sudo` is asked only by who is not root, and never for a password.
 */
export const SURVEY_SCRIPT = `
LC_ALL=C; PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export LC_ALL PATH
socket=$1
say() { [ -z "$2" ] || printf '%s=%s\\n' "$1" "$2"; }
has() { command -v "$1" >/dev/null 2>&1; }
now=$(date +%s)
say clock.start "$now"

# Runs a command for at most 4 s, and not at all once 12 s are over: a sick machine answers in part, and soon.
deadline=$((now + 12))
limited() {
    left=$((deadline - $(date +%s)))
    [ "$left" -gt 0 ] || return 124
    [ "$left" -lt 4 ] || left=4
    if has timeout; then timeout -k 1 "$left" "$@"; else "$@"; fi </dev/null 2>/dev/null
}

uid=$(id -u)
say user "$(id -un 2>/dev/null)"
say uid "$uid"
root=
if [ "$uid" != 0 ] && has sudo && limited sudo -n true >/dev/null; then root='sudo -n'; say sudo yes; fi

say kernel "$(uname -r)"
say architecture "$(uname -m)"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then say cgroup 2; elif [ -d /sys/fs/cgroup/memory ]; then say cgroup 1; fi
for release in /etc/os-release /usr/lib/os-release; do
    [ -r "$release" ] || continue
    sed -n -e 's/^ID=/os.id=/p' -e 's/^VERSION_ID=/os.version=/p' -e 's/^PRETTY_NAME=/os.name=/p' "$release"
    break
done
say cpus "$(getconf _NPROCESSORS_ONLN 2>/dev/null || nproc 2>/dev/null)"
say memory "$(sed -n 's/^MemTotal: *\\([0-9]*\\) kB$/\\1/p' /proc/meminfo)"

for tool in ${TOOLS.join(" ")}; do
    say "tool.$tool" "$(command -v "$tool" 2>/dev/null)"
done
for folder in /usr/lib/cni /opt/cni/bin; do
    [ -x "$folder/bridge" ] || { [ "$folder" = /opt/cni/bin ] && [ -d "$folder" ]; } || continue
    say cni "$folder"
    say cni.plugins "$(limited ls -1 "$folder" | tr '\\n' ' ')"
    break
done

if [ -S "$socket" ]; then
    if [ -r "$socket" ] && [ -w "$socket" ]; then say socket open; else say socket denied; fi
elif [ -e "$socket" ]; then say socket other
elif [ -x "\${socket%/*}" ] || [ ! -e "\${socket%/*}" ]; then say socket absent
fi

# The value of a key of a table of a containerd config on stdin. $1: expression for the table's header; empty: before all tables.
value_of() {
    awk -v table="$1" -v key="$2" '
        /^[ \\t]*\\[/ { inside = table != "" && $0 ~ table; seen = 1; next }
        (table == "" ? !seen : inside) && $1 == key && $2 == "=" { gsub(/["\\047]/, "", $3); print $3; exit }'
}

# Its table of the socket: up to 2.2, and since.
grpc='^[ \\t]*\\\\[grpc\\\\]|[.]server[.]v1[.]grpc["\\047]\\\\]'

# The containerd that serves the socket, by its process; should none run, the one that would.
containerd=containerd config='' address='' found=''
mine=$(readlink /proc/self/ns/mnt 2>/dev/null)
for process in /proc/[0-9]*; do
    read -r name 2>/dev/null <"$process/comm" || continue
    [ "$name" = containerd ] || continue
    # One in a container calls another file by the same name.
    theirs=$(readlink "$process/ns/mnt" 2>/dev/null)
    [ -z "$theirs" ] || [ "$theirs" = "$mine" ] || continue
    config='' address='' previous=''
    words=$(tr '\\0' '\\n' 2>/dev/null <"$process/cmdline")
    while read -r word; do
        case $previous in -c | --config) config=$word ;; -a | --address) address=$word ;; esac
        case $word in --config=*) config=\${word#*=} ;; --address=*) address=\${word#*=} ;; esac
        previous=$word
    done <<END
$words
END
    containerd=$(printf '%s\\n' "$words" | head -n 1)
    case $containerd in /*) ;; *) containerd=containerd ;; esac
    dump=$(limited "$containerd" \${config:+--config "$config"} config dump) || dump=
    [ -n "$address" ] || address=$(printf '%s\\n' "$dump" | value_of "$grpc" address)
    if [ "$address" = "$socket" ]; then found=yes; break; fi
done
if [ -z "$found" ]; then
    containerd=containerd config=''
    dump=$(limited containerd config dump) || dump=
    [ "$(printf '%s\\n' "$dump" | value_of "$grpc" address)" = "$socket" ] || dump=
fi
if has "$containerd"; then say containerd "$(limited "$containerd" --version | cut -d ' ' -f 3)"; fi
if [ -n "$dump" ]; then
    say containerd.config "\${config:-/etc/containerd/config.toml}"
    say containerd.root "$(printf '%s\\n' "$dump" | value_of '' root)"
    interval=$(printf '%s\\n' "$dump" | value_of '[.]restart["\\047]?\\\\]' interval)
    say restart.interval "\${interval:-10s}"
fi
if has runc; then say runc "$(limited runc --version | sed -n 's/^runc version //p')"; fi
if [ -d /run/systemd/system ] && has systemctl; then
    say boot "$(limited systemctl is-enabled containerd | head -n 1)"
    say active "$(limited systemctl is-active containerd | head -n 1)"
fi

# As sshd settles it for this user and this client. The one that listens may have been given a file.
if has sshd && { [ "$uid" = 0 ] || [ -n "$root" ]; }; then
    file='' process=$$
    while [ -n "$SSH_CONNECTION" ] && [ "\${process:-1}" -gt 1 ]; do
        title=$(tr '\\0' ' ' 2>/dev/null <"/proc/$process/cmdline")
        case $title in sshd:*' -f '*) file=\${title#* -f }; file=\${file%% *}; break ;; esac
        process=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$process/status" 2>/dev/null)
    done
    client=\${SSH_CONNECTION%% *}
    # shellcheck disable=SC2086
    limited $root "$(command -v sshd)" -T \${file:+-f "$file"} -C "user=$(id -un),host=\${client:-localhost},addr=\${client:-127.0.0.1}" |
        sed -n 's/^\\(allowstreamlocalforwarding\\|allowtcpforwarding\\|disableforwarding\\|maxsessions\\|maxstartups\\) /sshd.\\1=/p'
fi

# A folder's file system: of what is not there yet, that of its parent.
for folder in "$(printf '%s\\n' "$dump" | value_of '' root)" /run; do
    folder=\${folder:-/var/lib/containerd}
    place=$folder
    while [ ! -e "$place" ] && [ -n "$place" ]; do place=\${place%/*}; done
    say "disk.$folder" "$(limited df -P -k "\${place:-/}" | awk 'NR == 2 { print $2, $4 }')"
done
say clock.end "$(date +%s)"
`;
