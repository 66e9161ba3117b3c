/** Everything that a doctor asks one node, gathered: from here on there are only decisions. */
import { nodeFacts, type NodeFacts } from "../containerd/facts";
import { ContainerdError } from "../errors";
import { nodeSettings, type NodeSettings } from "../lifecycle/settings";
import type { Run } from "../lifecycle/run";
import { survey, type Survey } from "../node/survey";
import { resolveJumps, resolveSshHost } from "../transport/ssh/ssh-config";
import { localSshFiles, type SshFiles } from "../transport/ssh/ssh-files";
import { type Belonging, listBelongings } from "./belongings";
import { word } from "./finding";

/** What was learned of a node; what could not be is absent, and `…Error` says why. */
export interface Examination {
    node: string;
    /** By which `ssh` reaches the same machine; `undefined` for this machine. */
    ssh?: string;
    /** Path of containerd's socket on it. */
    socket: string;
    /** The command that opens the socket, where sshd itself may not. */
    dial?: string;
    /** What ssh_config says of it, or of a machine on the way, and is not obeyed: a sentence each. */
    notes?: string[];
    /** Why nothing could be tried: its settings are wrong, or nobody knows it. */
    settingsError?: ContainerdError;
    survey?: Survey;
    surveyError?: ContainerdError;
    facts?: NodeFacts;
    /** Why containerd does not answer. */
    containerdError?: ContainerdError;
    /** What of ours is there. */
    belongings?: Belonging[];
    belongingsError?: ContainerdError;
}

/**
 * Asks a node everything. Never throws: what fails is part of what was learned.
 *
 * @param files OpenSSH's own configuration.
 */
export async function examine(run: Run, node: string, files: SshFiles = localSshFiles()): Promise<Examination> {
    try {
        const settings = nodeSettings(run.settings, node);
        const transport = run.transport(node);
        const seen: Examination = { node, socket: transport.socket };
        if (settings.host !== undefined) {
            const { host } = settings;
            seen.ssh = sshCommand({ ...settings, host });
            seen.notes = notesOf({ ...settings, host }, files);
        }
        if (settings.dial !== undefined) seen.dial = settings.dial;
        await Promise.all([
            survey(transport).then(
                (found) => (seen.survey = found),
                (error: unknown) => (seen.surveyError = ContainerdError.from(error)),
            ),
            run
                .client(node, "default")
                .then(nodeFacts)
                .then(
                    (found) => (seen.facts = found),
                    (error: unknown) => (seen.containerdError = ContainerdError.from(error)),
                ),
        ]);
        if (seen.facts) {
            await run
                .client(node, "default")
                .then((client) => listBelongings(client, transport, seen.survey))
                .then(
                    (found) => (seen.belongings = found),
                    (error: unknown) => (seen.belongingsError = ContainerdError.from(error)),
                );
        }
        return seen;
    } catch (error) {
        return { node, socket: "", settingsError: ContainerdError.from(error) };
    }
}

/** Throws what looking up throws; a machine on the way that is a node itself is looked at as that node. */
function notesOf({ host, user, port, jump }: NodeSettings & { host: string }, files: SshFiles): string[] {
    const found = resolveSshHost(host, files, { user, port, jump });
    return [...new Set([...resolveJumps(found, files), found].flatMap(({ notes }) => notes))];
}

/** The command by which a person logs in as we do, as far as `ssh` can be told on its command line. */
export function sshCommand({ host, port, user, identityFile, jump }: NodeSettings & { host: string }): string {
    const options = [
        ...(port === undefined ? [] : ["-p", String(port)]),
        ...(identityFile === undefined ? [] : ["-i", identityFile]),
        ...(jump === undefined ? [] : ["-J", jump]),
    ];
    return ["ssh", ...options, user === undefined ? host : `${user}@${host}`].map(word).join(" ");
}
