/** The picture of a benchmark run: for each line a bar of what was used of its limit. Pure; SVG without fonts or scripts. */
import type { Line } from "./measure";
import { figureText } from "./report";

const WIDTH = 860;
const ROW = 34;
const TOP = 46;
/** Where the bars begin, and where a bar that is exactly at its limit ends. */
const LEFT = 430;
const LIMIT = 730;
/** A bar that runs further is cut here. */
const RIGHT = 800;

/** Draws the lines. Light and dark: grey text that reads on both. */
export function svg(lines: readonly Line[]): string {
    const height = TOP + lines.length * ROW + 16;
    return [
        `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="13">`,
        "<title>Benchmarks: how much of each limit was used</title>",
        `<text x="${LIMIT}" y="22" text-anchor="middle" fill="#777">limit</text>`,
        ...lines.flatMap(bar),
        `<line x1="${LIMIT}" y1="30" x2="${LIMIT}" y2="${height - 12}" stroke="#777" stroke-dasharray="4 3"/>`,
        "</svg>",
        "",
    ].join("\n");
}

function bar(line: Line, index: number): string[] {
    const y = TOP + index * ROW;
    // Where nothing is allowed, anything is beyond the limit.
    const share = line.limit === 0 ? line.figure * 2 : Math.max(0, line.figure / line.limit);
    const length = Math.min(RIGHT, LEFT + share * (LIMIT - LEFT)) - LEFT;
    const colour = line.reached ? "#2f9e69" : "#d9480f";
    return [
        `<text x="${LEFT - 12}" y="${y + 16}" text-anchor="end" fill="#777">${escape(line.what)}</text>`,
        `<rect x="${LEFT}" y="${y}" width="${Math.max(length, 1).toFixed(1)}" height="22" rx="3" fill="${colour}"/>`,
        `<text x="${LEFT + 8}" y="${y + 16}" fill="#fff">${escape(figureText(line))}</text>`,
    ];
}

function escape(text: string): string {
    return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
