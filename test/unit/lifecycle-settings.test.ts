/** The stack's config, the restart monitor's labels per version, and what a sweep may remove. */
import assert from "node:assert/strict";
import type { NodeFacts } from "../../provider/containerd/facts";
import { LABEL } from "../../provider/lifecycle/ownership";
import { assertRestartable, hasRestartLabels, restartLabels } from "../../provider/lifecycle/restart";
import {
    chooseNode,
    mayDeleteUnreachable,
    nodeAddress,
    nodeSettings,
    readSettings,
    type Settings,
} from "../../provider/lifecycle/settings";
import { leftovers, type Ours } from "../../provider/lifecycle/sweep";
import { startProblem } from "../../provider/lifecycle/bring-up";
import { withLog } from "../../provider/lifecycle/logs";
import { failsWith } from "../helpers/image";

function settings(config: Record<string, unknown>): Settings {
    return readSettings((key) => {
        const value = config[key.replace(/^containerd:/, "")];
        return value === undefined || typeof value === "string" ? value : JSON.stringify(value);
    });
}

describe("lifecycle: the stack's config", () => {
    const nodes = { a: { socket: "/run/a.sock", publicAddress: "192.0.2.1" }, b: { host: "b.example", user: "root" } };

    it("has defaults for everything", () => {
        const { isSshHost, ...read } = settings({});
        assert.equal(isSshHost("edge-1"), false);
        assert.deepEqual(read, {
            nodes: {},
            defaultNode: undefined,
            defaultNamespace: "default",
            registries: {},
        });
        assert.equal(chooseNode(settings({}), undefined), "localhost");
        assert.deepEqual(nodeSettings(settings({}), "localhost"), { socket: "/run/containerd/containerd.sock" });
    });

    it("reads how much the cache may hold, as people write it", () => {
        assert.deepEqual(settings({ cache: { size: "20GiB", folder: "/var/cache/x" } }).cache, {
            size: 20 * 2 ** 30,
            folder: "/var/cache/x",
        });
        assert.equal(settings({ cache: { size: 0 } }).cache?.size, 0);
        assert.equal(settings({ cache: { size: "0" } }).cache?.size, 0);
    });

    it("never means this machine where nodes are configured and none is named", () => {
        assert.throws(
            () => chooseNode(settings({ nodes }), undefined),
            failsWith("Invalid", /^node: .*\(a, b\).*containerd:node/),
        );
        assert.equal(chooseNode(settings({ nodes, node: "b" }), undefined), "b");
        assert.equal(chooseNode(settings({ nodes, node: "b" }), "a"), "a");
    });

    it("tells which nodes there are when one is not there", () => {
        assert.throws(
            () => nodeSettings(settings({ nodes }), "c"),
            failsWith("NotFound", /node c, node: no node c .*which has a, b/),
        );
        assert.throws(() => nodeSettings(settings({}), "c"), failsWith("NotFound", /which is empty/));
        for (const name of ["toString", "__proto__"]) {
            assert.throws(() => nodeSettings(settings({ nodes }), name), failsWith("NotFound", /no node/));
        }
    });

    it("guesses a name that is spelt alike", () => {
        const edges = { nodes: { "edge-1": { host: "x" }, "edge-2": { host: "y" } } };
        assert.throws(() => nodeSettings(settings(edges), "egde-2"), failsWith("NotFound", /Did you mean edge-2\?$/));
        assert.throws(
            () => nodeSettings(settings(edges), "db"),
            failsWith("NotFound", /which has edge-1, edge-2; nor/),
        );
    });

    it("looks for a host in ssh_config where the config has no such node, or says no host", () => {
        const known = readSettings(
            (key) => (key === "containerd:nodes" ? JSON.stringify({ b: { labels: { role: "sip" } } }) : undefined),
            (name) => name === "edge-1",
        );
        assert.deepEqual(nodeSettings(known, "edge-1"), { host: "edge-1" });
        assert.deepEqual(nodeSettings(known, "b"), { host: "b", labels: { role: "sip" } });
        assert.throws(() => nodeSettings(known, "edge-2"), failsWith("NotFound", /nor is there a Host edge-2/));
    });

    it("adds the credentials, also to a host of ssh_config", () => {
        const found = settings({ nodes, credentials: { b: { passphrase: "hush" }, c: { password: "hush" } } });
        assert.deepEqual(nodeSettings(found, "b"), { host: "b.example", user: "root", passphrase: "hush" });
        assert.deepEqual(nodeSettings(found, "c"), { host: "c", password: "hush" });
    });

    it("drops what lies on a node that does not answer only where that is said", () => {
        const found = settings({ nodes: { a: { host: "x", deleteUnreachable: true }, b: { host: "y" } } });
        assert.equal(mayDeleteUnreachable(found, "a", {}), true);
        assert.equal(mayDeleteUnreachable(found, "b", {}), false);
        const environment = { PULUMI_CONTAINERD_DELETE_UNREACHABLE: "c, b" };
        assert.equal(mayDeleteUnreachable(found, "b", environment), true);
        assert.equal(mayDeleteUnreachable(found, "d", environment), false);
    });

    it("knows where a node answers", () => {
        assert.equal(nodeAddress(settings({ nodes }), "a"), "192.0.2.1");
        assert.equal(nodeAddress(settings({ nodes }), "b"), "b.example");
        assert.equal(nodeAddress(settings({}), "localhost"), "127.0.0.1");
    });

    const wrong: [config: Record<string, unknown>, says: RegExp][] = [
        [{ namespace: "a/b" }, /^config containerd:namespace: /],
        [{ nodes: "{nope hush" }, /^config containerd:nodes: is not JSON/],
        [{ nodes: [] }, /^config containerd:nodes: must be a map, not a list$/],
        [
            { nodes: { a: { socket: "/x", user: "root", port: 22 } } },
            /^config containerd:nodes\.a: .*`socket` and no `host`.*port, user would say nothing/,
        ],
        [
            { nodes: { a: { host: "x", password: "hush" } } },
            /^config containerd:nodes\.a\.password: is a secret.*--path containerd:credentials\.a\.password/,
        ],
        [{ nodes: { a: { host: "x", hostKey: "MD5:00" } } }, /^config containerd:nodes\.a\.hostKey: .*MD5/],
        [{ nodes: { a: { host: "root@x" } } }, /^config containerd:nodes\.a\.host: .*the user goes into `user`$/],
        [{ nodes: { a: { host: "x", dial: " " } } }, /^config containerd:nodes\.a\.dial: must not be empty$/],
        [
            { nodes: { a: { host: "x" }, b: { host: "x", port: 22, labels: { role: "sip" } } } },
            /^config containerd:nodes\.b: is the same machine as a: give each machine one name$/,
        ],
        [
            { nodes: { a: { socket: "/x" }, b: { socket: "/x" } } },
            /^config containerd:nodes\.b: is the same machine as a/,
        ],
        [{ credentials: { a: { key: "hush" } } }, /^config containerd:credentials\.a\.key: /],
        [{ nodes: { a: { socket: "run/x" } } }, /^config containerd:nodes\.a\.socket: must be an absolute path$/],
        [
            { nodes: { a: { socket: 5 } } },
            /^config containerd:nodes\.a\.socket: must be an absolute path, not a number$/,
        ],
        [{ nodes: { a: { sockte: "/x" } } }, /^config containerd:nodes\.a\.sockte: .*did you mean `socket`\?$/],
        [{ nodes: { a: { host: "x", port: 99999 } } }, /^config containerd:nodes\.a\.port: must be from 1 to 65535/],
        [{ registries: "nope" }, /^config containerd:registries: is not JSON/],
        [{ cache: { size: "much" } }, /^config containerd:cache\.size: is not a size/],
        [{ cache: { folder: "cache" } }, /^config containerd:cache\.folder: must be an absolute path/],
        [{ cache: { foldre: "/x" } }, /^config containerd:cache\.foldre: .*did you mean `folder`\?$/],
    ];
    for (const [config, says] of wrong) {
        it(`refuses ${JSON.stringify(config)}`, () => {
            assert.throws(
                () => settings(config),
                (error) => {
                    assert.ok(error instanceof Error);
                    assert.match(error.message, says);
                    assert.doesNotMatch(error.message, /hush/);
                    return true;
                },
            );
        });
    }
});

