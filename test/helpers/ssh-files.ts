/** A machine as OpenSSH's client sees it, made of texts: nothing of the machine that the tests run on. */
import type { SshFiles } from "../../provider/transport/ssh/ssh-files";

/**
 * Its files by path; nothing else is there. The user is `ann`, her home `/home/ann`.
 *
 * @example sshFiles({ "/home/ann/.ssh/config": "Host edge-1\n  HostName 192.0.2.7\n" })
 */
export function sshFiles(texts: Readonly<Record<string, string>> = {}): SshFiles {
    return {
        home: "/home/ann",
        user: "ann",
        uid: 1000,
        hostname: "desk.example",
        env: {},
        userConfig: "/home/ann/.ssh/config",
        systemConfig: "/etc/ssh/ssh_config",
        read: (path) => texts[path],
        readConfig: (path) => texts[path],
        list: () => [],
    };
}
