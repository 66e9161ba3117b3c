/**
 * The script that prepares a worker, run in a throwaway copy of this machine's files: an overlay on which it writes, in
 * namespaces of its own. systemd is a stand-in there that writes down what it is told; containerd is real, and reads each
 * config that the script makes.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { BOOTSTRAP_SCRIPT } from "../../provider/cli/bootstrap.sh";
import { skip } from "../helpers/skip";
import { Copies } from "./bootstrap-copies";

const DEBIAN_CONFIG = `version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
`;

for (const version of ["1.6", "2"] as const) {
    describe(`bootstrap, containerd ${version}`, function () {
        this.timeout(60_000);
        let copies: Copies;
        const inACopy = (script: string) => copies.run(version, script);

        before(async function () {
            copies = await prepared(this);
        });
        after(() => copies?.remove());

        it("lets Debian's config import a drop-in, keeps a copy, restarts containerd once", async () => {
            const said = await inACopy(`
                cat >/etc/containerd/config.toml <<'END'
${DEBIAN_CONFIG}END
                chmod 640 /etc/containerd/config.toml
                bootstrap; told; interval; stat -c %a /etc/containerd/config.toml
                tail -n +3 /etc/containerd/config.toml | head -n 2
                diff /etc/containerd/config.toml /etc/containerd/config.toml.before-pulumi-containerd || true
                echo ---
                before=$(cat /etc/containerd/config.toml /etc/containerd/conf.d/*)
                bootstrap; told
                [ "$before" = "$(cat /etc/containerd/config.toml /etc/containerd/conf.d/*)" ] && echo same
                ls /etc/containerd
            `);
            const [first = "", second = ""] = said.split("---\n");
            assert.match(first, /changed: the restart monitor looks every second/);
            assert.match(first, /status 0\n--quiet restart containerd\n +interval = ["']1s["']\n640\n/);
            // Debian's lines are all there, and one more; 2.x imports that folder by itself.
            assert.deepEqual(
                first.match(/^[<>] .*$/gm) ?? [],
                version === "2" && !first.includes("imports /etc")
                    ? []
                    : ['< imports = ["/etc/containerd/conf.d/*.toml"]'],
            );
            assert.match(second, /restart monitor: looks every 1s/);
            assert.match(second, /status 0\nnothing\nsame\n/);
            assert.doesNotMatch(second, /changed/);
            assert.doesNotMatch(second, /\.new/);
        });

        for (const [what, config, imports] of [
            ["no config at all", undefined, undefined],
            ["a config without tables", "version = 2\n", undefined],
            [
                "imports of others",
                'version = 2\nimports = ["/etc/other/*.toml"] # mine\n[debug]\nlevel = "info"\n',
                '"/etc/other/*.toml"] # mine',
            ],
            ["empty imports", "version = 2\nimports = []\n", undefined],
        ] as const) {
            it(`gets along with ${what}`, async () => {
                const write = config === undefined ? "" : `printf '%s' '${config}' >/etc/containerd/config.toml`;
                const said = await inACopy(
                    `${write}\nbootstrap; interval; cat /etc/containerd/config.toml || true; bootstrap`,
                );
                assert.match(said, /status 0\n +interval = ["']1s["']\n/);
                if (imports) assert.ok(said.includes(imports), said);
                assert.match(said, /restart monitor: looks every 1s[^]*status 0\n$/);
            });
        }

        it("leaves an interval alone that is short already", async () => {
            const said = await inACopy(`
                printf '%s\\n' 'version = 2' '[plugins."io.containerd.internal.v1.restart"]' 'interval = "500ms"' >/etc/containerd/config.toml
                bootstrap; told; ls /etc/containerd
            `);
            assert.match(said, /restart monitor: looks every 500ms[^]*status 0\nnothing\nconfig\.toml\n$/);
        });

        for (const [what, config] of [
            ["Docker's, of version 1", 'disabled_plugins = ["cri"]\n'],
            ["imports over several lines", 'version = 2\nimports = [\n  "/etc/other/*.toml",\n]\n'],
            ["one that containerd does not understand", "version = 2\n[plugins\n"],
        ] as const) {
            it(`does not touch a config that it cannot change safely: ${what}`, async () => {
                const said = await inACopy(`
                    printf '%s' '${config}' >/etc/containerd/config.toml
                    cp /etc/containerd/config.toml /run/original
                    bootstrap; told; cmp /run/original /etc/containerd/config.toml && echo untouched; find /etc/containerd -type f
                `);
                // 2.x imports the folder whatever the config says of others.
                if (/looks every second/.test(said)) assert.equal(version, "2");
                else
                    assert.match(
                        said,
                        /left as it is, because [^]*status 1\nnothing\nuntouched\n\/etc\/containerd\/config\.toml\n$/,
                    );
                assert.match(said, /untouched/);
            });
        }

        it("starts containerd, and at boot, where neither is so", async () => {
            const said = await inACopy("echo 1 >/run/is-status; bootstrap; told");
            assert.match(said, /status 0\n--quiet enable containerd\n--quiet start containerd\n$/);
        });
    });
}

describe("bootstrap", function () {
    this.timeout(60_000);
    let copies: Copies;
    const inACopy = (script: string) => copies.run("1.6", script);

    before(async function () {
        copies = await prepared(this);
    });
    after(() => copies?.remove());

    it("lets a user run one command as root, and no other", async () => {
        const said = await inACopy(`
            bootstrap somebody /run/other.sock; id -un somebody
            bootstrap somebody /run/other.sock
            su somebody -c 'sudo -n -l' | tr -d '\\n' | tr -s ' '; echo
            su somebody -c 'sudo -n socat - UNIX-CONNECT:/run/other.sock' 2>&1 | sed 's/.*socat\\[/socat[/'
            su somebody -c 'sudo -n socat - UNIX-CONNECT:/run/containerd/containerd.sock' 2>&1 || echo refused
            su somebody -c 'sudo -n id' 2>&1 || echo refused
        `);
        assert.match(said, /changed: user somebody made[^]*status 0\nsomebody\n/);
        assert.match(said, /user: somebody is there\nsudo: somebody may open \/run\/other\.sock\nstatus 0\n/);
        assert.match(said, /NOPASSWD: \S*socat - UNIX-CONNECT\\:\/run\/other\.sock\n/);
        assert.match(said, /socat\[[^]*\/run\/other\.sock[^]*: No such file/);
        assert.equal(said.match(/^refused$/gm)?.length, 2);
    });

    it("lets sshd forward to sockets where it did not, and reloads it once", async () => {
        const said = await inACopy(`
            mkdir -p /run/sshd; ssh-keygen -A >/dev/null
            printf '%s\\n' 'Include /etc/ssh/sshd_config.d/*.conf' 'AllowStreamLocalForwarding no' 'DisableForwarding yes' >/etc/ssh/sshd_config
            bootstrap; sshd -T | grep -e streamlocalforwarding -e disableforwarding; told
            bootstrap; told
        `);
        assert.match(said, /changed: sshd forwards to unix sockets/);
        assert.match(said, /allowstreamlocalforwarding yes/);
        assert.match(said, /disableforwarding no/);
        assert.equal(said.match(/^reload ssh$/gm)?.length, 1);
        assert.match(said, /sshd: forwards to unix sockets\nstatus 0\nnothing\n$/);
    });

    it("says so where sshd cannot be told by a file of its own", async () => {
        const said = await inACopy(`
            mkdir -p /run/sshd; ssh-keygen -A >/dev/null
            echo 'AllowStreamLocalForwarding no' >/etc/ssh/sshd_config
            bootstrap; ls /etc/ssh/sshd_config.d
        `);
        assert.match(said, /set AllowStreamLocalForwarding yes yourself\nstatus 1\n/);
        assert.doesNotMatch(said, /pulumi-containerd\.conf$/m);
    });

    for (const [what, before, args, message] of [
        ["a system that it does not know", "echo ID=plan9 >/etc/os-release", "", /this is plan9/],
        ["an older one", "printf 'ID=debian\\nVERSION_ID=\"11\"\\n' >/etc/os-release", "", /this is debian 11/],
        ["a name that is no user's", "", "'a;reboot'", /is no name for a user/],
        ["a socket that is no path", "", "somebody 'a b'", /is no path for a socket/],
    ] as const) {
        it(`refuses ${what}, and touches nothing`, async () => {
            const said = await inACopy(`${before}\nbootstrap ${args}; told; ls /etc/containerd`);
            assert.match(said, message);
            assert.match(said, /status 1\nnothing\n$/);
        });
    }
});

/** Copies for the script, on a machine that it would prepare. */
async function prepared(context: Mocha.Context): Promise<Copies> {
    const release = await readFile("/etc/os-release", "utf8");
    if (!/^VERSION_ID="?(?:12|13|22\.04|24\.04)"?$/m.test(release))
        skip(context, "this machine is no system that bootstrap prepares");
    return Copies.prepare(BOOTSTRAP_SCRIPT);
}