describe("lifecycle: the restart monitor", () => {
    const facts = (major: number, minor: number, more: Partial<NodeFacts> = {}): NodeFacts =>
        ({ version: `${major}.${minor}.0`, major, minor, restartMonitor: true, ...more }) as NodeFacts;
    const [old, modern] = [facts(1, 6), facts(2, 0)];
    const policyLabel = "containerd.io/restart.policy";

    it("gets no policy from us where it knows none, and no count that never ends", () => {
        assert.equal(restartLabels("always", old)[policyLabel], undefined);
        assert.equal(restartLabels("always", old)["containerd.io/restart.status"], "running");
        assert.equal(restartLabels("always", facts(1, 7))[policyLabel], "always");
        assert.equal(restartLabels("unless-stopped", modern)[policyLabel], "unless-stopped");
        assert.equal(restartLabels("on-failure:3", modern)[policyLabel], "on-failure:3");
        assert.deepEqual(restartLabels("no", modern), {});
    });

    it("sees when its labels are not those wanted", () => {
        for (const policy of ["no", "always", "unless-stopped", "on-failure:3"]) {
            for (const node of [old, modern]) assert.ok(hasRestartLabels(policy, node, restartLabels(policy, node)));
            // Made before the node's containerd was upgraded.
            assert.ok(hasRestartLabels(policy, modern, restartLabels(policy, old)), policy);
            if (policy !== "no") assert.equal(hasRestartLabels(policy, modern, {}), false);
        }
        assert.equal(hasRestartLabels("no", modern, restartLabels("always", modern)), false);
        assert.equal(hasRestartLabels("on-failure:3", modern, restartLabels("on-failure:2", modern)), false);
    });

    const rows: [policy: string, tty: boolean, facts: NodeFacts, refused: RegExp | undefined][] = [
        ["always", false, old, undefined],
        ["always", true, modern, undefined],
        ["no", true, facts(1, 6, { restartMonitor: false }), undefined],
        ["on-failure", false, modern, undefined],
        ["on-failure:5", false, facts(1, 7), undefined],
        ["on-failure", false, old, undefined],
        ["always", true, old, /restart: .*cannot start a container that has a terminal/],
        ["always", true, facts(1, 7), /terminal/],
        ["always", false, facts(2, 0, { restartMonitor: false }), /restart: .*without its restart monitor/],
    ];
    for (const [policy, tty, node, refused] of rows) {
        it(`${policy}${tty ? " with a terminal" : ""} on ${node.version}: ${refused ? "refused" : "taken"}`, () => {
            const act = (): void => assertRestartable(policy, tty, node, "n1");
            if (refused) assert.throws(act, failsWith("Unsupported", refused));
            else act();
        });
    }
});

