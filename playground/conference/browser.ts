/** Debian's Chromium without a screen, on a worker: it has the worker's network, and ends with the worker. */
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { type Page, chromium } from "playwright-core";
import { shellQuote } from "../../provider/node/shell";
import type { Worker } from "../worker";
import { type Colour, writeCameraFilm } from "./camera";
import type { Certificate } from "./certificate";

/** Where Debian's package has it. */
const CHROMIUM = "/usr/bin/chromium";

export interface ParticipantOptions {
    name: string;
    /** What the camera sees behind the ball. */
    colour: Colour;
    /** The one that the browser trusts. */
    certificate: Certificate;
}

/** A participant: a browser of its own, with a camera of its own. */
export interface Participant extends ParticipantOptions {
    page: Page;
    /** Errors of the page, as the browser's console has them. */
    problems: string[];
    /** Ends the browser as it is, without a word to others. */
    close(): Promise<void>;
}

/** Starts a participant's browser on a worker, with an empty page. `options.name` is unique on the worker. */
export async function startParticipant(worker: Worker, options: ParticipantOptions): Promise<Participant> {
    // Inside the worker its folder is where it is here; what is left in it goes with the worker.
    const folder = path.join(worker.dir, `participant-${options.name}`);
    await mkdir(folder);
    const film = path.join(folder, "camera.y4m");
    await writeCameraFilm(film, options.colour);
    const launcher = path.join(folder, "chromium");
    const [command, args] = worker.enter(CHROMIUM, []);
    const words = [command, ...args].map(shellQuote).join(" ");
    await writeFile(launcher, `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
    const context = await chromium.launchPersistentContext(path.join(folder, "profile"), {
        executablePath: launcher,
        artifactsDir: path.join(folder, "artifacts"),
        env: { ...worker.environment(), HOME: folder },
        viewport: { width: 720, height: 400 },
        args: [
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            `--use-file-for-fake-video-capture=${film}`,
            `--ignore-certificate-errors-spki-list=${options.certificate.fingerprint}`,
        ],
    });
    const page = context.pages()[0] ?? (await context.newPage());
    const problems: string[] = [];
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("console", (message) => {
        if (message.type() === "error") problems.push(message.text());
    });
    const close = async () => {
        await context.close();
        await rm(folder, { recursive: true, force: true });
    };
    return { ...options, page, problems, close };
}
