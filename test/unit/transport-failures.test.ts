/** What ssh2 and sockets say, as sentences for the user: one row for each thing that goes wrong. */
import assert from "node:assert/strict";
import type { ErrorCode } from "../../provider/errors";
import { connectFailure, isConnectFailure, openFailure, type SshFailure } from "../../provider/transport/ssh/failures";
import { resolveTargets } from "../../provider/transport/ssh/target";
import { sshFiles } from "../helpers/ssh-files";

const [target] = resolveTargets("edge-1", { host: "192.0.2.7", user: "root" }, sshFiles(), () => undefined);
const LABEL = "root@192.0.2.7:22";

describe("ssh: why there is no connection", () => {
    const rows: [what: string, cause: SshFailure, code: ErrorCode, says: RegExp][] = [
        [
            "an agent that fails",
            { level: "agent", message: "the SSH agent of SSH_AUTH_SOCK does not sign" },
            "Unauthorized",
            /: the SSH agent of SSH_AUTH_SOCK does not sign$/,
        ],
        [
            "ssh2's own time limit",
            { level: "client-timeout", message: "Timed out while waiting for handshake" },
            "Unreachable",
            /root@192\.0\.2\.7:22 did not answer within 15 s: is the machine on, and is a firewall in between\?$/,
        ],
        [
            "the kernel's",
            { code: "ETIMEDOUT", message: "connect ETIMEDOUT" },
            "Unreachable",
            /did not answer within 15 s/,
        ],
        [
            "a name without address",
            { code: "ENOTFOUND", message: "getaddrinfo ENOTFOUND x" },
            "Unreachable",
            /no address is known for the host 192\.0\.2\.7: is its name right \(ENOTFOUND\)\?$/,
        ],
        ["no name server", { code: "EAI_AGAIN", message: "getaddrinfo" }, "Unreachable", /no address.*\(EAI_AGAIN\)/],
        [
            "a closed port",
            { code: "ECONNREFUSED", message: "connect ECONNREFUSED" },
            "Unreachable",
            /refuses connections: does sshd run there, and is port 22 right\?$/,
        ],
        [
            "no way",
            { code: "EHOSTUNREACH", message: "connect EHOSTUNREACH" },
            "Unreachable",
            /there is no way to root@192\.0\.2\.7:22 \(EHOSTUNREACH\): is the network up\?$/,
        ],
        ["no network", { code: "ENETUNREACH", message: "connect" }, "Unreachable", /\(ENETUNREACH\)/],
        [
            "one that hangs up",
            { message: "Connection lost before handshake" },
            "Unreachable",
            /closed the connection before the login: sshd's MaxStartups/,
        ],
        ["a reset", { code: "ECONNRESET", message: "read ECONNRESET" }, "Unreachable", /before the login/],
        [
            "one that speaks otherwise",
            { message: "Handshake failed: no matching key exchange algorithm" },
            "Unsupported",
            /no common algorithm with this sshd \(Handshake failed/,
        ],
        ["anything else", { message: "strange" }, "Unreachable", /no SSH connection to root@192\.0\.2\.7:22: strange$/],
    ];
    for (const [what, cause, code, says] of rows) {
        it(what, () => {
            const error = connectFailure(cause, target!, LABEL);
            assert.equal(error.code, code);
            assert.match(error.message, says);
            assert.ok(error.message.startsWith("node edge-1: "), error.message);
            assert.equal(error.cause, cause);
        });
    }

    it("names the machine on the way", () => {
        const cause = { code: "ECONNREFUSED", message: "connect ECONNREFUSED" };
        assert.match(connectFailure(cause, target!, LABEL, "gate").message, /:22 \(through gate\) refuses connections/);
    });
});

describe("ssh: why there is no stream", () => {
    const open = (cause: SshFailure) => openFailure("containerd's socket /x", cause, target!);

    it("sshd forbids it, by number (RFC 4254) or by words", () => {
        for (const cause of [
            { reason: 1, message: "(SSH) Channel open failure: open failed" },
            { message: "administratively prohibited" },
        ]) {
            const error = open(cause);
            assert.equal(error.code, "Unsupported");
            assert.match(error.message, /^node edge-1: containerd's socket \/x: the node's sshd forbids it/);
            assert.match(error.message, /AllowStreamLocalForwarding yes.*`AllowTcpForwarding yes`.*`dial`/);
        }
    });

    it("nobody listens: then the node's shell is asked why", () => {
        const cause = { reason: 2, message: "(SSH) Channel open failure: connect failed" };
        assert.equal(open(cause).code, "Unreachable");
        assert.equal(isConnectFailure(cause), true);
        assert.equal(isConnectFailure({ reason: "2" }), true);
        for (const other of [undefined, {}, { reason: 1 }]) assert.equal(isConnectFailure(other), false);
    });
});
