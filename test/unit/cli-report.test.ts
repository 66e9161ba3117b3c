/** Findings as a table and as JSON. */
import assert from "node:assert/strict";
import { here, ok, onNode } from "../../provider/cli/finding";
import { formatJson, formatReports, hasProblem } from "../../provider/cli/report";

const KEY = "A".repeat(90);
const report = {
    node: "edge-1",
    findings: [
        ok("runc", "1.1.5"),
        {
            check: "boot",
            status: "problem" as const,
            text: "is \u001b[31mnot\u0007 started\nat boot",
            remedy: onNode("systemctl enable containerd"),
        },
        { check: "connection", status: "warning" as const, text: `key ${KEY}`, remedy: here("ssh -v edge-1") },
    ],
};

describe("doctor's report", () => {
    it("is a table, with each command on a line of its own", () => {
        const text = formatReports([report], 80);
        assert.match(text, /^edge-1\n┌/);
        assert.match(text, /│ PROBLEM │ boot +│ is not started +│\n│ +│ +│ at boot/);
        assert.match(text, /\n {2}On edge-1, as root:\n {4}# boot\n {4}systemctl enable containerd\n/);
        assert.match(text, /\n {2}On this machine:\n {4}# connection\n {4}ssh -v edge-1\n/);
    });

    it("cuts nothing off, and lets nothing reach the terminal", () => {
        const text = formatReports([report], 60);
        assert.ok(text.includes(KEY));
        for (const control of ["\u001b", "\u0007"]) assert.ok(!text.includes(control));
    });

    it("is JSON for programs", () => {
        assert.deepEqual(JSON.parse(formatJson([report])), { nodes: [report] });
    });

    it("knows a problem from a warning", () => {
        assert.equal(hasProblem([report]), true);
        assert.equal(
            hasProblem([{ node: "a", findings: report.findings.filter(({ status }) => status !== "problem") }]),
            false,
        );
    });
});
