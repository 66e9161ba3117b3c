/** How containerd's restart monitor is told what to do. Pure; what a version cannot do is refused in assertRestartable. */
import type { NodeFacts } from "../containerd/facts";
import { ContainerdError } from "../errors";
import { logUri, policyIn } from "../node/log-uri";

const STATUS = "containerd.io/restart.status";
const LOG = "containerd.io/restart.loguri";
const POLICY = "containerd.io/restart.policy";
const COUNT = "containerd.io/restart.count";
const EXPLICITLY_STOPPED = "containerd.io/restart.explicitly-stopped";

/** Every label of the monitor's: taken away before a stop, because a mere `stopped` makes it kill without grace. */
export const RESTART_LABELS = [STATUS, LOG, POLICY, COUNT, EXPLICITLY_STOPPED] as const;

/** What of a node counts here. */
export type Monitor = Pick<NodeFacts, "version" | "major" | "minor" | "restartMonitor">;

/** The labels under which the monitor keeps a container running; none for `no`. */
export function restartLabels(policy: string, facts: Monitor): Record<string, string> {
    if (policy === "no") return {};
    const labels: Record<string, string> = {
        [STATUS]: "running",
        [LOG]: logUri({ policy: gatePolicy(policy, facts) }),
    };
    if (knowsPolicies(facts)) labels[POLICY] = counted(policy);
    return labels;
}

/** The log URI of a start by us under this policy. */
export function freshUri(policy: string, facts: Monitor): string {
    return logUri({ fresh: true, policy: gatePolicy(policy, facts) });
}

/** The same for a container that is started anew under the labels that it has. */
export function freshUriOf(labels: Record<string, string>): string {
    return logUri({ fresh: true, policy: policyIn(labels[LOG]) });
}

/**
 * Whether the labels that a container has are those of this policy, also if they were put there by an older containerd. Where the
 * gate keeps it, `stopped` says that it came to its end.
 */
export function hasRestartLabels(policy: string, facts: Monitor, labels: Record<string, string>): boolean {
    const kept = policyIn(labels[LOG]);
    if (kept !== undefined && !labels[POLICY]) {
        return kept === counted(policy) && ["running", "stopped"].includes(labels[STATUS] ?? "");
    }
    if (gatePolicy(policy, facts) !== undefined) return false;
    // Before 1.7 both are the status alone, and any later monitor takes that for `always`: it starts it whenever it does not run.
    if (!labels[POLICY] && (policy === "always" || policy === "unless-stopped")) return labels[STATUS] === "running";
    const wanted = restartLabels(policy, facts);
    return [STATUS, POLICY].every((key) => (labels[key] ?? "") === (wanted[key] ?? ""));
}

/** The policy that a container's labels ask for. */
export function foundPolicy(labels: Record<string, string>): string {
    const kept = policyIn(labels[LOG]);
    if (kept !== undefined && !labels[POLICY] && labels[STATUS]) return kept.replace(/:0$/, "");
    return labels[STATUS] === "running" ? labels[POLICY] || "always" : "no";
}

/**
 * What the gate (`node/gate.sh.ts`) has to keep, because the monitor knows no policies. It learns the exit status of starts under
 * this policy only: the end of a process that was started under another one counts as a failure.
 */
function gatePolicy(policy: string, facts: Monitor): string | undefined {
    return policy.startsWith("on-failure") && !knowsPolicies(facts) ? counted(policy) : undefined;
}

/** With its number; 0 is without end. */
function counted(policy: string): string {
    return policy === "on-failure" ? "on-failure:0" : policy;
}

/** Refuses what the node's containerd cannot do. Throws `Unsupported`. */
export function assertRestartable(policy: string, tty: boolean, facts: Monitor, node: string): void {
    if (policy === "no") return;
    const { version } = facts;
    if (!facts.restartMonitor) {
        throw new ContainerdError(
            "Unsupported",
            `containerd ${version} runs without its restart monitor, so nothing would start the container again: enable the ` +
                'plugin io.containerd.internal.v1.restart in its config, or set restart: "no"',
            { node, property: "restart" },
        );
    }
    if (tty && facts.major < 2) {
        throw new ContainerdError(
            "Unsupported",
            `the restart monitor of containerd ${version} cannot start a container that has a terminal (2.0 and later can): ` +
                'use restart: "no", or a container without tty',
            { node, property: "restart" },
        );
    }
}

function knowsPolicies({ major, minor }: Monitor): boolean {
    return major > 1 || (major === 1 && minor >= 7);
}
