/** Reads a blob by the cache in a process of its own, to be killed: `blob-cache-reader.ts FOLDER REFERENCE`. Says what came. */
import { createHash } from "node:crypto";
import { BlobCache } from "../../provider/registry/blob-cache";
import { cachedSource } from "../../provider/registry/cached-source";
import { parseManifest } from "../../provider/registry/oci";
import { registrySource } from "../../provider/registry/source";

async function main([folder = "", reference = ""]: string[]): Promise<void> {
    const source = cachedSource(registrySource(reference), new BlobCache({ folder }));
    const { digest } = await source.resolve();
    const [layer] = parseManifest((await source.manifest(digest)).bytes, reference).layers;
    if (!layer) throw new Error(`${reference} has no layer`);
    const hash = createHash("sha256");
    for await (const chunk of source.blob(layer, 0)) hash.update(chunk);
    process.stdout.write(`sha256:${hash.digest("hex")}\n`);
    await source.close();
}

void main(process.argv.slice(2));
