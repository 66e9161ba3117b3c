/** Holds arguments against their description and says what is wrong, each with the argument's path. Pure. */
import { closest, distance } from "fastest-levenshtein";
import * as v from "valibot";
import type { Failure } from "../lifecycle";
import { type Schema, UNKNOWN_NAME } from "./schema";

/** The arguments as described (units resolved, absent ones left out), and all that is wrong with them. */
export function validate(schema: Schema, input: unknown): { value: unknown; failures: Failure[] } {
    const result = v.safeParse(schema, input);
    if (result.success) return { value: result.output, failures: [] };
    return { value: input, failures: result.issues.map(failureOf) };
}

function failureOf(issue: v.BaseIssue<unknown>): Failure {
    const keys = (issue.path ?? []).map((step) => ("key" in step ? step.key : "?"));
    const property = formatPath(keys);
    if (issue.expected === UNKNOWN_NAME) return unknownArgument(issue, property);
    return { property, reason: issue.message };
}

/** Names that people bring along from elsewhere, and what they are here. */
const BROUGHT_ALONG: Record<string, string> = {
    command:
        "means different things in Docker and Kubernetes: say `entrypoint` (replaces the image's) or `args` (what follows it)",
    volumes: "is not in this version: say `mounts`",
    restart: "belongs to the Task that runs the Container",
    health: "belongs to the Task that runs the Container",
    stop: "belongs to the Task that runs the Container",
    once: "belongs to the Task that runs the Container",
};

/** What the resources' classes add to the arguments: nothing for a user to write. */
const OURS = new Set([
    ...["owner", "uid", "revision", "retainOnDelete", "timeouts", "replaceOnChanges"],
    ...["imageFrom", "generation", "pinned", "digest"],
    ...["claim", "nodeAddress", "facts", "hasContainer"],
]);

function unknownArgument(issue: v.BaseIssue<unknown>, property: string): Failure {
    const step = issue.path?.at(-1);
    const name = step && "key" in step ? String(step.key) : "?";
    if (Object.hasOwn(BROUGHT_ALONG, name)) return { property, reason: BROUGHT_ALONG[name] ?? "" };
    const names = issue.message.split(",").filter((one) => !OURS.has(one));
    const near = names.length ? closest(name, names) : undefined;
    const slips = name.length < 5 ? 1 : Math.max(2, Math.floor(name.length / 4)); // two letters that changed places are two
    const guess = near !== undefined && distance(name, near) <= slips ? `: did you mean \`${near}\`?` : "";
    return { property, reason: `is not an argument of this resource${guess || `. There are: ${names.join(", ")}`}` };
}

/** `containers.proxy.image`, `ports[0].host`, `mounts["/data"].bind`. */
export function formatPath(keys: readonly unknown[]): string {
    let path = "";
    for (const key of keys) {
        if (typeof key === "number") path += `[${key}]`;
        else if (/^[A-Za-z_][A-Za-z0-9_-]*$/.test(String(key))) path += path ? `.${String(key)}` : String(key);
        else path += `[${JSON.stringify(String(key))}]`;
    }
    return path;
}
