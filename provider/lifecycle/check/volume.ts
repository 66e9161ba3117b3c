/** What a Volume's arguments must be like. */
import { volumeProblem } from "../../spec/volumes";
import type { VolumeInputs } from "../../spec/inputs";
import type { Failure } from "../lifecycle";
import { identifierProblem } from "../names";
import { holdsUnknown } from "../unknown";
import { bookkeeping, labelProblem, labelValueProblem } from "./common";
import * as s from "./schema";
import { formatPath } from "./validate";

function noNul(text: string): string | undefined {
    return text.includes("\0") ? "must not hold a NUL character" : undefined;
}

function octal(mode: string): string | undefined {
    return /^0?[0-7]{3,4}$/.test(mode) ? undefined : 'must be an octal mode like "0755"';
}

/** Driver and options, as a Volume has them and as whoever mounts one does. */
export const volumeArguments = {
    driver: s.optional(s.oneOf("local", "nfs", "cifs", "tmpfs")),
    options: s.optional(
        s.object({
            type: s.optional(
                s.text("a type of file system", (type) =>
                    /^[a-z0-9][a-z0-9._-]*$/.test(type) ? undefined : 'must be a type of file system like "nfs"',
                ),
            ),
            device: s.optional(s.text("what is mounted", noNul)),
            o: s.optional(s.text('options like "rw,nfsvers=4"', noNul)),
        }),
    ),
};

export const volumeSchema = s.object({
    ...bookkeeping,
    ...volumeArguments,
    name: s.optional(s.text("a name", identifierProblem)),
    directory: s.optional(
        s.object({
            uid: s.optional(s.number({ min: 0, max: 2 ** 32 - 2 })),
            gid: s.optional(s.number({ min: 0, max: 2 ** 32 - 2 })),
            mode: s.optional(s.text("an octal mode", octal)),
        }),
    ),
    labels: s.optional(s.map(s.scalar(labelValueProblem), labelProblem)),
    // What an earlier check added comes back with ignoreChanges.
    path: s.optional(s.text()),
});

/** What is wrong with arguments that are well by themselves, but not together. */
export function volumeContradictions(given: VolumeInputs & { directory?: object }): Failure[] {
    if (holdsUnknown({ driver: given.driver, options: given.options })) return [];
    const problem = volumeProblem(given);
    if (problem) return [{ property: formatPath(["options", problem.option]), reason: problem.reason }];
    if (given.directory !== undefined && (given.driver !== "local" || given.options !== undefined)) {
        return [
            { property: "directory", reason: "is for a `local` volume without options: no other is a folder of ours" },
        ];
    }
    return [];
}
