/** How a benchmark's figures are written. */
import assert from "node:assert/strict";
import type { Line } from "../bench/measure";
import { figureText } from "../bench/report";

describe("a benchmark's figure", () => {
    const rows: [kind: Line["kind"], unit: Line["unit"], figure: number, text: string][] = [
        ["ratio", "ms", 1.234, "1.23 ×"],
        ["ratio", "ms", 0.7, "0.70 ×"],
        ["ratio", "ms", 0.05, "0.050 ×"],
        ["ratio", "ms", 0.00123, "0.0012 ×"],
        ["ratio", "ms", 0.001, "0.0010 ×"],
        ["ratio", "ms", 0, "0.00 ×"],
        ["ratio", "ms", 12.3, "12.30 ×"],
        ["more", "ms", -5.2, "− 5 ms"],
        ["more", "ms", 83, "+ 83 ms"],
        ["absolute", "MB", 142.4, "142 MB"],
        ["absolute", "packets", 0, "0 packets"],
    ];
    for (const [kind, unit, figure, text] of rows) {
        it(`${kind} ${figure} ${unit} is ${text}`, () => assert.equal(figureText({ kind, unit, figure }), text));
    }
});
