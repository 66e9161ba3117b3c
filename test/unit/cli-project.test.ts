/** What is read of a Pulumi project: of what `pulumi` prints, and of its description. */
import assert from "node:assert/strict";
import { parseConfig, parseProjectName, parseState } from "../../provider/cli/project";
import { failsWith } from "../helpers/image";

describe("Pulumi project", () => {
    it("gives the config's values as text", () => {
        const config = parseConfig(
            JSON.stringify({
                "containerd:nodes": { value: '{"a":{}}', objectValue: { a: {} }, secret: false },
                "containerd:hidden": { secret: true },
            }),
        );
        assert.equal(config("containerd:nodes"), '{"a":{}}');
        assert.equal(config("containerd:hidden"), undefined);
        assert.equal(config("containerd:absent"), undefined);
        assert.equal(config("toString"), undefined);
    });

    it("never repeats a config that it cannot read", () => {
        assert.throws(
            () => parseConfig("password=hunter2"),
            (error: Error) =>
                failsWith("Failed", /something else than JSON/)(error) && !error.message.includes("hunter2"),
        );
    });

    it("gives the uids that a state has", () => {
        const resources = [{ urn: "urn:pulumi:dev::web::pulumi:pulumi:Stack::web-dev" }, { id: "default/web-1/aa" }];
        const image = { id: "default/docker.io/library/nginx:1.27@sha256:00/bb", delete: true };
        assert.deepEqual(
            parseState(JSON.stringify({ deployment: { resources: [...resources, image] } })).uids,
            new Set(["aa", "bb"]),
        );
        assert.deepEqual(parseState('{"version":3,"deployment":{}}').uids, new Set());
        assert.throws(() => parseState(""), failsWith("Failed", /stack export/));
    });

    it("gives the Nodes that say themselves how they are reached", () => {
        const node = (name: string, inputs: object) => ({
            type: "pulumi-nodejs:dynamic/containerd:Node",
            id: `default/${name}/1`,
            inputs: { node: name, ...inputs },
        });
        const resources = [
            node("vm", { connection: { host: "192.0.2.1" } }),
            node("edge-1", {}),
            {
                ...node("vm", { connection: { host: "192.0.2.1" } }),
                type: "pulumi-nodejs:dynamic/containerd:Container",
            },
        ];
        assert.deepEqual(parseState(JSON.stringify({ deployment: { resources } })).connected, ["vm"]);
    });

    for (const [text, name] of [
        ["name: web\nruntime: nodejs\n", "web"],
        ["runtime:\n  name: nodejs\nname: 'web' # mine\n", "web"],
        ['{"runtime":{"name":"nodejs"},"name":"web"}', "web"],
        ["runtime:\n  name: nodejs\n", undefined],
    ] as const) {
        it(`finds the project's name in ${JSON.stringify(text)}`, () => assert.equal(parseProjectName(text), name));
    }
});
