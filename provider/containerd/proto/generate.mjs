/**
 * Makes `provider/containerd/generated` from the proto files beside this script (`npm run generate`):
 * TypeScript types by proto-loader's generator, and `schema.ts`, the same as one JSON string. At run time the string is
 * three times faster to load than the files, and nothing has to be copied to `dist`.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

const protos = dirname(fileURLToPath(import.meta.url));
const generated = join(protos, "..", "generated");
const files = readdirSync(protos, { recursive: true })
    .filter((file) => file.endsWith(".proto"))
    .sort();

// Types of messages that are gone must not stay importable.
rmSync(generated, { recursive: true, force: true });
mkdirSync(generated, { recursive: true });

const loader = dirname(createRequire(import.meta.url).resolve("@grpc/proto-loader/package.json"));
// The options are those of `loaderOptions` in ../definitions.ts: types and run time must agree.
const options = ["--keepCase", "--longs=String", "--enums=String", "--defaults", "--oneofs"];
execFileSync(
    process.execPath,
    [
        join(loader, "build", "bin", "proto-loader-gen-types.js"),
        "--grpcLib=@grpc/grpc-js",
        ...options,
        `--outDir=${generated}`,
        `--includeDirs=${protos}`,
        "--",
        ...files,
    ],
    { stdio: "inherit" },
);

// The files on top type what grpc-js's loadPackageDefinition returns: unused here, unlike those of messages and services.
for (const entry of readdirSync(generated, { withFileTypes: true }))
    if (entry.isFile()) rmSync(join(generated, entry.name));

const root = new protobuf.Root();
root.resolvePath = (_origin, target) => (existsSync(join(protos, target)) ? join(protos, target) : target);
root.loadSync(files, { keepCase: true });
writeFileSync(
    join(generated, "schema.ts"),
    `/** All of ../proto as JSON, for proto-loader's fromJSON. */\nexport const schema = ${JSON.stringify(JSON.stringify(root.toJSON()))};\n`,
);
