/**
 * Data in shell scripts. The one place where a value becomes shell text, so that there is one thing to test.
 */
import { ContainerdError } from "../errors";

/**
 * A string as one word of a POSIX shell, whatever it contains. Throws `Invalid` for a NUL character, which no shell can hold.
 *
 * @example shellQuote("it's") // 'it'\''s'
 */
export function shellQuote(text: string): string {
    if (text.includes("\0")) throw new ContainerdError("Invalid", "a NUL character can't be handed to a command");
    return `'${text.replaceAll("'", `'\\''`)}'`;
}
