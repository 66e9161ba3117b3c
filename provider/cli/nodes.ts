/** A run of this package without Pulumi's engine: nodes as a project's config and ssh_config say how they are reached. */
import { Run } from "../lifecycle/run";
import { LOCALHOST, readSettings } from "../lifecycle/settings";
import { isKnownHost } from "../transport/ssh/ssh-config";
import { localSshFiles } from "../transport/ssh/ssh-files";
import { type Place, readConfig } from "./project";

/** Begins a run. Close it. Throws `Invalid` for a config that cannot be read, and what {@link readConfig} throws. */
export async function startRun(place: Place): Promise<Run> {
    const files = localSshFiles();
    const settings = readSettings(await readConfig(place), (name) => isKnownHost(name, files));
    const silent = { progress: () => undefined, warn: () => undefined };
    return Run.start(settings, silent, files);
}

/** The nodes that are meant when none is named: all that are configured, else this machine. */
export function allNodes({ settings }: Run): string[] {
    const names = Object.keys(settings.nodes);
    return names.length ? names : [LOCALHOST];
}
