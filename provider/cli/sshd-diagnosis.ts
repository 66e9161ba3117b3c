/** What sshd's settings on a node let us do. Pure. Source: sshd_config(5). */
import type { Survey } from "../node/survey";
import type { Examination } from "./examination";
import { type Finding, ok, onNode } from "./finding";
import { bootstrapRemedy, isSupported } from "./supported";

const CONFIG_FILE = "/etc/ssh/sshd_config.d/00-pulumi-containerd.conf";

/** Findings about forwarding and sessions; none for this machine, or where sshd's settings may not be seen. */
export function diagnoseSshd({ node, ssh, dial }: Examination, survey: Survey): Finding[] {
    const { sshd, os } = survey;
    if (ssh === undefined || !sshd) return [];
    const check = "sshd";
    const findings: Finding[] = [];
    const off = sshd.disableForwarding
        ? "DisableForwarding yes"
        : forbids(sshd.allowStreamLocalForwarding)
          ? `AllowStreamLocalForwarding ${sshd.allowStreamLocalForwarding}`
          : undefined;
    if (off && dial === undefined) {
        const remedy = isSupported(os)
            ? bootstrapRemedy(node, survey)
            : onNode(allow("AllowStreamLocalForwarding", sshd.disableForwarding));
        const text = `${off}: containerd's socket cannot be reached through SSH. Turn it on, or set \`dial\` for this node`;
        findings.push({ check, status: "problem", text, remedy });
    }
    if (forbids(sshd.allowTcpForwarding) && !sshd.disableForwarding) {
        const text = `AllowTcpForwarding ${sshd.allowTcpForwarding}: health probes by \`http\` and \`tcp\` cannot reach the node's ports`;
        findings.push({ check, status: "warning", text, remedy: onNode(allow("AllowTcpForwarding", false)) });
    }
    if (sshd.maxSessions === 0) {
        findings.push({
            check,
            status: dial === undefined ? "warning" : "problem",
            text: "MaxSessions 0: no commands can be run there",
            remedy: onNode(added("MaxSessions 10")),
        });
    }
    if (findings.length) return findings;
    const how = off ? "reached by `dial`" : "forwarding is allowed";
    const limits = [
        sshd.maxSessions === undefined ? "" : `MaxSessions ${sshd.maxSessions}`,
        sshd.maxStartups === undefined ? "" : `MaxStartups ${sshd.maxStartups}`,
    ].filter(Boolean);
    return [ok(check, [how, ...limits].join(", "))];
}

/** `local` is what we use; `remote` is the other direction alone. */
function forbids(setting: string | undefined): boolean {
    return setting === "no" || setting === "remote";
}

function allow(keyword: string, disabled: boolean): string {
    return added(disabled ? `DisableForwarding no\\n${keyword} yes` : `${keyword} yes`);
}

function added(lines: string): string {
    return `printf '${lines}\\n' >>${CONFIG_FILE} && sshd -t && systemctl reload ssh`;
}
