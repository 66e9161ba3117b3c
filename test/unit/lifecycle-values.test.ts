/** Sizes, durations, signals, names, labels: the small pure parts of the lifecycles, as tables. */
import assert from "node:assert/strict";
import { formatDuration, parseDuration, parseSize } from "../../provider/lifecycle/check/units";
import { labelProblem, labelsProblem } from "../../provider/lifecycle/check/common";
import { givenLabels, labelChange } from "../../provider/lifecycle/labels";
import * as names from "../../provider/lifecycle/names";
import { LONGEST_LABEL } from "../../provider/containerd/labels";
import { foreign, LABEL, ownerLabels, userLabels } from "../../provider/lifecycle/ownership";
import { signalNumber } from "../../provider/lifecycle/signals";
import { holdsUnknown, UNKNOWN } from "../../provider/lifecycle/unknown";
import { failsWith } from "../helpers/image";

const URN = "urn:pulumi:dev::shop::pulumi-nodejs:dynamic/containerd:Container::web";

describe("lifecycle: units", () => {
    const sizes: [given: number | string, bytes: number | undefined][] = [
        [0, 0],
        [4096, 4096],
        ["512", 512],
        ["512m", 512 << 20],
        ["512M", 512 << 20],
        ["512MB", 512 << 20],
        ["512MiB", 512 << 20],
        [" 2g ", 2 * 2 ** 30],
        ["1.5GiB", 1.5 * 2 ** 30],
        ["1k", 1024],
        ["1t", 2 ** 40],
        [-1, undefined],
        [1.5, undefined],
        [Number.NaN, undefined],
        [2 ** 60, undefined],
        ["", undefined],
        ["m", undefined],
        ["-5m", undefined],
        ["5 apples", undefined],
        ["1e3", undefined],
    ];
    for (const [given, expected] of sizes) {
        it(`reads the size ${JSON.stringify(given)}`, () => assert.equal(parseSize(given), expected));
    }

    const durations: [given: string, milliseconds: number | undefined, written?: string][] = [
        ["30s", 30_000, "30s"],
        ["90s", 90_000, "1m30s"],
        ["1m30s", 90_000, "1m30s"],
        ["1.5h", 5_400_000, "1h30m"],
        ["1d", 86_400_000, "24h"],
        ["500ms", 500, "500ms"],
        ["1s500ms", 1500, "1s500ms"],
        ["0s", 0, "0s"],
        ["30", undefined],
        ["", undefined],
        ["s", undefined],
        ["-1s", undefined],
        ["1 s", undefined],
        ["soon", undefined],
    ];
    for (const [given, expected, written] of durations) {
        it(`reads the duration ${JSON.stringify(given)}`, () => {
            assert.equal(parseDuration(given), expected);
            if (expected === undefined) return;
            assert.equal(formatDuration(expected), written);
            assert.equal(parseDuration(formatDuration(expected)), expected);
        });
    }
});

describe("lifecycle: signals", () => {
    const signals: [name: string, number: number | undefined][] = [
        ["SIGTERM", 15],
        ["TERM", 15],
        ["sigquit", 3],
        [" SIGHUP ", 1],
        ["SIGUSR1", 10],
        ["SIGUSR2", 12],
        ["SIGCHLD", 17],
        ["SIGWINCH", 28],
        ["SIGSYS", 31],
        ["9", 9],
        ["SIGRTMIN", 34],
        ["SIGRTMIN+3", 37],
        ["SIGRTMAX-14", 50],
        ["64", 64],
        ["0", undefined],
        ["65", undefined],
        ["SIGRTMAX+1", undefined],
        ["SIG", undefined],
        ["", undefined],
        ["SIGNONE", undefined],
        ["-9", undefined],
    ];
    for (const [name, expected] of signals) {
        it(`${JSON.stringify(name)} is ${expected ?? "none"}`, () => assert.equal(signalNumber(name), expected));
    }
});

