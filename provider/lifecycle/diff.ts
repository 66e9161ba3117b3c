/** Compares what is there with what is wanted, argument by argument. Pure. */
import { isDeepStrictEqual } from "node:util";
import type { Difference } from "./lifecycle";

/** What a changed argument asks for. `none`: how something is done, not what it is; never a difference. */
export type Policy = "replace" | "update" | "none";

/** A policy for every argument of a resource: a new argument does not compile until it has one. */
export type Policies<Inputs> = { readonly [K in keyof Required<Inputs>]: Policy };

/** The names of all arguments. */
export function argumentsOf<Inputs>(policies: Policies<Inputs>): (keyof Inputs & string)[] {
    return Object.keys(policies) as (keyof Inputs & string)[];
}

/**
 * The arguments that changed, by the policy of each. Both sides are normalized already, so that equal means equal: absent
 * and `undefined` are the same, and the order of keys says nothing.
 */
export function compare<Inputs extends { replaceOnChanges?: string[] }>(
    policies: Policies<Inputs>,
    olds: Partial<Inputs>,
    news: Partial<Inputs>,
): Pick<Difference, "changed" | "replaces"> {
    const changed: string[] = [];
    const replaces: string[] = [];
    const asked = (news.replaceOnChanges ?? []).map(parsePath);
    for (const [name, policy] of Object.entries(policies) as [keyof Inputs & string, Policy][]) {
        if (policy === "none" || isDeepStrictEqual(present(olds[name]), present(news[name]))) continue;
        changed.push(name);
        if (policy === "replace" || asked.some((path) => concerns(path, name, olds[name], news[name])))
            replaces.push(name);
    }
    return { changed, replaces };
}

/** The keys of one of Pulumi's property paths: `files["/a"].mode`, `args[0]`, `labels.*`. */
function parsePath(path: string): string[] {
    return [...path.matchAll(/"((?:[^"\\]|\\.)*)"|[^.[\]"]+/g)].map(
        ([plain, quoted]) => quoted?.replace(/\\(.)/g, "$1") ?? plain,
    );
}

/** Whether a change of the argument `name` is one at or below a path. */
function concerns([first, ...rest]: string[], name: string, before: unknown, after: unknown): boolean {
    if (first !== "*" && first !== name) return false;
    let sides = [before, after];
    for (const key of rest) {
        if (key === "*") break;
        sides = sides.map((side) =>
            typeof side === "object" && side !== null ? (side as Record<string, unknown>)[key] : undefined,
        );
    }
    return !isDeepStrictEqual(present(sides[0]), present(sides[1]));
}

/**
 * An argument without what is absent in it: `undefined` and `null`. A map that holds nothing is absent itself; further inside
 * it says something (`{ tmpfs: {} }`), and so does an empty list (`args: []`).
 */
export function present(value: unknown): unknown {
    const kept = withoutAbsent(value);
    const empty = typeof kept === "object" && !Array.isArray(kept) && Object.keys(kept as object).length === 0;
    return empty ? undefined : kept;
}

function withoutAbsent(value: unknown): unknown {
    if (value === null || value === undefined) return undefined;
    if (Array.isArray(value)) return value.map(withoutAbsent);
    if (typeof value !== "object") return value;
    const entries = Object.entries(value).map(([key, inner]) => [key, withoutAbsent(inner)] as const);
    return Object.fromEntries(entries.filter(([, inner]) => inner !== undefined));
}