describe("lifecycle: what a sweep may remove", () => {
    const one = (name: string, uid: string, phase: string, retain = false): Ours => ({
        name,
        labels: { [LABEL.uid]: uid, [LABEL.phase]: phase, ...(retain ? { [LABEL.retain]: "true" } : {}) },
    });

    it("leaves the one that the state knows, and those to be retained", () => {
        const ours = [
            one("known", "1", "complete"),
            one("killed", "2", "creating"),
            one("killed-late", "3", "complete"),
            one("retained", "4", "complete", true),
            one("killed-with-retain", "5", "creating", true),
        ];
        const names = (known: string | undefined): string[] => leftovers(ours, known).map(({ name }) => name);
        assert.deepEqual(names("1"), ["killed", "killed-late", "killed-with-retain"]);
        assert.deepEqual(names(undefined), ["known", "killed", "killed-late", "killed-with-retain"]);
    });
});

describe("lifecycle: sentences", () => {
    it("says what a start that failed means, and keeps the runtime's words", () => {
        const missing = 'runc create failed: exec: "nope": executable file not found in $PATH: unknown';
        assert.match(startProblem(missing), /there is no command nope in the image.*`entrypoint`.*runc create failed/);
        const mode = 'exec: "/etc": permission denied';
        assert.match(startProblem(mode), /the command \/etc may not be executed/);
        assert.equal(startProblem("something else"), "something else");
    });

    it("puts the last lines below a sentence", () => {
        assert.equal(withLog("it ended", "one\ntwo\n"), "it ended. Its last lines:\n    one\n    two");
        assert.equal(withLog("it ended", " \n"), "it ended. It wrote nothing");
        const said = "a command wrote:\n    no";
        assert.equal(withLog(said, "one\n"), `${said}\nThe container's own last lines:\n    one`);
        assert.equal(withLog(said, ""), `${said}\nThe container itself wrote nothing`);
    });
});
