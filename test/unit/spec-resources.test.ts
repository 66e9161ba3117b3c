/** Limits in the spec, and what is sent to a running container when they change. */
import assert from "node:assert/strict";
import { describe, it } from "mocha";
import type { ContainerInputs } from "../../provider/spec/inputs";
import { linuxResources, updatedResources } from "../../provider/spec/resources";
import type { LinuxResources } from "../../provider/spec/types";

type Limits = Pick<ContainerInputs, "memory" | "cpu" | "pidsLimit">;

describe("spec: linuxResources", () => {
    const rows: [Limits, LinuxResources][] = [
        [{}, {}],
        [{ memory: {}, cpu: {} }, {}],
        [{ memory: { limit: 1024 } }, { memory: { limit: 1024 } }],
        [{ memory: { limit: 2, reservation: 1, swap: -1 } }, { memory: { limit: 2, reservation: 1, swap: -1 } }],
        [{ cpu: { cpus: 1.5 } }, { cpu: { quota: 150_000, period: 100_000 } }],
        [{ cpu: { cpus: 0.07 } }, { cpu: { quota: 7_000, period: 100_000 } }],
        [{ cpu: { shares: 512, cpuset: "0-1" } }, { cpu: { shares: 512, cpus: "0-1" } }],
        [{ pidsLimit: 100 }, { pids: { limit: 100 } }],
        [{ pidsLimit: 0 }, { pids: { limit: -1 } }],
        [{ pidsLimit: -1 }, { pids: { limit: -1 } }],
    ];
    for (const [given, expected] of rows) {
        it(JSON.stringify(given), () => assert.deepEqual(linuxResources(given), expected));
    }
});

describe("spec: updatedResources", () => {
    const rows: [string, Limits, Limits, LinuxResources][] = [
        ["nothing before, nothing after", {}, {}, {}],
        ["new ones", {}, { memory: { limit: 1 } }, { memory: { limit: 1 } }],
        ["changed", { pidsLimit: 1 }, { pidsLimit: 2 }, { pids: { limit: 2 } }],
        [
            "memory and pids taken away",
            { memory: { limit: 1 }, pidsLimit: 5 },
            {},
            { memory: { limit: -1 }, pids: { limit: -1 } },
        ],
        [
            "one of two taken away",
            { memory: { limit: 2, reservation: 1 } },
            { memory: { limit: 2 } },
            { memory: { limit: 2, reservation: -1 } },
        ],
        ["cpu taken away", { cpu: { cpus: 2, shares: 8, cpuset: "0" } }, {}, { cpu: { quota: -1, shares: 1024 } }],
    ];
    for (const [title, before, after, expected] of rows) {
        it(title, () => assert.deepEqual(updatedResources(before, after), expected));
    }
});
