/**
 * What a doctor finds on a node, decided from what was learned of it (`examination.ts`). Pure: one function for each thing that
 * is looked at, which says nothing where nothing is known.
 */
import bytes from "bytes";
import type { NodeFacts } from "../containerd/facts";
import { SERVICE_NAMES } from "../containerd/services";
import type { ContainerdError } from "../errors";
import { formatDuration } from "../lifecycle/check/units";
import type { Disk, Survey } from "../node/survey";
import type { Examination } from "./examination";
import { type Finding, here, ok, onNode, type Remedy, word } from "./finding";
import { judgeBelongings, type KnownStack } from "./leftovers";
import { diagnoseSshd } from "./sshd-diagnosis";
import { bootstrapRemedy, hasApt, isSupported } from "./supported";

/** What we advise, in milliseconds: less costs much of a core with hundreds of containers, more is felt after a crash. */
const ADVISED_INTERVAL = 1_000;
/** Seconds. Leases, by which what is being brought is kept, last minutes by our clock. */
const SKEW_WARNING = 5;
const SKEW_PROBLEM = 300;
/** What a node needs for networks of its own, and Debian's packages of it. */
const NETWORK_TOOLS = {
    ip: "iproute2",
    nft: "nftables",
    unshare: "util-linux",
    nsenter: "util-linux",
    flock: "util-linux",
    awk: "mawk",
} as const;

/** All findings of a node, in the order in which one would look. */
export function diagnose(seen: Examination, stack?: KnownStack): Finding[] {
    const { node, survey, facts, settingsError } = seen;
    if (settingsError) return [diagnoseSettings(node, settingsError)];
    const passedOver = (seen.notes ?? []).map((note) => warning("ssh_config", note));
    const connection = [...diagnoseConnection(seen), ...passedOver];
    if (!survey && !facts) return connection;
    return [
        ...connection,
        ...diagnoseContainerd(seen),
        ...(facts ? diagnoseMonitor(node, facts, survey) : []),
        ...(survey
            ? [
                  ...diagnoseBoot(survey),
                  ...diagnoseRunc(survey),
                  ...diagnoseNetwork(survey),
                  ...diagnoseTools(survey, seen),
                  ...diagnoseSshd(seen, survey),
                  ...diagnoseClock(survey),
                  ...Object.entries(survey.disks).map(([folder, disk]) => diagnoseDisk(folder, disk)),
                  ...describeMachine(survey),
              ]
            : []),
        ...(seen.belongings ? judgeBelongings(seen.belongings, stack) : []),
        ...(seen.belongingsError
            ? [warning("ours", `what of ours is there cannot be listed: ${inWords(seen.belongingsError)}`)]
            : []),
    ];
}

function warning(check: string, text: string, remedy?: Remedy): Finding {
    return { check, status: "warning", text, ...(remedy && { remedy }) };
}

function problem(check: string, text: string, remedy?: Remedy): Finding {
    return { check, status: "problem", text, ...(remedy && { remedy }) };
}

/** A finding about a package that is missing; without apt-get its name would be a guess. */
function missing(finding: Finding, survey: Survey, ...packages: string[]): Finding {
    return hasApt(survey.os) ? { ...finding, remedy: onNode(`apt-get install -y ${packages.join(" ")}`) } : finding;
}

/** What went wrong, without the name of the call that it happened to. */
function inWords({ reason }: ContainerdError): string {
    return reason.replace(CALL, "");
}

const CALL = new RegExp(`^(?:${Object.keys(SERVICE_NAMES).join("|")})\\.[a-z]\\w*(?: \\S+)?: `, "i");

function diagnoseSettings(node: string, { code, property, reason }: ContainerdError): Finding {
    const text = property === undefined || property === "node" ? reason : `${property}: ${reason}`;
    const unknown = here(`pulumi config set --path ${word(`containerd:nodes.${node}.host`)} HOST`);
    return problem("connection", text, code === "NotFound" ? unknown : undefined);
}

