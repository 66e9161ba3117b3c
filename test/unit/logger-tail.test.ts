/** The end of a log in an error message: which lines, how many bytes, nothing that a terminal would obey. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { lastLines } from "../../provider/node/log-tail";

describe("lastLines", () => {
    it("gives the last lines, without the line ends", () => {
        assert.deepEqual(lastLines("a\nb\r\nc\n", 2), ["b", "c"]);
        assert.deepEqual(lastLines("a\n\nb", 2), ["", "b"]);
        assert.deepEqual(lastLines("10%\r20%\r\n"), ["10%", "20%"]);
        assert.equal(lastLines("x\n".repeat(100)).length, 20);
    });

    it("gives nothing for nothing", () => {
        assert.deepEqual(lastLines(""), []);
        assert.deepEqual(lastLines(Buffer.from("\n\n")), []);
        assert.deepEqual(lastLines("a", 0), []);
    });

    it("marks a first line that is cut, and only that", () => {
        assert.deepEqual(lastLines("abcdef\nxyz", 20, 7), ["…def", "xyz"]);
        assert.deepEqual(lastLines("abcdef\nxyz", 1, 7), ["xyz"]);
    });

    it("doesn't cut a character in two", () => {
        assert.deepEqual(lastLines("ää", 20, 3), ["…ä"]);
        assert.deepEqual(lastLines("😀😀", 20, 7), ["…😀"]);
    });

    it("removes terminal sequences and shows other control characters", () => {
        assert.deepEqual(lastLines("\u001b[31mred\u001b[0m \u001b]0;title\u0007x"), ["red x"]);
        assert.deepEqual(lastLines("bell\u0007 nul\0 c1\u009b tab\t"), ["bell\\u{7} nul\\u{0} c1\\u{9b} tab\t"]);
        assert.deepEqual(lastLines("a\u202Eb\u2028c"), ["a\\u{202e}b\\u{2028}c"]);
    });

    it("takes bytes that are no text", () => {
        assert.deepEqual(lastLines(Buffer.from([0x61, 0xff, 0xfe, 0x62])), ["a\ufffd\ufffdb"]);
    });

    it("keeps to its limits and lets nothing through, whatever comes", () => {
        fc.assert(
            fc.property(
                fc.uint8Array({ maxLength: 300 }),
                fc.nat(10),
                fc.integer({ min: 1, max: 100 }),
                (bytes, n, max) => {
                    const lines = lastLines(Buffer.from(bytes), n, max);
                    assert.ok(lines.length <= n);
                    assert.ok(Buffer.byteLength(lines.join("\n").replace(/^…/, "")) <= max);
                    // eslint's no-control-regex is about mistakes; \p{Cc} says the same
                    assert.doesNotMatch(lines.join(""), /(?!\t)\p{Cc}/u);
                },
            ),
        );
    });
});
