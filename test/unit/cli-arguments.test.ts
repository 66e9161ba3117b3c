/** The command line of `pulumi-containerd`. */
import assert from "node:assert/strict";
import { parseCommand } from "../../provider/cli/arguments";
import { failsWith } from "../helpers/image";

const parse = (...args: string[]) => parseCommand(args, "/here");

describe("command line", () => {
    it("reads doctor", () => {
        const common = { command: "doctor", cwd: "/here", stack: undefined };
        assert.deepEqual(parse("doctor"), { ...common, nodes: [], json: false });
        assert.deepEqual(parse("doctor", "a", "--json", "b", "a", "--stack", "dev", "--cwd=/there"), {
            command: "doctor",
            cwd: "/there",
            stack: "dev",
            nodes: ["a", "b"],
            json: true,
        });
        assert.deepEqual(parse("doctor", "--", "--json"), { ...common, nodes: ["--json"], json: false });
    });

    it("reads bootstrap", () => {
        const common = { command: "bootstrap", cwd: "/here", stack: undefined, node: "a" };
        assert.deepEqual(parse("bootstrap", "a"), { ...common, run: false, user: undefined });
        assert.deepEqual(parse("bootstrap", "a", "--run", "--user", "deploy"), {
            ...common,
            run: true,
            user: "deploy",
        });
    });

    it("reads what is neither", () => {
        for (const args of [["--help"], ["-h"], ["help"], ["doctor", "--help"]])
            assert.deepEqual(parse(...args), { command: "help" });
        assert.deepEqual(parse("--version"), { command: "version" });
    });

    for (const [args, message] of [
        [[], /which command/],
        [["deploy"], /no command deploy/],
        [["doctor", "--run"], /doctor has no option --run/],
        [["bootstrap", "a", "--json"], /bootstrap has no option --json/],
        [["bootstrap"], /one NODE/],
        [["bootstrap", "a", "b"], /one NODE/],
        [["bootstrap", "a", "--user", "x y"], /x y is no name/],
        [["bootstrap", "a", "--user", "$(reboot)"], /is no name/],
        [["bootstrap", "a", "--user", "root"], /root may do everything/],
        [["doctor", "--cwd"], /cwd/],
        [["doctor", "--jsn"], /jsn/],
    ] as const) {
        it(`refuses ${JSON.stringify(args.join(" "))}`, () =>
            assert.throws(() => parse(...args), failsWith("Invalid", message)));
    }
});
