/** What a doctor says about one thing of a node: how it is, in a sentence, and the command that mends it. Pure. */
import { shellQuote } from "../node/shell";

/** `problem`: something cannot work. `warning`: it works, and will disappoint. */
export type Status = "ok" | "warning" | "problem";

/** A command that mends something. */
export interface Remedy {
    /** One line for a POSIX shell; on the node it wants root. */
    command: string;
    /** Where it is run: on the node, or on this machine, in the project's folder. */
    where: "node" | "here";
}

/** One thing that was looked at. */
export interface Finding {
    /** What was looked at, in a word or two. */
    check: string;
    status: Status;
    /** A sentence. */
    text: string;
    remedy?: Remedy;
}

/** A finding that needs no mending. */
export function ok(check: string, text: string): Finding {
    return { check, status: "ok", text };
}

/** A remedy that is run on the node. */
export function onNode(command: string): Remedy {
    return { command, where: "node" };
}

/** A remedy that is run on this machine. */
export function here(command: string): Remedy {
    return { command, where: "here" };
}

/** A word of a command: quoted where it has to be, since people read it. */
export function word(text: string): string {
    return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : shellQuote(text);
}
