/**
 * The script that makes a Debian or Ubuntu machine a worker: `bootstrap.sh [USER [SOCKET]]`, as root. It can be run again: what is
 * as it should be is left alone. Nothing of ours is installed. It prints a line for each thing, `changed:` before what it did,
 * and ends with status 1 and a sentence when something could not be done.
 *
 * - Packages: containerd, runc, the CNI plugins (for Networks of driver cni), iproute2, nftables, conntrack, util-linux, mawk,
 *   perl-base; only those whose commands are missing, so that a containerd from elsewhere stays. For USER also sudo and socat.
 * - containerd's restart monitor looks every second: a drop-in file of containerd's `imports`. Debian's config has no such line
 *   (Ubuntu has no config): it is added before the first table, after a copy was kept. containerd itself reads the new files
 *   before they count, and is restarted only if they changed; containers go on meanwhile.
 * - containerd is started at boot.
 * - sshd lets root's connections reach containerd's socket, by a drop-in file, if it did not. Nothing for USER: its way is a command.
 * - USER, where one is named: made if missing, without a password, and allowed to run exactly one command as root, by sudo.
 *
 * No sysctl: the script that makes a network turns forwarding on.
 */
export const BOOTSTRAP_SCRIPT = `
set -eu
LC_ALL=C; PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
DEBIAN_FRONTEND=noninteractive
export LC_ALL PATH DEBIAN_FRONTEND
user=\${1:-} socket=\${2:-/run/containerd/containerd.sock}
failed=

say() { printf '%s\\n' "$*"; }
die() { printf 'bootstrap: %s\\n' "$*" >&2; exit 1; }
# What does not hinder the rest.
complain() { failed=yes; printf 'bootstrap: %s\\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }
has_systemd() { [ -d /run/systemd/system ]; }

id=$(sed -n 's/^ID=//p' /etc/os-release | tr -d '"')
version=$(sed -n 's/^VERSION_ID=//p' /etc/os-release | tr -d '"')
case "$id $version" in
'debian 12' | 'debian 13' | 'ubuntu 22.04' | 'ubuntu 24.04') ;;
*) die "this prepares Debian 12 and 13, Ubuntu 22.04 and 24.04, and this is $id $version: see docs/nodes.md for what a worker needs" ;;
esac
[ "$(id -u)" = 0 ] || die "wants to be run as root"
case $user in *[!a-z0-9_-]* | [!a-z_]*) die "$user is no name for a user" ;; esac
case $socket in *[!A-Za-z0-9/._-]* | [!/]*) die "$socket is no path for a socket" ;; esac

# 1. Packages
missing=
need() { has "$1" || missing="$missing $2"; }
need containerd containerd
need runc runc
[ -x /usr/lib/cni/bridge ] || [ -x /opt/cni/bin/bridge ] || missing="$missing containernetworking-plugins"
need ip iproute2
need nft nftables
need conntrack conntrack
need unshare util-linux
need awk mawk
need perl perl-base
if [ -n "$user" ]; then need sudo sudo; need socat socat; need useradd passwd; fi
if [ -n "$missing" ]; then
    set -- -q -y -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confold
    timeout -k 5 300 apt-get "$@" update >/dev/null || say "apt-get update failed: goes on with the lists that are there"
    # shellcheck disable=SC2086
    said=$(timeout -k 5 900 apt-get "$@" install --no-install-recommends $missing 2>&1) || {
        printf '%s\\n' "$said" | tail -n 20 >&2
        die "these packages could not be installed:$missing"
    }
    say "changed: installed$missing"
else
    say "packages: all there"
fi

# 2. The restart monitor's interval
config=/etc/containerd/config.toml
folder=/etc/containerd/conf.d
# This name and version are understood by containerd 1.6 to 2.x.
drop_in() {
    printf '%s\\n' '# Written by pulumi-containerd bootstrap: a container that ends is started again within a second.' \\
        'version = 2' '[plugins."io.containerd.internal.v1.restart"]' '  interval = "1s"'
}
# What containerd makes of a config; without an argument, of its own. Empty when it does not understand it.
interval_of() {
    timeout -k 1 20 containerd \${1:+--config "$1"} config dump 2>/dev/null </dev/null | awk '
        /^[ \\t]*\\[/ { inside = ($0 ~ /[.]restart["\\047]?\\]/); next }
        inside && $1 == "interval" { gsub(/["\\047]/, "", $3); print $3; exit }'
}
is_short() { case $1 in 1s | *ms) return 0 ;; *) return 1 ;; esac; }

# The config with the drop-in folder among its imports, on stdout. Fails where that cannot be done safely.
with_imports() {
    if [ ! -e "$config" ]; then
        printf 'version = 2\\nimports = ["%s/*.toml"]\\n' "$folder"
        return
    fi
    awk -v pattern="$folder/*.toml" '
        function insert() { print "imports = [\\"" pattern "\\"]"; done = 1 }
        # Of version 1 there is no telling what names of plugins mean beside those of version 2.
        !done && /^[ \\t]*\\[/ { if (version < 2) exit bad = 1; insert() }
        !done && /^[ \\t]*version[ \\t]*=/ { version = $0; gsub(/[^0-9]/, "", version) }
        !done && /^[ \\t]*imports[ \\t]*=/ {
            # A list of one line gets another member; what else there may be is left to people.
            if ($0 !~ /=[ \\t]*\\[[^][]*\\][ \\t]*(#.*)?$/) exit bad = 1
            empty = ($0 ~ /=[ \\t]*\\[[ \\t]*\\]/)
            sub(/=[ \\t]*\\[/, "= [\\"" pattern "\\"" (empty ? "" : ", "))
            done = 1
        }
        { print }
        END { if (bad || version < 2) exit 1; if (!done) insert() }' "$config"
}

restart=
set_interval() {
    is_short "$(interval_of)" && { say "restart monitor: looks every $(interval_of)"; return; }
    mkdir -p "$folder"
    drop_in >"$folder/pulumi-containerd.toml.new"
    mv -f "$folder/pulumi-containerd.toml.new" "$folder/pulumi-containerd.toml"
    if ! is_short "$(interval_of)"; then
        if ! with_imports >"$config.new" || ! is_short "$(interval_of "$config.new")"; then
            rm -f "$config.new" "$folder/pulumi-containerd.toml"
            complain "the restart monitor's interval was left as it is, because $config cannot be changed safely: set interval = \\"1s\\" under [plugins.\\"io.containerd.internal.v1.restart\\"] yourself (containerd 2.x: \\"io.containerd.monitor.container.v1.restart\\"), and restart containerd"
            return
        fi
        if [ -e "$config" ]; then
            chmod --reference="$config" "$config.new"
            [ -e "$config.before-pulumi-containerd" ] || cp -p "$config" "$config.before-pulumi-containerd"
        fi
        mv -f "$config.new" "$config"
        say "changed: $config imports $folder/*.toml"
    fi
    say "changed: the restart monitor looks every second ($folder/pulumi-containerd.toml)"
    restart=yes
}
set_interval

# 3. containerd runs, and is started at boot
run_systemctl() { # COMMAND WHAT-IT-DID
    if timeout -k 5 90 systemctl --quiet "$1" containerd; then say "changed: $2"
    else complain "systemctl $1 containerd failed: see systemctl status containerd"; fi
}
if has_systemd; then
    if systemctl is-enabled --quiet containerd; then say "boot: containerd is started"
    else run_systemctl enable "containerd is started at boot"; fi
    if ! systemctl is-active --quiet containerd; then run_systemctl start "containerd started"
    elif [ -n "$restart" ]; then run_systemctl restart "containerd restarted; containers went on"
    else say "containerd: runs"; fi
else
    complain "systemd does not run here: containerd was neither started nor set to start at boot"
fi

# 4. sshd
forwards() { ! sshd -T 2>/dev/null </dev/null | grep -q -x -e 'allowstreamlocalforwarding \\(no\\|remote\\)' -e 'disableforwarding yes'; }
if [ -z "$user" ] && has sshd && ! forwards; then
    file=/etc/ssh/sshd_config.d/00-pulumi-containerd.conf
    mkdir -p /etc/ssh/sshd_config.d
    printf '%s\\n' '# Written by pulumi-containerd bootstrap: connections may reach containerd'"'"'s socket.' \\
        'DisableForwarding no' 'AllowStreamLocalForwarding yes' >"$file"
    if sshd -t 2>/dev/null && forwards; then
        say "changed: sshd forwards to unix sockets ($file)"
        if has_systemd; then systemctl reload ssh || complain "sshd could not be reloaded: systemctl reload ssh"; fi
    else
        rm -f "$file"
        complain "sshd forbids forwarding to unix sockets in a way that a file in sshd_config.d does not change: set AllowStreamLocalForwarding yes yourself"
    fi
elif [ -z "$user" ] && has sshd; then
    say "sshd: forwards to unix sockets"
fi

# 5. The user
if [ -n "$user" ]; then
    if id "$user" >/dev/null 2>&1; then say "user: $user is there"
    else
        useradd --create-home --shell /bin/sh "$user" || die "the user $user could not be made"
        say "changed: user $user made, without a password: put a key into its ~/.ssh/authorized_keys"
    fi
    file=/etc/sudoers.d/pulumi-containerd-$user
    line="$user ALL=(root) NOPASSWD: $(command -v socat) - UNIX-CONNECT\\\\:$socket"
    if [ -e "$file" ] && [ "$(cat "$file")" = "$line" ]; then
        say "sudo: $user may open $socket"
    else
        (umask 227 && rm -f "$file.new~" && printf '%s\\n' "$line" >"$file.new~")
        if visudo -cqf "$file.new~"; then
            mv -f "$file.new~" "$file"
            say "changed: $user may open $socket by sudo ($file)"
        else
            rm -f "$file.new~"
            complain "sudo does not take the line for $user: $line"
        fi
    fi
fi
[ -z "$failed" ]
`;
