/**
 * The keys of an SSH connection in the form in which Node takes them fastest.
 *
 * Without its native part, which npm builds only where there is a compiler, ssh2 hands the key to Node's crypto anew for each
 * packet of AES-GCM. As bytes, Node first has to find out that they are no KeyObject, which it does by throwing and catching an
 * error with its stack (Node 24): that took half of the time of a download.
 */
import { createSecretKey } from "node:crypto";
import type { Client } from "ssh2";

/** Where ssh2 1.17 keeps the bytes (`AESGCMCipherNative`, `AESGCMDecipherNative`). Not its interface: see {@link keepKeys}. */
const PLACES = [
    ["_cipher", "_encKey"],
    ["_decipher", "_decipherKey"],
] as const;

/**
 * Makes KeyObjects of the keys that were just agreed on; call it at each `handshake`, also when keys are renewed. They work in the
 * same way: where ssh2 keeps its keys elsewhere, or in its native part, all goes on as without this, but slower.
 */
export function keepKeys(client: Client): void {
    const protocol = property(client, "_protocol");
    for (const [cipher, name] of PLACES) {
        const holder = property(protocol, cipher);
        const key = property(holder, name);
        // With a native part the key is not kept.
        if (isObject(holder) && Buffer.isBuffer(key)) Reflect.set(holder, name, createSecretKey(key));
    }
}

function property(holder: unknown, name: string): unknown {
    return isObject(holder) ? (Reflect.get(holder, name) as unknown) : undefined;
}

function isObject(value: unknown): value is object {
    return typeof value === "object" && value !== null;
}
