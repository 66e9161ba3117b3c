/** Linux' signals by name. A table of our own, because Node's is that of the machine that runs Pulumi, which may be a Mac. */

const NAMES =
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU " +
    "XFSZ VTALRM PROF WINCH IO PWR SYS";

/** The first and the last real-time signal, as glibc has them. */
const RTMIN = 34;
const RTMAX = 64;

const NUMBERS: ReadonlyMap<string, number> = new Map(NAMES.split(" ").map((name, index) => [name, index + 1]));

export const SIGKILL = 9;

/** The number of a signal: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`. Undefined for what is none. */
export function signalNumber(text: string): number | undefined {
    const name = text.trim().toUpperCase().replace(/^SIG/, "");
    const realTime = /^RT(MIN|MAX)(?:([+-])(\d+))?$/.exec(name);
    const number = realTime
        ? (realTime[1] === "MIN" ? RTMIN : RTMAX) + Number(`${realTime[2] ?? "+"}${realTime[3] ?? "0"}`)
        : /^\d+$/.test(name)
          ? Number(name)
          : NUMBERS.get(name);
    return number !== undefined && number >= 1 && number <= RTMAX ? number : undefined;
}
