/** What changed files ask of a running process, as a table. */
import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { needsRestart, noticesOf } from "../../provider/lifecycle/file-changes";
import { containerSchema } from "../../provider/lifecycle/check/container";
import { validate } from "../../provider/lifecycle/check/validate";
import type { ContainerInputs, FileInputs } from "../../provider/spec/inputs";

type Files = Record<string, FileInputs>;
const HUP = { signal: "SIGHUP" };
const RELOAD = { exec: ["nginx", "-s", "reload"] };

describe("file changes", () => {
    const rows: [what: string, olds: Files, news: Files, asks: "restart" | string[]][] = [
        ["nothing changed", { "/a": { content: "a", onChange: HUP } }, { "/a": { content: "a", onChange: HUP } }, []],
        ["by default", { "/a": { content: "a" } }, { "/a": { content: "b" } }, "restart"],
        ["none", { "/a": { content: "a" } }, { "/a": { content: "b", onChange: "none" } }, []],
        ["a signal", { "/a": { content: "a" } }, { "/a": { content: "b", onChange: HUP } }, ["/a SIGHUP"]],
        ["a command", { "/a": { content: "a" } }, { "/a": { content: "b", onChange: RELOAD } }, ["/a nginx -s reload"]],
        [
            "a mode, an owner",
            { "/a": { content: "a" }, "/b": { content: "b" } },
            { "/a": { content: "a", mode: "0600", onChange: HUP }, "/b": { content: "b", uid: 1, onChange: RELOAD } },
            ["/a SIGHUP", "/b nginx -s reload"],
        ],
        ["onChange alone", { "/a": { content: "a" } }, { "/a": { content: "a", onChange: HUP } }, []],
        ["onChange back to restart", { "/a": { content: "a", onChange: "none" } }, { "/a": { content: "a" } }, []],
        [
            "the same thing for several files: once, in the order of the paths",
            { "/z": { content: "1" }, "/b": { content: "1" }, "/a": { content: "1" }, "/c": { content: "1" } },
            {
                "/z": { content: "2", onChange: HUP },
                "/b": { content: "2", onChange: RELOAD },
                "/a": { content: "2", onChange: HUP },
                "/c": { content: "2", onChange: { exec: ["nginx", "-s", "reload"] } },
            },
            ["/a SIGHUP", "/b nginx -s reload"],
        ],
        [
            "one that restarts among them",
            { "/a": { content: "1" }, "/b": { content: "1" } },
            { "/a": { content: "2", onChange: HUP }, "/b": { content: "2", onChange: "restart" } },
            "restart",
        ],
        ["a new one", {}, { "/a": { content: "a", onChange: HUP } }, "restart"],
        ["one that is gone", { "/a": { content: "a", onChange: HUP } }, {}, "restart"],
    ];
    for (const [what, olds, news, asks] of rows) {
        it(`${what}: ${asks.length ? String(asks) : "nothing"}`, () => {
            const notices = noticesOf({ files: olds }, { files: news }).map(
                ({ path, signal, exec }) => `${path} ${signal ?? exec.join(" ")}`,
            );
            assert.equal(needsRestart({ files: olds }, { files: news }), asks === "restart");
            assert.deepEqual(notices, asks === "restart" ? [] : asks);
        });
    }

    it("secrets restart", () => {
        const files = { "/a": { content: "a" } };
        assert.ok(needsRestart({ files, secrets: { pw: "1" } }, { files, secrets: { pw: "2" } }));
    });

    const checks: [onChange: unknown, says: RegExp | undefined][] = [
        ["none", undefined],
        [{ signal: "HUP" }, undefined],
        [{ exec: ["true"] }, undefined],
        ["reload", /^files\["\/a"\]\.onChange: must be one of "restart", "none"/],
        [{ signal: "SIGNOPE" }, /onChange\.signal: is no signal of Linux/],
        [{ exec: [] }, /needs a command in `exec`/],
        [{ exec: "true" }, /onChange\.exec: must be a list/],
        [{}, /needs exactly one of `signal` and `exec`/],
        [{ exec: ["true"], signal: "HUP" }, /needs exactly one of/],
        [{ sginal: "HUP" }, /sginal: is not an argument.*did you mean `signal`/],
    ];
    for (const [onChange, says] of checks) {
        it(`check ${says ? "refuses" : "takes"} ${JSON.stringify(onChange)}`, () => {
            const given = { owner: "urn", image: "nginx", files: { "/a": { content: "a", onChange } } };
            const { value, failures } = validate(containerSchema, given);
            if (says) assert.match(failures.map(({ property, reason }) => `${property}: ${reason}`).join("\n"), says);
            else {
                assert.deepEqual(failures, []);
                assert.deepEqual((value as ContainerInputs).files?.["/a"]?.onChange, onChange);
            }
        });
    }
});
