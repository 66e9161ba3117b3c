/** Pictures of what participants see. */
import type { Page } from "playwright-core";
import type { Participant } from "./browser";
import type { Colour } from "./camera";

/** What a page shows of a participant: the colour of a corner of the picture, and a number that changes as it moves. */
export interface Seen {
    width: number;
    height: number;
    corner: Colour;
    print: number;
}

/** Looks at the picture of another participant, as it is drawn now. Undefined while there is none. */
export function look(page: Page, name: string): Promise<Seen | undefined> {
    // As text: it runs in the page.
    return page.evaluate(`(() => {
        const figures = [...document.querySelectorAll("figure")];
        const video = figures.find((one) => one.querySelector("span").textContent === ${JSON.stringify(name)})?.querySelector("video");
        if (!video?.videoWidth) return undefined;
        const { videoWidth: width, videoHeight: height } = video;
        const canvas = Object.assign(document.createElement("canvas"), { width, height });
        const context = canvas.getContext("2d");
        context.drawImage(video, 0, 0);
        const { data } = context.getImageData(0, 0, width, height);
        let print = 0;
        for (let index = 0; index < data.length; index += 4) print = (print * 31 + data[index]) >>> 0;
        return { width, height, corner: [...data.slice(0, 3)], print };
    })()`);
}

/** How far two colours are apart, 0 to 441. */
export function distance(one: Colour, other: Colour): number {
    return Math.hypot(one[0] - other[0], one[1] - other[1], one[2] - other[2]);
}

/** Writes a picture (PNG) of the pages of participants, one below the other. */
export async function photograph(participants: readonly [Participant, ...Participant[]], file: string): Promise<void> {
    const pictures: string[] = [];
    for (const { page } of participants) pictures.push((await page.screenshot()).toString("base64"));
    const page = await participants[0].page.context().newPage();
    const images = pictures.map((data) => `<img src="data:image/png;base64,${data}">`);
    await page.setViewportSize({ width: 744, height: 12 + pictures.length * 412 });
    await page.setContent(
        `<style>body { margin: 12px; background: #5b6475 } img { display: block; margin-bottom: 12px }</style>${images.join("")}`,
    );
    await page.screenshot({ path: file });
    await page.close();
}
