/**
 * Makes the image of the virtual machines and boots it once, if that has not been done, so that no test has to:
 * `tsx playground/vm/prepare.ts`. Three minutes on two cores that have nothing else to do. Where there can be no virtual
 * machine it says why, which is no failure.
 */
import { hasCode } from "../../provider/errors";
import { whyNoEmulator } from "./emulator";
import { machineImage } from "./image";
import { VirtualMachine } from "./machine";

async function main(): Promise<void> {
    const start = Date.now();
    const say = (text: string) => {
        process.stderr.write(`setup: ${text} (${Math.round((Date.now() - start) / 1000)} s)\n`);
    };
    const problem = await whyNoEmulator();
    if (problem) return say(problem);
    const image = await machineImage({ show: true });
    say(`the virtual machine's image is in ${image.dir}`);
    const machine = await VirtualMachine.start();
    await machine.stop();
    say("the virtual machine starts from memory");
}

main().then(
    () => process.exit(0),
    (error: unknown) => {
        process.stderr.write(`setup: ${String(error)}\n`);
        process.exit(hasCode(error, "Unsupported") ? 0 : 1);
    },
);
