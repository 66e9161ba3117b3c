/**
 * mocha's `spec` reporter, which beside what it shows writes what the runner (`test/run.mjs`) adds up: to the file that
 * TEST_REPORT names. A test that is skipped must say why (`skip` of `test/helpers/skip.ts`); one that does not, failed.
 */
"use strict";
const { writeFileSync } = require("node:fs");
const path = require("node:path");
const { reporters, Runner } = require("mocha");

const { EVENT_TEST_PASS, EVENT_TEST_FAIL, EVENT_TEST_PENDING, EVENT_RUN_END, EVENT_TEST_END } = Runner.constants;

class Reporter extends reporters.Spec {
    constructor(runner, options) {
        super(runner, options);
        const result = { passed: 0, failures: [], skips: [], durations: {} };
        const fileOf = (test) => path.relative(process.cwd(), test.file ?? "");
        runner.on(EVENT_TEST_PASS, () => (result.passed += 1));
        runner.on(EVENT_TEST_FAIL, (test, error) => {
            const message = error?.stack ?? error?.message ?? String(error);
            result.failures.push({ file: fileOf(test), title: test.fullTitle(), message });
        });
        runner.on(EVENT_TEST_PENDING, (test) => {
            const title = test.fullTitle();
            const reason = reasonOf(test);
            if (reason) result.skips.push({ file: fileOf(test), title, reason });
            else result.failures.push({ file: fileOf(test), title, message: "skipped without a reason" });
        });
        runner.on(EVENT_TEST_END, (test) => {
            const file = fileOf(test);
            result.durations[file] = (result.durations[file] ?? 0) + (test.duration ?? 0);
        });
        runner.on(EVENT_RUN_END, () => {
            if (process.env.TEST_REPORT) writeFileSync(process.env.TEST_REPORT, JSON.stringify(result));
        });
    }
}

/** The reason that `skip` left on the test or on a suite around it. */
function reasonOf(test) {
    for (let one = test; one; one = one.parent) if (one.skipReason) return one.skipReason;
    return undefined;
}

module.exports = Reporter;
