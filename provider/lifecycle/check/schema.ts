/**
 * The words in which the resources' arguments are described for validation: thin wrappers around valibot, so that each
 * message is a sentence for a user, every value may be unknown yet, and nothing that could be a secret is repeated.
 */
import * as v from "valibot";
import { ALL_CAPABILITIES } from "../../spec/capabilities";
import { isUnknown } from "../unknown";
import { formatDuration, parseDuration, parseSize } from "./units";

const CAPABILITIES: ReadonlySet<string> = new Set([
    "ALL",
    ...ALL_CAPABILITIES.map((name) => name.replace(/^CAP_/, "")),
]);

/** Any schema of ours. */
export type Schema = v.GenericSchema<unknown>;

/** What kind of thing a value is, without saying its value. */
export function kindOf(value: unknown): string {
    if (value === null || value === undefined) return "nothing";
    if (Array.isArray(value)) return "a list";
    if (typeof value === "object") return "a map";
    if (typeof value === "string") return "a text";
    if (typeof value === "number") return "a number";
    return `a ${typeof value}`;
}

function expected(what: string): (issue: { input: unknown }) => string {
    return (issue) =>
        issue.input === undefined ? `is missing: it must be ${what}` : `must be ${what}, not ${kindOf(issue.input)}`;
}

/** Accepts a value that is not known yet as well. */
function known<T extends Schema>(schema: T): v.GenericSchema<unknown, unknown> {
    const unknown = v.unknown();
    return v.lazy((input) => (isUnknown(input) ? unknown : schema));
}

/** May be absent; `null` counts as absent. */
export function optional(schema: Schema): Schema {
    return v.pipe(
        v.optional(v.nullable(schema)),
        v.transform((value) => value ?? undefined),
    );
}

/** A text; `problem` says what is wrong with one, or nothing. */
export function text(what = "a text", problem?: (value: string) => string | undefined): Schema {
    const plain = v.string(expected(what));
    if (!problem) return known(plain);
    return known(v.pipe(plain, refuse(problem)));
}

/** A text that may be given as a number or a boolean, as environment variables are. */
export function scalar(problem?: (value: string) => string | undefined): Schema {
    const written = v.pipe(
        v.custom<string | number | boolean>(
            (input) => typeof input === "string" || typeof input === "number" || typeof input === "boolean",
            expected("a text, number or boolean"),
        ),
        v.transform(String),
    );
    return known(problem ? v.pipe(written, refuse(problem)) : written);
}

/** Any value at all. */
export function anything(): Schema {
    return v.unknown();
}

export function flag(): Schema {
    return known(v.boolean(expected("true or false")));
}

/** A number within limits, whole unless said otherwise. */
export function number(limits: { min: number; max?: number; fraction?: boolean }): Schema {
    const { min, max = Number.MAX_SAFE_INTEGER, fraction = false } = limits;
    const range = max === Number.MAX_SAFE_INTEGER ? `at least ${min}` : `from ${min} to ${max}`;
    const what = fraction ? "a number" : "a whole number";
    return known(
        v.pipe(
            v.number(expected(what)),
            refuse((value: number) => {
                if (!fraction && !Number.isInteger(value)) return `must be ${what}, not ${value}`;
                if (value < min || value > max) return `must be ${range}, not ${value}`;
                return undefined;
            }),
        ),
    );
}

/** Bytes, at least `min`; `special` are numbers with a meaning of their own, like -1 for unlimited. */
export function size(options: { min?: number; special?: number[] } = {}): Schema {
    const { min = 0, special = [] } = options;
    const plain = v.custom<string | number>(
        (input) => typeof input === "string" || typeof input === "number",
        expected('a number of bytes or a text like "512MiB"'),
    );
    return known(
        v.pipe(
            plain,
            refuse((value) => {
                if (typeof value === "number" && special.includes(value)) return undefined;
                if (typeof value === "number" && value < 0) return `must not be negative, and is ${value}`;
                const parsed = parseSize(value);
                if (parsed === undefined) return `is not a size: write bytes as a number, or like "512MiB" or "2g"`;
                return parsed < min ? `must be at least ${min} bytes` : undefined;
            }),
            v.transform((value) => (typeof value === "number" ? value : parseSize(value))),
        ),
    );
}

