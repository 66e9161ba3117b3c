/** Prepares a new worker for those who log in: keys, users, names. All of it lies in the worker's own files. */
import { randomBytes } from "node:crypto";
import { chmod, chown, copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { ContainerdError } from "../../provider/errors";
import { environment } from "../environment";
import { output } from "../process";
import { DIAL, DIAL_USER, PASSWORD_USER, type SshdOptions, type SshdRegistration, fingerprintOf } from "./settings";

/** Numbers far from those that Debian gives out. */
const USERS = [
    { name: DIAL_USER, id: 59_001 },
    { name: PASSWORD_USER, id: 59_002 },
];

/** Folders of a worker, seen from this machine. */
export interface SshFolders {
    /** What lies over this machine's `/etc` there. */
    etc: string;
    /** For the keys of those who log in. */
    keys: string;
    varLib: string;
}

/** Makes keys, users and names of a new worker. */
export async function prepareSshd(
    name: string,
    { etc, keys, varLib }: SshFolders,
    options: SshdOptions,
): Promise<SshdRegistration> {
    await mkdir(path.join(etc, "ssh/authorized_keys.d"), { recursive: true });
    await mkdir(path.join(etc, "sudoers.d"), { recursive: true });
    await mkdir(keys, { recursive: true, mode: 0o700 });
    const hostKeyFile = path.join(etc, "ssh/playground_host_ed25519_key");
    const identity = identityFile(keys);
    for (const [file, comment] of [
        [hostKeyFile, name],
        [identity, "playground"],
    ] as const) {
        await output("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", file]);
    }
    for (const user of ["root", DIAL_USER]) {
        await copyFile(`${identity}.pub`, path.join(etc, "ssh/authorized_keys.d", user));
    }
    const allowed = DIAL.replace("sudo -n socat", "/usr/bin/socat").replace("CONNECT:", "CONNECT\\:");
    await writeFile(path.join(etc, "sudoers.d/playground"), `${DIAL_USER} ALL=(root) NOPASSWD: ${allowed}\n`, {
        mode: 0o440,
    });
    const { sshd } = environment();
    if (sshd !== "/") {
        await mkdir(path.join(etc, "pam.d"));
        await copyFile(path.join(sshd, "etc/pam.d/sshd"), path.join(etc, "pam.d/sshd"));
    }
    await writeFile(path.join(etc, "hostname"), `${name}\n`);
    await writeFile(path.join(etc, "hosts"), `127.0.0.1 localhost\n127.0.1.1 ${name}\n`);
    // There is no name server in the worker's network; that of this machine would be waited for in vain.
    await writeFile(path.join(etc, "resolv.conf"), "");
    const password = randomBytes(12).toString("base64url");
    await writeUsers(etc, varLib, password);
    const [type = "", key = ""] = (await readFile(`${hostKeyFile}.pub`, "utf8")).split(" ");
    const hostKey = `${type} ${key}`;
    return { hostKey, fingerprint: fingerprintOf(hostKey), password, options };
}

/** Path of the private key that lets in. */
export function identityFile(keys: string): string {
    return path.join(keys, "id_ed25519");
}

/** This machine's users, none of whose passwords is good on the worker, and the playground's. */
async function writeUsers(etc: string, varLib: string, password: string): Promise<void> {
    const hash = (await output("openssl", ["passwd", "-6", "-stdin"], { input: `${password}\n` })).trim();
    if (!hash.startsWith("$6$")) throw new ContainerdError("Failed", "openssl makes no password hash");
    const [passwd, group, shadow] = await Promise.all(
        ["/etc/passwd", "/etc/group", "/etc/shadow"].map((file) => readFile(file, "utf8")),
    );
    const home = (user: string) => `/var/lib/playground/${user}`;
    const lines = (format: (user: (typeof USERS)[number]) => string) => USERS.map(format).join("\n") + "\n";
    // Its package would have made it.
    const daemon = /^sshd:/m.test(passwd ?? "") ? "" : "sshd:x:59000:65534::/run/sshd:/usr/sbin/nologin\n";
    await writeFile(
        path.join(etc, "passwd"),
        (passwd ?? "") + daemon + lines(({ name, id }) => `${name}:x:${id}:${id}::${home(name)}:/bin/sh`),
    );
    await writeFile(path.join(etc, "group"), (group ?? "") + lines(({ name, id }) => `${name}:x:${id}:`));
    const closed = (shadow ?? "").replaceAll(/^([^:\n]*):[^:\n]*:/gm, "$1:*:");
    await writeFile(
        path.join(etc, "shadow"),
        closed + lines(({ name }) => `${name}:${name === PASSWORD_USER ? hash : "*"}:20000:0:99999:7:::`),
        { mode: 0o600 },
    );
    for (const { name, id } of USERS) {
        const folder = path.join(varLib, "playground", name);
        await mkdir(folder, { recursive: true });
        await chmod(folder, 0o700);
        await chown(folder, id, id);
    }
}
