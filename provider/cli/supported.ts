/** The systems that `bootstrap` prepares. Pure. */

import type { Survey } from "../node/survey";
import { here, type Remedy, word } from "./finding";

/** Versions by the `ID` of os-release. */
export const SUPPORTED: Readonly<Record<string, readonly string[]>> = {
    debian: ["12", "13"],
    ubuntu: ["22.04", "24.04"],
};

/** Whether `bootstrap` prepares it. */
export function isSupported({ id, version }: { id?: string | undefined; version?: string | undefined }): boolean {
    return (
        id !== undefined && version !== undefined && Object.hasOwn(SUPPORTED, id) && !!SUPPORTED[id]?.includes(version)
    );
}

/** Whether packages are installed by apt-get there, under Debian's names. */
export function hasApt({ id }: { id?: string | undefined }): boolean {
    return id !== undefined && Object.hasOwn(SUPPORTED, id);
}

/** The command that prepares a node; where nobody may become root by it, the one that prints how. */
export function bootstrapRemedy(node: string, { isRoot, hasSudo }: Pick<Survey, "isRoot" | "hasSudo">): Remedy {
    return here(`npx pulumi-containerd bootstrap ${word(node)}${isRoot || hasSudo ? " --run" : ""}`);
}