/** A duration like `90s`; becomes `1m30s`. It stays a text, so that what `check` gave can be given to it again. */
export function duration(): Schema {
    return known(
        v.pipe(
            v.string(expected('a duration with its unit like "30s"')),
            refuse((value) =>
                parseDuration(value) === undefined ? 'is not a duration: write it like "30s" or "1m30s"' : undefined,
            ),
            v.transform((value) => formatDuration(parseDuration(value) ?? 0)),
        ),
    );
}

/** One of some words. */
export function oneOf(...words: string[]): Schema {
    const list = words.map((word) => JSON.stringify(word)).join(", ");
    return known(
        v.picklist(words, (issue) => {
            const given = typeof issue.input === "string" ? JSON.stringify(issue.input) : kindOf(issue.input);
            return `must be one of ${list}, not ${given}`;
        }),
    );
}

export function list(item: Schema): Schema {
    return known(v.array(item, expected("a list")));
}

/** Capabilities; become upper case, without `CAP_`, each once and sorted, so that equal sets are equal. */
export function capabilities(): Schema {
    const capability = text("a capability", (name) =>
        CAPABILITIES.has(plainCapability(name)) ? undefined : "is no capability of Linux, like NET_ADMIN, or ALL",
    );
    return known(
        v.pipe(
            v.array(capability, expected("a list")),
            v.transform((names) => [...new Set(names.map((name) => plainCapability(name as string)))].sort()),
        ),
    );
}

function plainCapability(name: string): string {
    return isUnknown(name) ? name : name.toUpperCase().replace(/^CAP_/, "");
}

/** A text or number by the first description, anything else by the second. */
export function either(plain: Schema, structured: Schema): Schema {
    return v.lazy((input) => (typeof input === "object" && input !== null ? structured : plain));
}

/** Rewrites a short form into the long one before it is looked at. */
export function expand(rewrite: (value: unknown) => unknown, schema: Schema): Schema {
    return v.pipe(v.unknown(), v.transform(rewrite), schema);
}

/** Values by name. Names whose value is absent are left out. */
export function map(value: Schema, problem?: (key: string) => string | undefined): Schema {
    const isMap = v.custom<Record<string, unknown>>(
        (input) => typeof input === "object" && input !== null && !Array.isArray(input),
        expected("a map"),
    );
    const key = problem ? v.pipe(v.string(), refuse(problem)) : v.string();
    return known(
        v.pipe(
            isMap,
            v.transform((input) =>
                Object.fromEntries(Object.entries(input).filter(([, inner]) => inner !== null && inner !== undefined)),
            ),
            v.record(key, value),
        ),
    );
}

/** A map with these names and no others. Each other name is an issue of its own, which tells the names that there are. */
export function object(
    entries: Record<string, Schema>,
    problem?: (value: Record<string, unknown>) => string | undefined,
): Schema {
    const loose = v.looseObject(entries, (issue) =>
        issue.expected === "Object" ? expected("a map")(issue) : "is missing, and must be given",
    );
    const strict = v.pipe(
        loose,
        v.rawCheck(({ dataset, addIssue }) => {
            const input = dataset.value;
            if (typeof input !== "object" || input === null || Array.isArray(input)) return;
            for (const [key, value] of Object.entries(input as Record<string, unknown>)) {
                if (Object.hasOwn(entries, key) || value === undefined) continue;
                const path: v.ObjectPathItem = {
                    type: "object",
                    origin: "key",
                    input: dataset.value as Record<string, unknown>,
                    key,
                    value,
                };
                addIssue({ message: Object.keys(entries).join(","), expected: UNKNOWN_NAME, path: [path] });
            }
        }),
    );
    if (!problem) return known(strict);
    return known(
        v.pipe(
            strict,
            refuse((value) => problem(value as Record<string, unknown>)),
        ),
    );
}

/** What an issue about a name that is none of the map's says that it expected. */
export const UNKNOWN_NAME = "a known name";

/** A check with a sentence: `problem` gives what is wrong, or undefined. */
function refuse<T>(problem: (value: T) => string | undefined): v.RawCheckAction<T> {
    return v.rawCheck(({ dataset, addIssue }) => {
        if (!dataset.typed) return;
        const message = problem(dataset.value);
        if (message !== undefined) addIssue({ message });
    });
}
