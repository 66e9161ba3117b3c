/**
 * The door for Pulumi's dynamic resources: what `require("pulumi-containerd/provider")` gives to a state's `__provider`. It
 * translates between that protocol and the lifecycles, and holds nothing else. The names exported here are a contract with
 * every state that was ever written.
 */
import type { dynamic } from "@pulumi/pulumi";
import { ContainerdError } from "../errors";
import { container } from "../lifecycle/container";
import { image } from "../lifecycle/image";
import { type Lifecycle, NotReady } from "../lifecycle/lifecycle";
import { network } from "../lifecycle/network";
import { node } from "../lifecycle/node";
import { pod } from "../lifecycle/pod";
import { Run } from "../lifecycle/run";
import { readSettings } from "../lifecycle/settings";
import { steadfast } from "../lifecycle/steadfast";
import { task } from "../lifecycle/task";
import { volume } from "../lifecycle/volume";
import { isKnownHost } from "../transport/ssh/ssh-config";
import { localSshFiles } from "../transport/ssh/ssh-files";
import { EngineReporter, endWithEngine } from "./engine";
import { boundMemory } from "./memory";

type Props = Record<string, unknown>;

let run: Run | undefined;
let settingsProblem: unknown;

/** The run is one for all kinds: they share connections and what was looked up. */
function configure({ config }: dynamic.ConfigureRequest): Promise<void> {
    if (!run) {
        try {
            const files = localSshFiles();
            const settings = readSettings(
                (key) => config.get(key),
                (name) => isKnownHost(name, files),
            );
            run = Run.start(settings, new EngineReporter(), files);
            endWithEngine();
            boundMemory();
        } catch (error) {
            settingsProblem = error;
        }
    }
    return Promise.resolve();
}

/** `props`: of the resource that is worked on. */
function currentRun(props: Props): Run {
    if (!run)
        throw settingsProblem ?? new ContainerdError("Failed", "the engine called before it configured the provider");
    return run.for(props);
}

/** One lifecycle as the dynamic protocol wants it. */
function door<Inputs extends object, State extends Inputs>(life: Lifecycle<Inputs, State>): dynamic.ResourceProvider {
    return {
        configure,
        async check(olds: Props, news: Props) {
            const before = strip(olds);
            try {
                const old = Object.keys(before).length ? (before as Inputs) : undefined;
                const { inputs, failures } = await life.check(currentRun(news), old, strip(news));
                return {
                    inputs: withoutAbsent(inputs as Props),
                    // Under an empty property, because the engine prints the value of a named one, which may be a secret.
                    failures: failures.map(({ property, reason }) => ({
                        property: "",
                        reason: property ? `${property}: ${reason}` : reason,
                    })),
                };
            } catch (error) {
                const { message } = ContainerdError.from(error);
                return { inputs: withoutAbsent(strip(news)), failures: [{ property: "", reason: message }] };
            }
        },
        diff(_id, olds: Props, news: Props) {
            const difference = life.diff(strip(olds) as State, strip(news) as Inputs);
            const { changed, replaces, deleteBeforeReplace, warning } = difference;
            if (warning) currentRun(news).report.warn(String(news.owner), warning);
            return Promise.resolve({ changes: changed.length > 0, replaces, deleteBeforeReplace });
        },
        async create(inputs: Props) {
            return onRecord(inputs, async () => {
                const { id, state } = await life.create(currentRun(inputs), strip(inputs) as Inputs);
                return { id, outs: withoutAbsent(state as Props) };
            });
        },
        async read(id, props: Props = {}) {
            try {
                const found = await life.read(currentRun(props), id, strip(props) as State);
                if (found) return { id, props: withoutAbsent(found as Props) };
                // Whoever asks by an id alone (`get`) wants what it names.
                if (Object.keys(strip(props)).length === 0) {
                    throw new ContainerdError("NotFound", `there is nothing ${id} on the node`);
                }
                return { id: "" };
            } catch (error) {
                throw short(error);
            }
        },
        async update(id, olds: Props, news: Props) {
            return onRecord(news, async () => {
                const state = await life.update(currentRun(news), id, strip(olds) as State, strip(news) as Inputs);
                return { outs: withoutAbsent(state as Props) };
            });
        },
        async delete(id, props: Props) {
            try {
                await life.delete(currentRun(props), id, strip(props) as State);
            } catch (error) {
                throw short(error);
            }
        },
    };
}

/** Runs a create or update; what was made but is not ready is told to the engine in the way that it records. */
async function onRecord<T>(inputs: Props, deed: () => Promise<T>): Promise<T> {
    try {
        return await deed();
    } catch (error) {
        if (!(error instanceof NotReady)) throw plain(error);
        throw Object.assign(plain(error), {
            id: error.made.id,
            properties: { ...withoutAbsent(error.made.state as Props), [PROVIDER]: inputs[PROVIDER] },
            reasons: [error.message],
        });
    }
}

const PROVIDER = "__provider";

function strip(props: Props): Props {
    const rest = { ...props };
    delete rest[PROVIDER];
    return rest;
}

/** The protocol's values know no `undefined`. */
function withoutAbsent(props: Props): Props {
    return JSON.parse(JSON.stringify(props)) as Props;
}

/** The error as the user should see it, without a stack, which helps nobody. */
function plain(error: unknown): Error {
    const shown = new Error(ContainerdError.from(error).message);
    shown.stack = "";
    return shown;
}

/**
 * The same for delete and read: what they throw the SDK also prints, as `ERROR: STACK`, and the engine shows that on the stack's row,
 * beside the message on the resource's own.
 */
function short(error: unknown): Error {
    const { node: at } = ContainerdError.from(error);
    const where = at === undefined ? "pulumi-containerd" : `node ${at}`;
    return Object.assign(plain(error), { stack: "failed, see the resource's own error", toString: () => where });
}

export const Node = door(node);
export const Network = door(steadfast("network", network));
export const Pod = door(steadfast("pod", pod));
export const Image = door(steadfast("image", image));
export const Container = door(steadfast("container", container));
export const Task = door(steadfast("task of container", task));
export const Volume = door(steadfast("volume", volume));
