/**
 * Our proto files against containerd's own, from its Go module: every message, field, enum, service and method of ours must
 * exist there with the same number and type. A wrong number would lose data silently.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fromJSON, loadSync } from "@grpc/proto-loader";
import protobuf from "protobufjs";
import { loaderOptions } from "../../provider/containerd/definitions";
import { schema } from "../../provider/containerd/generated/schema";
import { SERVICE_NAMES } from "../../provider/containerd/services";

const MODULE = "github.com/containerd/containerd/api@v1.12.0";
const ours = resolve("provider/containerd/proto");

function protosIn(folder: string): string[] {
    return (readdirSync(folder, { recursive: true }) as string[]).filter((file) => file.endsWith(".proto")).sort();
}

function load(folders: string[], files: string[]): protobuf.Root {
    const root = new protobuf.Root();
    root.resolvePath = (_origin, target) => folders.map((folder) => join(folder, target)).find(existsSync) ?? target;
    return root.loadSync(files, { keepCase: true }).resolveAll() as protobuf.Root;
}

/** One line for everything that matters on the wire. */
function facts(scope: protobuf.NamespaceBase, found = new Map<string, string>()): Map<string, string> {
    for (const item of scope.nestedArray) {
        const name = item.fullName.slice(1);
        if (name.startsWith("google.")) continue;
        if (item instanceof protobuf.Type) {
            found.set(name, "message");
            for (const field of item.fieldsArray) {
                const type = field.resolvedType ? field.resolvedType.fullName.slice(1) : field.type;
                const key = field instanceof protobuf.MapField ? ` by ${field.keyType}` : "";
                found.set(`${name}.${field.name}`, `${field.repeated ? "repeated " : ""}${type}${key} = ${field.id}`);
            }
        }
        if (item instanceof protobuf.Enum)
            for (const [value, number] of Object.entries(item.values)) found.set(`${name}.${value}`, `value ${number}`);
        if (item instanceof protobuf.Service) {
            for (const method of item.methodsArray) {
                const [request, response] = [method.resolvedRequestType, method.resolvedResponseType].map((type) =>
                    type?.fullName.slice(1),
                );
                const stream = (is: boolean | undefined) => (is ? "stream " : "");
                found.set(
                    `${name}.${method.name}()`,
                    `${stream(method.requestStream)}${request} -> ${stream(method.responseStream)}${response}`,
                );
            }
        }
        if (item instanceof protobuf.Namespace) facts(item, found);
    }
    return found;
}

describe("proto files", function () {
    this.timeout(300_000);
    let mine: Map<string, string>;

    before(() => {
        mine = facts(load([ours], protosIn(ours)));
    });

    it("say what containerd's own say", () => {
        // Outside the clone, so that no go.mod comes into it.
        const empty = mkdtempSync(join(tmpdir(), "pulumi-containerd-proto-"));
        try {
            const { Dir: folder } = JSON.parse(
                execFileSync("go", ["mod", "download", "-json", MODULE], {
                    cwd: empty,
                    encoding: "utf8",
                    timeout: 240_000,
                }),
            ) as { Dir: string };
            const services = protosIn(folder).filter((file) => /^(services|types|events)\//.test(file));
            // google/rpc/status.proto is not in the module.
            const theirs = facts(load([folder, ours], services));
            const differences = [...mine].filter(([name, fact]) => theirs.get(name) !== fact);
            assert.deepEqual(
                differences.map(([name, fact]) => `${name}: ours ${fact}, theirs ${theirs.get(name) ?? "missing"}`),
                [],
            );
            assert.ok(mine.size > 300, `compared ${mine.size} only`);
        } finally {
            rmSync(empty, { recursive: true });
        }
    });

    it("would show a difference", () => {
        const wrong = (source: string) => facts(protobuf.parse(source, { keepCase: true }).root.resolveAll());
        const good = 'syntax = "proto3"; package p; message M { string a = 1; }';
        assert.notDeepEqual(wrong(good), wrong(good.replace("= 1", "= 2")));
        assert.notDeepEqual(wrong(good), wrong(good.replace("string a", "repeated string a")));
        assert.notDeepEqual(wrong(good), wrong(good.replace("string a", "map<string, string> a")));
    });

    it("are what is loaded at run time", () => {
        const built = fromJSON(JSON.parse(schema) as Parameters<typeof fromJSON>[0], loaderOptions);
        const parsed = loadSync(protosIn(ours), { ...loaderOptions, includeDirs: [ours] });
        assert.deepEqual(Object.keys(built).sort(), Object.keys(parsed).sort());
        for (const name of Object.keys(parsed))
            assert.deepEqual(shape(built[name]), shape(parsed[name]), `${name}: run \`npm run generate\``);
        for (const name of Object.values(SERVICE_NAMES)) assert.ok(built[name], name);
    });

    it("have generated types of the same age", () => {
        const generated = readFileSync("provider/containerd/generated/containerd/services/tasks/v1/Tasks.ts", "utf8");
        for (const name of mine.keys()) {
            const method = /^containerd\.services\.tasks\.v1\.Tasks\.(\w+)\(\)$/.exec(name)?.[1];
            if (method) assert.match(generated, new RegExp(`\\b${method}: MethodDefinition`));
        }
    });
});

/** A definition without its functions. */
function shape(definition: unknown): unknown {
    return JSON.parse(
        JSON.stringify(definition, (key, value: unknown) => (key === "fileDescriptorProtos" ? undefined : value)),
    );
}
