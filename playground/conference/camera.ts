/** What a fake camera sees: a ball that moves over a background of the participant's own colour, as a YUV4MPEG2 film. */
import { writeFile } from "node:fs/promises";

const WIDTH = 320;
const HEIGHT = 240;
const RATE = 10;
/** Three seconds, which the browser repeats. */
const FRAMES = 3 * RATE;
const RADIUS = 44;

/** Red, green and blue, 0 to 255. */
export type Colour = readonly [red: number, green: number, blue: number];

const BALL: Colour = [245, 245, 240];

/** Writes a film of 320 × 240 at 10 frames a second. */
export async function writeCameraFilm(file: string, background: Colour): Promise<void> {
    const frames = Array.from({ length: FRAMES }, (_, index) => frame((2 * Math.PI * index) / FRAMES, background));
    const header = `YUV4MPEG2 W${WIDTH} H${HEIGHT} F${RATE}:1 Ip A1:1 C420jpeg\n`;
    await writeFile(file, Buffer.concat([Buffer.from(header), ...frames]));
}

/** One frame, with the ball at an angle of its round: a plane of brightness, and two of colour at half the size. */
function frame(angle: number, background: Colour): Buffer {
    const [x, y] = [WIDTH / 2 + 84 * Math.cos(angle), HEIGHT / 2 + 56 * Math.sin(angle)];
    const colourAt = (column: number, row: number) => (Math.hypot(column - x, row - y) < RADIUS ? BALL : background);
    const plane = (step: number, value: (colour: Colour) => number): Buffer => {
        const bytes = Buffer.alloc((WIDTH / step) * (HEIGHT / step));
        for (let index = 0; index < bytes.length; index++) {
            const [column, row] = [(index % (WIDTH / step)) * step, Math.floor(index / (WIDTH / step)) * step];
            bytes[index] = Math.round(Math.min(255, Math.max(0, value(colourAt(column, row)))));
        }
        return bytes;
    };
    return Buffer.concat([Buffer.from("FRAME\n"), plane(1, luma), plane(2, blueDifference), plane(2, redDifference)]);
}

/** BT.601, limited range, as video cameras have it. */
function luma([red, green, blue]: Colour): number {
    return 16 + 0.257 * red + 0.504 * green + 0.098 * blue;
}

function blueDifference([red, green, blue]: Colour): number {
    return 128 - 0.148 * red - 0.291 * green + 0.439 * blue;
}

function redDifference([red, green, blue]: Colour): number {
    return 128 + 0.439 * red - 0.368 * green - 0.071 * blue;
}
