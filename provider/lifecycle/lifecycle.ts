/**
 * What every resource's life is made of. Knows nothing of who calls: the adapter to Pulumi's dynamic protocol does, and a
 * second door (a provider with a schema) could open onto the same rooms.
 */
import { ContainerdError } from "../errors";
import type { Run } from "./run";

/** A sentence about an argument that `check` refuses. */
export interface Failure {
    /** Path of the argument, like `ports[0].host`; empty for the whole. */
    property: string;
    reason: string;
}

/** What is to be done to make what is there into what is wanted. */
export interface Difference {
    /** Names of the changed arguments. */
    changed: string[];
    /** Those among them that need a new object. */
    replaces: string[];
    /** Whether the old one must go first, because the two would fight over something. */
    deleteBeforeReplace: boolean;
    /** What the user is to hear of it, where no argument shows it. */
    warning?: string;
}

/** An object that was made, and what is known of it. */
export interface Made<State> {
    id: string;
    state: State;
}

/**
 * The life of one kind of resource. `Inputs` is what `check` makes of the arguments; `State` is that and what became known.
 * All throw `ContainerdError`.
 */
export interface Lifecycle<Inputs, State extends Inputs> {
    /** Names of all that `Inputs` may have; what else a state has became known. */
    readonly arguments: readonly (keyof Inputs & string)[];
    /** Validates and fills in; touches no node. `olds` are the inputs of the last deployment. */
    check(run: Run, olds: Inputs | undefined, news: unknown): Promise<{ inputs: unknown; failures: Failure[] }>;
    /** Pure; values of `news` may be unknown. */
    diff(olds: State, news: Inputs): Difference;
    /** What of the state follows from how its node is reached. `olds` is the state before. */
    reached?(run: Run, inputs: Inputs, olds: State): Partial<State>;
    create(run: Run, inputs: Inputs): Promise<Made<State>>;
    /** What is there now; undefined when it is gone. A node that does not answer is never "gone". */
    read(run: Run, id: string, state: State): Promise<State | undefined>;
    update(run: Run, id: string, olds: State, news: Inputs): Promise<State>;
    /** What is not there already counts as deleted; what cannot be reached does not. */
    delete(run: Run, id: string, state: State): Promise<void>;
}

/** It was made, and is on record, but does not do its work (yet). The next `up` goes on from there. */
export class NotReady extends ContainerdError {
    constructor(
        cause: ContainerdError,
        /** What was made all the same. */
        readonly made: Made<object>,
    ) {
        super(cause.code, cause.reason, { node: cause.node, property: cause.property, cause });
    }
}
