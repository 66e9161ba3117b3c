/** In which order a run of the engine began and ended its steps: what went on side by side, and what before what. */
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import type { Stack } from "../../playground/stack";

/** A moment of a step. */
export interface Moment {
    /** Name of the resource. */
    name: string;
    /** Without the package: like `Container`. */
    kind: string;
    at: "begin" | "end" | "failure";
}

interface EngineEvent {
    resourcePreEvent?: { metadata: { urn: string } };
    resOutputsEvent?: { metadata: { urn: string } };
    resOpFailedEvent?: { metadata: { urn: string } };
}

/** The steps of a stack's last run with containerd's resources, as they came. */
export async function timeline(stack: Stack): Promise<Moment[]> {
    const logs = (await readdir(stack.folder)).flatMap((file) => /^events-(\d+)\.json$/.exec(file)?.[1] ?? []);
    const last = Math.max(...logs.map(Number));
    const text = await readFile(path.join(stack.folder, `events-${last}.json`), "utf8");
    const events = text
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line) as EngineEvent);
    return events.flatMap((event) => {
        const { resourcePreEvent: begin, resOutputsEvent: end, resOpFailedEvent: failure } = event;
        const urn = (begin ?? end ?? failure)?.metadata.urn;
        const kind = /dynamic\/containerd:(\w+)::/.exec(urn ?? "")?.[1];
        if (urn === undefined || kind === undefined) return [];
        const name = urn.split("::").slice(3).join("::");
        return [{ name, kind, at: begin ? ("begin" as const) : end ? ("end" as const) : ("failure" as const) }];
    });
}

/** How many steps of a kind went on at the same time, at most. */
export function sideBySide(moments: readonly Moment[], kind: string): number {
    let now = 0;
    let most = 0;
    for (const moment of moments) {
        if (moment.kind !== kind) continue;
        now += moment.at === "begin" ? 1 : -1;
        most = Math.max(most, now);
    }
    return most;
}