function diagnoseConnection({ survey, surveyError, facts, containerdError, ssh }: Examination): Finding[] {
    const findings: Finding[] = [];
    if (survey) {
        const user = survey.user === undefined ? "" : ` as ${survey.user}`;
        findings.push(ok("connection", ssh === undefined ? `this machine${user}` : `SSH logs in${user}`));
    } else if (facts) {
        findings.push(ok("connection", "stands"));
    } else {
        const error = surveyError ?? containerdError;
        const text = error ? inWords(error) : "nothing could be learned of this node";
        return [problem("connection", text, remedyOfConnection(text, ssh))];
    }
    if (surveyError) {
        const text = `the node runs no script for us, so its packages, disks and settings are not known: ${surveyError.reason}`;
        findings.push(warning("commands", text));
    }
    return findings;
}

/** What the sentence itself says is done of a host key: `ssh` would only ask to believe it. */
function remedyOfConnection(text: string, ssh: string | undefined): Remedy | undefined {
    const [known] = /^(?:mkdir .* && )?(?:printf|echo) .* >> .*$/m.exec(text) ?? [];
    if (known !== undefined) return here(`${known} # only after the fingerprint was compared`);
    return ssh === undefined || /host key/i.test(text) ? undefined : here(ssh.replace("ssh ", "ssh -v "));
}

function diagnoseContainerd({ survey, facts, containerdError, socket, dial }: Examination): Finding[] {
    if (facts) {
        const { version, major, minor } = facts;
        if (major < 1 || (major === 1 && minor < 6))
            return [problem("containerd", `${version} is too old: this package needs 1.6 or later`)];
        const limits = isOld(facts)
            ? " (before 1.7: on-failure by a script of ours, and images are brought through this machine)"
            : "";
        return [ok("containerd", `${version} answers${limits}`)];
    }
    const text = containerdError ? inWords(containerdError) : "does not answer";
    if (!survey) return [problem("containerd", text)];
    if (survey.containerdVersion === undefined) {
        const finding = problem("containerd", `is not installed: ${text}`);
        const install = "apt-get install -y containerd && systemctl enable --now containerd";
        return [hasApt(survey.os) ? { ...finding, remedy: onNode(install) } : finding];
    }
    if (survey.socket === "denied" && dial === undefined) return [problem("containerd", text)];
    // Without systemd, or where it does not say: whichever of the two starts services there.
    if (survey.boot === undefined)
        return [problem("containerd", text, onNode("systemctl start containerd || service containerd start"))];
    if (survey.active === "active")
        return [problem("containerd", text, onNode(`ctr -a ${word(socket)} version; journalctl -u containerd -n 50`))];
    return [problem("containerd", text, onNode("systemctl enable --now containerd"))];
}

/** Before restart policies and the transfer service. */
function isOld({ major, minor }: NodeFacts): boolean {
    return major === 1 && minor < 7;
}

function diagnoseMonitor(node: string, { restartMonitor }: NodeFacts, survey: Survey | undefined): Finding[] {
    const check = "restart monitor";
    const file = survey?.containerdConfig ?? "containerd's config";
    if (!restartMonitor) {
        const why = "is not loaded: no container starts again when it ends, or at boot";
        return [
            problem(
                check,
                `${why}. Take it out of disabled_plugins in ${file}`,
                onNode("systemctl restart containerd"),
            ),
        ];
    }
    const interval = survey?.restartInterval;
    if (interval === undefined) return [ok(check, "is loaded; how often it looks is not known")];
    const looks = `looks every ${formatDuration(interval)}`;
    if (interval <= ADVISED_INTERVAL) return [ok(check, looks)];
    const text = `${looks}: a container that ends is down for up to that long. 1s is what we advise`;
    if (survey && isSupported(survey.os)) return [warning(check, text, bootstrapRemedy(node, survey))];
    const how = `set interval = "1s" under [plugins."io.containerd.internal.v1.restart"] (2.x: "io.containerd.monitor.container.v1.restart") in ${file}, and then`;
    return [warning(check, `${text}: ${how}`, onNode("systemctl restart containerd"))];
}

function diagnoseBoot({ boot }: Survey): Finding[] {
    const check = "boot";
    switch (boot) {
        case undefined:
            return [];
        case "disabled":
            return [
                problem(
                    check,
                    "containerd is not started at boot: nothing comes back",
                    onNode("systemctl enable containerd"),
                ),
            ];
        case "masked":
            return [
                problem(
                    check,
                    "the unit containerd is masked: it cannot be started at boot",
                    onNode("systemctl unmask containerd && systemctl enable --now containerd"),
                ),
            ];
        case "not-found":
            return [warning(check, "systemd has no unit containerd: does something else start it at boot?")];
        default:
            return [ok(check, `containerd is started at boot (${boot})`)];
    }
}

