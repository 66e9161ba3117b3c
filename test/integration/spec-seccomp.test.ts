/**
 * Holds our default seccomp profile against containerd's own: a Go program made from the module prints containerd's as JSON, and
 * both must decide alike on every call, argument values included.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ALL_CAPABILITIES, DEFAULT_CAPABILITIES } from "../../provider/spec/capabilities";
import { seccompProfile } from "../../provider/spec/seccomp";
import type { LinuxSeccomp, LinuxSeccompArg } from "../../provider/spec/types";

const MODULE = "github.com/containerd/containerd/v2";
const VERSION = "v2.4.2";

/** containerd takes the architecture from the compiler; here the first argument says it. The others are capabilities. */
const MAIN = `package main

import (
	"encoding/json"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
)

var goarch = os.Args[1]

func main() {
	spec := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: os.Args[2:]}}}
	if err := json.NewEncoder(os.Stdout).Encode(DefaultProfile(spec)); err != nil {
		panic(err)
	}
}
`;

/** Values of the first argument that tell rules apart: address families, personalities, flags of clone one by one. */
const SAMPLES = [
    ...Array.from({ length: 64 }, (_, value) => value),
    ...Array.from({ length: 32 }, (_, bit) => 2 ** bit),
    0x20008,
    0x20009,
    0xffffffff,
    0x3d0f00, // what the C library's pthread_create asks of clone
    0x7e020000,
];

describe("the default seccomp profile, against containerd's", function () {
    this.timeout(300_000);
    let folder: string;

    before(() => {
        folder = mkdtempSync(join(tmpdir(), "spec-seccomp-"));
        const go = (...args: string[]) =>
            execFileSync("go", args, {
                cwd: folder,
                encoding: "utf8",
                timeout: 280_000,
                stdio: ["ignore", "pipe", "pipe"],
            });
        go("mod", "init", "profile");
        go("mod", "edit", `-require=${MODULE}@${VERSION}`);
        const module = go("mod", "download", "-json", `${MODULE}@${VERSION}`);
        const { Dir: source } = JSON.parse(module) as { Dir: string };
        const original = readFileSync(join(source, "contrib/seccomp/seccomp_default.go"), "utf8");
        const adapted = original
            .replace("package seccomp", "package main")
            .replace('\t"runtime"\n', "")
            .replaceAll("runtime.GOARCH", "goarch");
        assert.ok(!adapted.includes("runtime."), "containerd's source asks the runtime for something else too");
        writeFileSync(join(folder, "profile.go"), adapted);
        writeFileSync(join(folder, "main.go"), MAIN);
        go("build", "-mod=mod", "-o", "profile", ".");
    });

    after(() => rmSync(folder, { recursive: true, force: true }));

    const sets: [string, readonly string[]][] = [
        ["Docker's default capabilities", DEFAULT_CAPABILITIES],
        ["none", []],
        ["all", ALL_CAPABILITIES],
        ...ALL_CAPABILITIES.map((name): [string, string[]] => [`${name} alone`, [name]]),
    ];

    for (const architecture of ["amd64", "arm64"]) {
        it(`decides alike on ${architecture}`, () => {
            for (const [title, capabilities] of sets) {
                const args = [architecture, ...capabilities.map((name) => `CAP_${name}`)];
                const theirs = JSON.parse(
                    execFileSync(join(folder, "profile"), args, { encoding: "utf8", timeout: 10_000 }),
                ) as LinuxSeccomp;
                const ours = seccompProfile(architecture, capabilities);
                assert.deepEqual(decisions(ours), decisions(theirs), title);
                assert.deepEqual(
                    [...(ours.architectures ?? [])].sort(),
                    [...(theirs.architectures ?? [])].sort(),
                    title,
                );
                assert.equal(ours.defaultErrnoRet, theirs.defaultErrnoRet, title);
            }
        });
    }
});

/** What a profile decides, call by call; for a call with rules on its first argument, value by value. */
function decisions(profile: LinuxSeccomp): Record<string, string | string[]> {
    const rules = profile.syscalls ?? [];
    const result: Record<string, string | string[]> = {};
    for (const name of [...new Set(rules.flatMap((rule) => rule.names))].sort()) {
        const own = rules.filter((rule) => rule.names.includes(name));
        assert.ok(
            own.every((rule) => (rule.args ?? []).every((arg) => arg.index === 0)),
            `${name} has rules on another argument than the first: compare them too`,
        );
        const decide = (value: number) => {
            const rule = own.find(({ args }) => (args ?? []).every((arg) => matches(arg, value)));
            return rule ? `${rule.action} ${rule.errnoRet ?? ""}`.trim() : profile.defaultAction;
        };
        const conditional = own.some(({ args }) => (args ?? []).length > 0);
        result[name] = conditional ? SAMPLES.map((value) => `${value}: ${decide(value)}`) : decide(0);
    }
    return result;
}

function matches({ op, value, valueTwo = 0 }: LinuxSeccompArg, argument: number): boolean {
    switch (op) {
        case "SCMP_CMP_EQ":
            return argument === value;
        case "SCMP_CMP_LT":
            return argument < value;
        case "SCMP_CMP_MASKED_EQ":
            return Number(BigInt(argument) & BigInt(value)) === valueTwo;
        default:
            throw new Error(`no rule of containerd's had ${String(op)} so far: compare it too`);
    }
}
