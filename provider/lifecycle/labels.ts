/** Labels of the user's: what changes, and which of those found are ours to compare. Pure. */

/** What makes the old labels into the new ones; an empty value takes one away. */
export function labelChange(
    olds: Record<string, string> = {},
    news: Record<string, string> = {},
): Record<string, string> {
    const gone = Object.keys(olds).filter((key) => !Object.hasOwn(news, key));
    return { ...Object.fromEntries(gone.map((key) => [key, ""])), ...news };
}

/** The labels found, as far as the resource set them: what others added is theirs. */
export function givenLabels(
    found: Record<string, string>,
    given: Record<string, string> | undefined,
): Record<string, string> | undefined {
    return given && Object.fromEntries(Object.entries(found).filter(([key]) => Object.hasOwn(given, key)));
}