function diagnoseRunc(survey: Survey): Finding[] {
    const { runcVersion } = survey;
    if (runcVersion !== undefined) return [ok("runc", runcVersion)];
    return [missing(problem("runc", "is not on PATH: no container can be started"), survey, "runc")];
}

/** What networks of containers are made of; `host` and `none` need none of it. */
function diagnoseNetwork(survey: Survey): Finding[] {
    const { cni, tools } = survey;
    const names = Object.keys(NETWORK_TOOLS) as (keyof typeof NETWORK_TOOLS)[];
    const absent = names.filter((tool) => !tools[tool]);
    const packages = [...new Set(absent.map((tool) => NETWORK_TOOLS[tool]))];
    const needed = "containers with a network other than `host` and `none` need it";
    const network = absent.length
        ? missing(warning("network", `lacks ${absent.join(", ")}: ${needed}`), survey, ...packages)
        : ok("network", `${names.join(", ")} are there`);
    const ports = tools.ss
        ? []
        : [missing(warning("ports", "ss is not there: who listens on a port is not seen"), survey, "iproute2")];
    const conntrack = tools.conntrack
        ? ok("conntrack", "is there")
        : missing(warning("conntrack", "is not there: published UDP ports need it"), survey, "conntrack");
    const plugins = ok("CNI plugins", cni ? `in ${cni.folder}` : 'none; a Network with driver: "cni" alone needs them');
    return [network, ...ports, conntrack, plugins];
}

function diagnoseTools(survey: Survey, { dial, facts }: Examination): Finding[] {
    const findings: Finding[] = [];
    if (!survey.tools.timeout) {
        const text = "timeout not found on PATH: scripts of ours on the node need it";
        findings.push(missing(problem("tools", text), survey, "coreutils"));
    }
    if (facts && isOld(facts) && !survey.tools.perl) {
        const text = `perl not found on PATH: restart: "on-failure" needs it on containerd ${facts.version}`;
        findings.push(missing(warning("tools", text), survey, "perl-base"));
    }
    if (dial !== undefined && /\bsocat\b/.test(dial) && !survey.tools.socat)
        findings.push(missing(problem("dial", "socat, which `dial` calls, is not found on PATH"), survey, "socat"));
    return findings;
}

function diagnoseClock({ clockSkew }: Survey): Finding[] {
    if (clockSkew === undefined) return [];
    const off = Math.abs(clockSkew);
    if (off <= SKEW_WARNING) return [ok("clock", "agrees with this machine's")];
    const text = `is ${off} s ${clockSkew > 0 ? "ahead of" : "behind"} this machine's`;
    const remedy = onNode("timedatectl set-ntp true");
    if (off < SKEW_PROBLEM) return [warning("clock", text, remedy)];
    return [problem("clock", `${text}: what is being brought may be collected before it is used`, remedy)];
}

const MIB = 1 << 20;

function diagnoseDisk(folder: string, { size, free }: Disk): Finding {
    const text = `${folder}: ${bytes(free) ?? free} of ${bytes(size) ?? size} free`;
    // What is in /run are sockets, states and FIFOs.
    const [least, little] = folder === "/run" ? [1 * MIB, 16 * MIB] : [256 * MIB, 2048 * MIB];
    const remedy = onNode(`du -xh --max-depth=2 ${word(folder)} | sort -h | tail`);
    if (free < least) return problem("disk", text, remedy);
    return free < little ? warning("disk", text, remedy) : ok("disk", text);
}

function describeMachine({ os, kernel, architecture, cgroupVersion, cpus, memory }: Survey): Finding[] {
    const parts = [
        os.name,
        kernel && `Linux ${kernel}`,
        architecture,
        cgroupVersion && `cgroup v${cgroupVersion}`,
        cpus && `${cpus} CPUs`,
        memory && bytes(memory),
    ].filter(Boolean);
    return [ok("machine", parts.join(", "))];
}
