/** How long nobody answers at a published port: a phone of another machine sends all the time, whatever happens to the server. */
import Table from "cli-table3";
import type { NetworkNode } from "../integration/network-node";

/** Published by whoever is called. */
export const PORT = 5060;
/** What is sent there comes back: by the machine's own socat, since busybox cannot. */
export const ECHO = ["/usr/bin/socat", `UDP4-RECVFROM:${PORT},fork`, "PIPE"];
/** What of the machine that needs, read-only. */
export const FROM_THE_MACHINE = ["/usr", "/lib", "/lib64"];

/** Milliseconds between two numbers of a phone. */
const INTERVAL = 50;
const ANSWERS = 5;

/** Numbers that a phone sent, and those without an answer. */
export interface Gap {
    sent: number;
    lost: number;
    /** It was answered again, as long as it called. */
    answered: boolean;
}

/** Does it while a phone calls, and lets that go on until it is answered again; half a minute at most. */
export async function gapDuring(outside: NetworkNode, address: string, deed: () => Promise<unknown>): Promise<Gap> {
    const phone = await outside.phone(address, PORT, INTERVAL);
    await phone.answers(3);
    await deed();
    const answered = await phone.answers(ANSWERS).then(
        () => true,
        () => false,
    );
    const { sent, answered: numbers } = await phone.hangUp();
    return { sent, lost: sent - numbers.size, answered };
}

/** A table of gaps: a row for what happened, a column for whom. */
export class Gaps {
    private readonly rows = new Map<string, Map<string, Gap>>();

    constructor(private readonly columns: readonly string[]) {}

    note(what: string, whose: string, gap: Gap): void {
        const row = this.rows.get(what) ?? new Map<string, Gap>();
        this.rows.set(what, row.set(whose, gap));
    }

    toString(): string {
        const head = ["seconds without an answer", ...this.columns];
        const table = new Table({ head, style: { head: [], border: [], compact: true } });
        for (const [what, row] of this.rows) table.push([what, ...this.columns.map((whose) => shown(row.get(whose)))]);
        return table.toString();
    }
}

function shown(gap: Gap | undefined): string {
    if (!gap) return "";
    const seconds = ((gap.lost * INTERVAL) / 1000).toFixed(2);
    return gap.answered ? seconds : `no more (${seconds})`;
}
