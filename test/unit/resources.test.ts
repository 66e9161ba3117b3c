/** What programs call and what it becomes: endpoints and templates, as tables. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Output } from "@pulumi/pulumi";
import { findEndpoint } from "../../provider/resources/endpoint";
import { render } from "../../provider/resources/render";

describe("resources: endpoints", () => {
    const published = {
        "80/tcp": "edge-1.example.net:8080",
        "10000-19999/udp": "edge-1.example.net:10000-19999",
        "53/udp": "[::1]:5353",
    };
    const rows: [port: number, protocol: string, at: string][] = [
        [80, "tcp", "edge-1.example.net:8080"],
        [80, "udp", "10.127.0.5:80"],
        [10000, "udp", "edge-1.example.net:10000"],
        [15000, "udp", "edge-1.example.net:15000"],
        [19999, "udp", "edge-1.example.net:19999"],
        [20000, "udp", "10.127.0.5:20000"],
        [53, "udp", "[::1]:5353"],
    ];
    for (const [port, protocol, at] of rows) {
        it(`${port}/${protocol}: ${at}`, () => assert.equal(findEndpoint("10.127.0.5", published, port, protocol), at));
    }
    it("an IPv6 address is in brackets", () =>
        assert.equal(findEndpoint("fd00::5", undefined, 80, "tcp"), "[fd00::5]:80"));
});

describe("resources: templates", () => {
    let folder: string;
    let file: string;
    before(() => {
        folder = mkdtempSync(path.join(tmpdir(), "render-"));
        file = path.join(folder, "a.cfg");
    });
    after(() => rmSync(folder, { recursive: true, force: true }));

    const value = (output: Output<string>) => new Promise<string>((resolve) => void output.apply(resolve));

    it("fills in each place, also twice, and leaves other braces", async () => {
        writeFileSync(file, "listen={{ADDRESS}}:{{ PORT }} # {{ADDRESS}} {not} {{ nor this }} $& {{{PORT}}}");
        assert.equal(
            await value(render(file, { ADDRESS: "$&1", PORT: 5060 })),
            "listen=$&1:5060 # $&1 {not} {{ nor this }} $& {5060}",
        );
    });
    it("refuses a name without a value, and a value without a place", () => {
        writeFileSync(file, "{{A}} {{B}}");
        assert.throws(() => render(file, { A: "1" }), /no value is given for \{\{B\}\}/);
        assert.throws(() => render(file, { A: "1", B: "2", C: "3" }), /there is no \{\{C\}\} in it/);
    });
});
