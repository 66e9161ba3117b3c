/**
 * The end of a log, fit to be shown in an error message.
 */
import { stripVTControlCharacters } from "node:util";

/**
 * The last lines of a container's output. A container can write anything, and the lines reach a user's terminal: so
 * terminal sequences are removed, and other control and formatting characters (also those that turn the direction of
 * writing) are shown as `\u{7}`. What isn't UTF-8 becomes U+FFFD. Lines end with LF, CR or both, and come without them.
 *
 * @param output the log or a part from its end
 * @param count how many lines at most
 * @param maxBytes how many bytes of UTF-8 at most, line ends counted; the first line then starts with `…`
 */
export function lastLines(output: string | Buffer, count = 20, maxBytes = 4096): string[] {
    const whole = typeof output === "string" ? Buffer.from(output) : output;
    const end = tail(whole, maxBytes);
    const all = end.text.replace(/[\r\n]+$/, "").split(/\r\n|\n|\r/);
    const kept = count > 0 ? all.slice(-count) : [];
    // Making characters visible makes the text longer, so its size is looked at once more.
    const shown = tail(Buffer.from(kept.map(visible).join("\n")), maxBytes);
    const lines = shown.text === "" ? [] : shown.text.split("\n");
    const isCut = shown.isCut || (end.isCut && kept.length === all.length);
    return lines.map((line, index) => (index === 0 && isCut ? `…${line}` : line));
}

/** The last bytes, from a character's start on, as text. */
function tail(bytes: Buffer, maxBytes: number): { text: string; isCut: boolean } {
    if (bytes.length <= maxBytes) return { text: bytes.toString("utf8"), isCut: false };
    let start = bytes.length - Math.max(0, maxBytes);
    // A character of UTF-8 has three continuation bytes (10xxxxxx) at most.
    for (let i = 0; i < 3 && ((bytes[start] ?? 0) & 0xc0) === 0x80; i++) start++;
    return { text: bytes.subarray(start).toString("utf8"), isCut: true };
}

function visible(line: string): string {
    return stripVTControlCharacters(line).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
        character === "\t" ? character : `\\u{${character.codePointAt(0)?.toString(16)}}`,
    );
}
