/**
 * Shell functions for networks whose driver is a chain of CNI plugins. Each plugin is a program that is given its configuration on
 * stdin and answers in JSON on stdout, which is handed on and not read, but for the words of a failure. On stderr it may log.
 *
 * `cni_plugins` has a line for each: its type, a blank, and its configuration without the closing brace.
 */
export const CNI = `
cni_folders='/usr/lib/cni /opt/cni/bin'
find_plugin() { # TYPE
    for plugin in $cni_folders; do
        plugin=$plugin/$1
        [ ! -x "$plugin" ] || return 0
    done
    die "the node has no CNI plugin $1: it is neither in /usr/lib/cni nor in /opt/cni/bin"
}
find_plugins() {
    IFS=$newline
    for line in $cni_plugins; do unset IFS; find_plugin "\${line%% *}"; done
    unset IFS
}
call_plugin() { # COMMAND NETNS LINE PREVIOUS-RESULT
    find_plugin "\${3%% *}"
    configuration=\${3#* }
    [ -z "$4" ] || configuration="$configuration,\\"prevResult\\":$4"
    said=$(printf '%s}' "$configuration" | limited 4 env CNI_COMMAND="$1" CNI_CONTAINERID="$veth" CNI_NETNS="$2" CNI_IFNAME=eth0 \\
        CNI_ARGS=IgnoreUnknown=1 CNI_PATH=/usr/lib/cni:/opt/cni/bin "$plugin" 2>/dev/null)
}
# From the last plugin to the first. What is not there is no failure, whatever they say.
cni_del() { # NETNS
    result=
    [ ! -e "$run/$key~result" ] || result=$(limited 1 cat "$run/$key~result")
    reversed=
    IFS=$newline
    for line in $cni_plugins; do reversed=$line$newline$reversed; done
    for line in $reversed; do
        unset IFS
        call_plugin DEL "$1" "$line" "$result"
        status=$?
        case $status in 124 | 137) failed $status "the CNI plugin \${line%% *}" ;; esac
    done
    unset IFS
    rm -f "$run/$key~result"
}
cni_add() { # NETNS
    result=
    IFS=$newline
    for line in $cni_plugins; do
        unset IFS
        call_plugin ADD "$1" "$line" "$result" || {
            status=$? words=$said
            case $words in *'"msg"'*) words=\${words#*'"msg"'}; words=\${words#*'"'}; words=\${words%%'"'*} ;; esac
            cni_del "$1"
            failed $status "the CNI plugin \${line%% *}" "$words"
        }
        result=$said
    done
    unset IFS
    printf '%s\n' "$result" >"$run/$key~result"
}
`;
