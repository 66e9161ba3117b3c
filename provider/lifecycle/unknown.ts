/** Values that are not known yet: what a preview has for an Output of something that does not exist. */

/** The text that stands for a value not known yet in what the engine sends. The same in every Pulumi SDK. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/** Whether a value is not known yet. */
export function isUnknown(value: unknown): boolean {
    return value === UNKNOWN;
}

/** Whether anything in a value is not known yet. */
export function holdsUnknown(value: unknown): boolean {
    if (isUnknown(value)) return true;
    return typeof value === "object" && value !== null && Object.values(value).some(holdsUnknown);
}
