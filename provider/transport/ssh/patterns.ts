/** OpenSSH's patterns (ssh_config(5), PATTERNS): `*`, `?`, and lists of them in which `!` takes away. Pure. */

/**
 * Whether a text matches a pattern of `*` and `?`, as a whole and case-sensitively. Takes at most the product of both lengths:
 * after a mismatch only the last `*` is tried further, which is enough because an earlier one could not do better.
 */
export function matchesPattern(text: string, pattern: string): boolean {
    let at = 0;
    let next = 0;
    let star = -1;
    let retry = 0;
    while (at < text.length) {
        if (pattern[next] === "*") {
            star = next++;
            retry = at;
        } else if (next < pattern.length && (pattern[next] === "?" || pattern[next] === text[at])) {
            at++;
            next++;
        } else if (star >= 0) {
            next = star + 1;
            at = ++retry;
        } else {
            return false;
        }
    }
    while (pattern[next] === "*") next++;
    return next === pattern.length;
}

/**
 * The pattern of a list that a text matches, or `undefined`: for none, and when a pattern with `!` matches, wherever it stands.
 */
export function matchingPattern(text: string, patterns: readonly string[]): string | undefined {
    let found: string | undefined;
    for (const pattern of patterns) {
        const negated = pattern.startsWith("!");
        if (!matchesPattern(text, negated ? pattern.slice(1) : pattern)) continue;
        if (negated) return undefined;
        found ??= pattern;
    }
    return found;
}

/** Whether a pattern fits every text (`*`, `**`, `?*`): it names nothing. */
export function matchesEverything(pattern: string): boolean {
    return pattern.includes("*") && /^[*?]+$/.test(pattern);
}

/** Whether a text is a pattern rather than a name. */
export function isPattern(text: string): boolean {
    return /[*?!]/.test(text);
}