describe("lifecycle: names", () => {
    const urn = (name: string): string => `urn:pulumi:dev::shop::containerd:Container::${name}`;

    const identifiers: [text: string, well: boolean][] = [
        ["a", true],
        ["web-1", true],
        ["a.b_c-d", true],
        ["A9", true],
        ["x".repeat(76), true],
        ["x".repeat(77), false],
        ["", false],
        ["-web", false],
        ["web-", false],
        ["a--b", false],
        ["a/b", false],
        ["..", false],
        ["a b", false],
        ["wéb", false],
        ["a\n", false],
    ];
    for (const [text, well] of identifiers) {
        it(`${JSON.stringify(text.slice(0, 20))} (${text.length}) is ${well ? "an" : "no"} identifier`, () => {
            assert.equal(names.identifierProblem(text) === undefined, well);
        });
    }

    it("makes an identifier of any resource's name, and knows it again", () => {
        for (const name of ["web", "web/1", "--", "Ünïcode", "x".repeat(200), "a::b", "web-", "a".repeat(67) + "-b"]) {
            const made = names.automaticName(urn(name));
            assert.equal(names.identifierProblem(made), undefined, made);
            assert.ok(names.isAutomaticName(made, [urn(name)]), made);
            assert.notEqual(made, names.automaticName(urn(name)));
        }
    });

    it("does not take a chosen name for one of its own", () => {
        for (const name of ["web", "web-1", "web-prod", "other-0123abc", "web-0123abcd"]) {
            assert.equal(names.isAutomaticName(name, [urn("web")]), false, name);
        }
        assert.equal(names.automaticName(URN, "0123abcd"), "web-0123abc");
    });

    it("takes ids apart as it made them, also of an image", () => {
        for (const id of [
            { namespace: "default", name: "web", uid: "0123" },
            { namespace: "k8s.io", name: `127.0.0.1:5000/a/b:1@sha256:${"0".repeat(64)}`, uid: names.newUid() },
        ]) {
            assert.deepEqual(names.parseId(names.formatId(id)), id);
        }
        for (const id of ["", "web", "default/web", "/a/b"]) {
            assert.throws(() => names.parseId(id), failsWith("Invalid", /namespace\/name\/uid/));
        }
    });
});

describe("lifecycle: labels", () => {
    it("changes what changed, takes away what went, and leaves what others set", () => {
        assert.deepEqual(labelChange({ a: "1", b: "2" }, { b: "3", c: "4" }), { a: "", b: "3", c: "4" });
        assert.deepEqual(labelChange(undefined, undefined), {});
        assert.deepEqual(labelChange({ toString: "x" }, {}), { toString: "" });
        assert.deepEqual(givenLabels({ a: "9", other: "x" }, { a: "1", b: "2" }), { a: "9" });
        assert.equal(givenLabels({ a: "9" }, undefined), undefined);
    });

    it("says whose an object is, and tells the user's labels from the rest", () => {
        const labels = ownerLabels({ owner: URN, uid: "0123", revision: 1, phase: "creating", retainOnDelete: true });
        assert.deepEqual(labels, {
            [LABEL.owner]: URN,
            [LABEL.uid]: "0123",
            [LABEL.revision]: "1",
            [LABEL.phase]: "creating",
            [LABEL.retain]: "true",
        });
        assert.deepEqual(userLabels({ ...labels, "containerd.io/gc.root": "x", tier: "web" }), { tier: "web" });
    });

    it("names the owner of what is not ours", () => {
        assert.match(foreign("container", "web", { [LABEL.owner]: URN }).message, /belongs to urn:pulumi:dev::shop/);
        assert.match(foreign("container", "web", {}).message, /not made by this package.*choose another name/s);
    });

    for (const key of [
        "containerd.io/gc.root",
        "pulumi-containerd/owner",
        "io.containerd.image.config",
        "io.cri-containerd.kind",
        "",
    ]) {
        it(`refuses the label ${JSON.stringify(key)}`, () => assert.notEqual(labelProblem(key), undefined));
    }
    for (const key of ["tier", "com.example/pulumi-containerd", "nerdctl/name"]) {
        it(`takes the label ${key}`, () => assert.equal(labelProblem(key), undefined));
    }

    it("counts a label's bytes, not its characters, as containerd does", () => {
        assert.equal(labelsProblem({ k: "x".repeat(LONGEST_LABEL - 1) }), undefined);
        assert.equal(labelsProblem({ k: "x".repeat(LONGEST_LABEL) })?.key, "k");
        assert.match(labelsProblem({ k: "é".repeat(2048) })?.reason ?? "", /4097 bytes.*4096/);
        assert.equal(labelsProblem(undefined), undefined);
    });
});

describe("lifecycle: unknown values", () => {
    it("finds one however deep", () => {
        for (const value of [UNKNOWN, [UNKNOWN], { a: { b: [1, UNKNOWN] } }]) assert.ok(holdsUnknown(value));
        for (const value of [undefined, null, "x", { a: [1] }, 0]) assert.equal(holdsUnknown(value), false);
    });
});
