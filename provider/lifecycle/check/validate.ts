/** Holds arguments against their description and says what is wrong, each with the argument's path. Pure. */
import { closest, distance } from "fastest-levenshtein";
import * as v from "valibot";
import type { Failure } from "../lifecycle";
import type { Schema } from "./schema";

/** The arguments as described (units resolved, absent ones left out), and all that is wrong with them. */
export function validate(schema: Schema, input: unknown): { value: unknown; failures: Failure[] } {
    const result = v.safeParse(schema, input);
    if (result.success) return { value: result.output, failures: [] };
    return { value: input, failures: result.issues.map(failureOf) };
}

function failureOf(issue: v.BaseIssue<unknown>): Failure {
    const keys = (issue.path ?? []).map((step) => ("key" in step ? step.key : "?"));
    const property = formatPath(keys);
    if (issue.type === "strict_object" && issue.expected === "never") return unknownArgument(issue, property);
    return { property, reason: issue.message };
}

/** Words that mean something else here than users may expect. */
const MISTAKEN: Record<string, string> = {
    command:
        "means different things in Docker and Kubernetes: say `entrypoint` (replaces the image's) or `args` (what follows it)",
};

function unknownArgument(issue: v.BaseIssue<unknown>, property: string): Failure {
    const step = issue.path?.at(-1);
    const name = step && "key" in step ? String(step.key) : "?";
    const hint = Object.hasOwn(MISTAKEN, name) ? MISTAKEN[name] : undefined;
    if (hint) return { property, reason: hint };
    const names = namesBeside(issue);
    const near = names.length ? closest(name, names) : undefined;
    const guess = near !== undefined && distance(name, near) <= 3 ? `: did you mean \`${near}\`?` : "";
    const known = guess || `. There are: ${names.join(", ")}`;
    return { property, reason: `is not an argument of this resource${known}` };
}

/** The names that the description has where an unknown one was found: the schema tells them in the issue's message. */
function namesBeside(issue: v.BaseIssue<unknown>): string[] {
    return issue.message.split(",");
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
