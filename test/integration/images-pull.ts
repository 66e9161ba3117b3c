/** A pull in a process of its own, to be killed: `images-pull.ts SOCKET REFERENCE DIGEST UID OWNER`. */
import { Client } from "../../provider/containerd/client";
import { ensureImage } from "../../provider/images/ensure";
import { registrySource } from "../../provider/registry/source";
import { unixTransport } from "../../provider/transport/unix";

async function main([socket = "", reference = "", digest = "", uid = "", owner = ""]: string[]): Promise<void> {
    const client = await Client.connect(unixTransport("edge-1", socket), "images");
    const source = registrySource(reference);
    await ensureImage(client, { reference, digest, source, claim: { uid, owner }, pull: "missing" });
    await source.close();
    client.close();
}

void main(process.argv.slice(2));
