/** What a Task's arguments must be like. */
import type { HealthInputs } from "../health";
import { signalNumber } from "../signals";
import { isUnknown } from "../unknown";
import { bookkeeping } from "./common";
import * as s from "./schema";

const port = s.number({ min: 1, max: 65535 });

const health = s.object(
    {
        exec: s.optional(s.list(s.text())),
        http: s.optional(
            s.object({
                port,
                path: s.optional(
                    s.text("a path", (path) => (path.startsWith("/") ? undefined : 'must begin with "/"')),
                ),
                status: s.optional(s.number({ min: 100, max: 599 })),
            }),
        ),
        tcp: s.optional(s.object({ port })),
        interval: s.optional(s.duration()),
        timeout: s.optional(s.duration()),
        retries: s.optional(s.number({ min: 1 })),
        startPeriod: s.optional(s.duration()),
    },
    (value) => {
        const kinds = ["exec", "http", "tcp"].filter((kind) => value[kind] !== undefined);
        if (kinds.length !== 1)
            return `needs exactly one of \`exec\`, \`http\` and \`tcp\`, and has ${kinds.length || "none"}`;
        if (Array.isArray(value["exec"]) && value["exec"].length === 0) return "`exec` names no command";
        return undefined;
    },
);

/** How a process is run: of a Task, and of a member of a Pod. */
export const runArguments = {
    restart: s.optional(
        s.text("a restart policy", (policy) =>
            /^(?:no|always|unless-stopped|on-failure(?::[1-9]\d*)?)$/.test(policy)
                ? undefined
                : 'must be "no", "always", "unless-stopped", "on-failure" or "on-failure:N"',
        ),
    ),
    health: s.optional(s.expand((value) => (value === false ? undefined : value), s.optional(health))),
    stop: s.optional(
        s.object({
            signal: s.optional(
                s.text("a signal", (name) =>
                    signalNumber(name) === undefined ? 'is no signal of Linux, like "SIGTERM"' : undefined,
                ),
            ),
            timeout: s.optional(s.duration()),
        }),
    ),
};

export const taskSchema = s.object({
    ...bookkeeping,
    ...runArguments,
    container: s.text("a Container"),
    /** Looked at by `check` alone: whether the program names one, when its id is not known. */
    hasContainer: s.optional(s.flag()),
    once: s.optional(s.flag()),
    triggers: s.optional(s.anything()),
    generation: s.optional(s.text()),
    desired: s.optional(s.oneOf("running", "stopped")),
});

/** Docker's, but for `startPeriod`, which there is none. */
const HEALTH_DEFAULTS = { interval: "10s", timeout: "5s", retries: 3, startPeriod: "30s" };

/** Health with its times filled in. */
export function withTimes(given: HealthInputs | undefined): HealthInputs | undefined {
    return given === undefined || isUnknown(given) ? given : { ...HEALTH_DEFAULTS, ...given };
}
