/** How containerd's restart monitor is told what to do. Pure; what a version cannot do is refused in assertRestartable. */
import type { NodeFacts } from "../containerd/facts";
import { ContainerdError } from "../errors";
import { LOG_URI } from "../node/log-uri";

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
export function restartLabels(policy: string, facts: NodeFacts): Record<string, string> {
    if (policy === "no") return {};
    const labels: Record<string, string> = { [STATUS]: "running", [LOG]: LOG_URI };
    if (knowsPolicies(facts)) labels[POLICY] = policy === "on-failure" ? "on-failure:0" : policy;
    return labels;
}

/** Whether the labels that a container has are those of this policy. */
export function hasRestartLabels(policy: string, facts: NodeFacts, labels: Record<string, string>): boolean {
    const wanted = restartLabels(policy, facts);
    return [STATUS, POLICY].every((key) => (labels[key] ?? "") === (wanted[key] ?? ""));
}

/** The policy that a container's labels ask for; before 1.7 they say only whether there is one. */
export function foundPolicy(labels: Record<string, string>): string {
    return labels[STATUS] === "running" ? labels[POLICY] || "always" : "no";
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
    if (policy.startsWith("on-failure") && !knowsPolicies(facts)) {
        throw new ContainerdError(
            "Unsupported",
            `containerd ${version} has no restart policies (1.7 and later have) and would restart for ever: use "always" or "no"`,
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
