/**
 * Pods by the real engine, over SSH: what changes what, what fails how, and what users of other tools suffered. All of them are
 * pods of one stack, which each part takes a step further: a run of the engine costs seconds.
 */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import type { Stack, UpdateResult } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import type { Census } from "../helpers/census";
import { inside, type RunningTask, runningTasks } from "../helpers/tasks";
import { ClusterScene } from "./cluster-scene";
import { failed, rewrite, succeeded, told, unchanged } from "./scene";

const SECRET = "correct-horse-battery-8841";

/** What of the program changes. */
interface Version {
    version: string;
    network: "host" | "none";
    ports: string;
    trigger: string;
    /** Exit status of the job. */
    status: number;
    /** More pods. */
    more?: string;
}
const ONE: Version = { version: "one", network: "host", ports: "[]", trigger: "one", status: 0 };
const TWO: Version = {
    version: "two",
    network: "none",
    ports: '["10000-19999:10000-19999/udp"]',
    trigger: "two",
    status: 0,
};

/** Writes its name before it counts as healthy; by name alone `early` would be the first. */
const stamp = (name: string, wait: string): string =>
    `image, args: ["sh", "-c", "${wait} echo ${name} >> /times/order; touch /times/${name}; exec sleep 100000"], mounts: { "/times": { scratch: "times" } }, health: { exec: ["test", "-e", "/times/${name}"] }, stop: { timeout: "1s" }`;

const program = ({ version, network, ports, trigger, status, more = "" }: Version): string => `
const config = new pulumi.Config("test");
const image = config.require("image");
const nodes = containerd.configuredNodes().map(({ name }) => name);
const [one, two] = nodes;
const waits = { image, args: ["sleep", "100000"], stop: { timeout: "1s" } };
for (const node of nodes) new containerd.Pod("app-" + node, { node, containers: {
    first: waits,
    second: { ...waits, after: ["first"], env: { VERSION: "${version}" } },
    third: { ...waits, after: ["second"], secrets: { pw: "${SECRET}" } },
} });
new containerd.Pod("order", { node: one, containers: {
    zero: { ${stamp("zero", "sleep 1;")} },
    middle: { ${stamp("middle", "sleep 1;")}, after: ["zero"] },
    early: { ${stamp("early", "")}, after: ["middle"] },
} });
exports.job = new containerd.Pod("job", { node: two, once: true, triggers: ["${trigger}"], containers: {
    work: { image, args: ["sh", "-c", "echo worked; exit ${status}"] },
    report: { image, after: ["work"], args: ["true"] },
} }).ready;
const web = { image, args: ["httpd", "-f", "-p", "8090", "-h", "/www"], files: { "/www/index.html": "page" } };
const tools = Object.fromEntries(["/usr", "/lib", "/lib64"].map((path) => [path, { bind: path, readOnly: true }]));
exports.web = new containerd.Pod("web", { node: one, network: "${network}", containers: ${
    network === "host"
        ? "{ web: { ...web, health: { http: { port: 8090 } } } }"
        : "{ web, asker: { ...waits, mounts: tools } }"
} }).address;
new containerd.Pod("secret", { node: two, containers: { db: { ...waits, secrets: { pw: config.requireSecret("pw") } } } });
exports.media = new containerd.Pod("media", { node: one, ports: ${ports}, containers: { media: waits } }).address;
${more}`;

/** Two pods that fail in their first version. */
const failing = (migrate: string, healthy: string, options: string): string => `
new containerd.Pod("migrating", { node: one, ports: ["8000:80"], containers: { web: waits }, initContainers: {
    prepare: { image, args: ["true"] },
    migrate: { image, after: ["prepare"], args: ["sh", "-c", ${JSON.stringify(migrate)}] },
} });
exports.late = new containerd.Pod("late", { node: two, containers: { web: {
    image, args: ["sh", "-c", "echo listening soon; sleep 2; touch /tmp/up; echo listening; exec sleep 100000"],
    health: { exec: ["test", "-e", "${healthy}"] }, stop: { timeout: "1s" },
} } }, ${options}).ready;`;

describe("pods over SSH", function () {
    this.timeout(240_000);
    // Each part goes on with what those before have made.
    this.bail(true);
    let scene: ClusterScene;
    let one: Worker;
    let two: Worker;
    let empty: Record<string, Census>;
    let stack: Stack;
    let secret = SECRET;
    /** All that was ever said. */
    const said: string[] = [];
    const heard = (result: UpdateResult): UpdateResult => {
        said.push(told(result));
        return result;
    };

    before(async () => {
        scene = await ClusterScene.open([{ version: "1.6" }, { version: "2" }]);
        [one, two] = scene.workers as [Worker, Worker];
        empty = await scene.census();
        stack = await scene.stack(program(ONE), { config: { "test:pw": { secret } } });
    });
    after(() => scene?.close());

    /** A page of the first node from outside; empty where nobody answers. */
    async function page(port: number): Promise<string> {
        try {
            return await (await fetch(`http://127.0.0.1:${await one.forward(port)}/`)).text();
        } catch {
            return "";
        }
    }

    /** The member has its secret, and nobody else: not the state, nor the events, nor what was said, nor containerd. */
    async function onlyTheMemberHasItsSecret(): Promise<void> {
        assert.equal(await inside(two, "secret.db", "cat", "/run/secrets/pw"), secret);
        const files = (await readdir(stack.folder, { recursive: true, withFileTypes: true })).filter((file) =>
            file.isFile(),
        );
        assert.ok(files.length > 5);
        const texts = [...said, JSON.stringify(await stack.exportState())];
        texts.push(await two.ctr("containers", "info", (await runningTasks(two))["secret.db"]!.id));
        for (const file of files) {
            const name = path.join(file.parentPath, file.name);
            // It holds another pod's in the clear.
            if (file.name !== "index.js") texts.push(await readFile(name, "utf8"));
        }
        for (const text of texts) assert.ok(!text.includes(secret), text.slice(0, 2000));
    }

    describe("made", () => {
        before(async () => {
            heard(succeeded(await stack.preview()));
            heard(succeeded(await stack.up()));
        });

        it("start members after those that they wait for, by `after`", async () => {
            assert.equal(await inside(one, "order.zero", "cat", "/times/order"), "zero\nmiddle\nearly\n");
        });

        it("are jobs with `once`: done, and nothing of them runs", async () => {
            assert.equal((await stack.outputs())["job"], true);
            const names = Object.keys(await runningTasks(two));
            assert.deepEqual(
                names.filter((name) => name.startsWith("job")),
                [],
            );
        });

        it("have the node's network", async () => {
            assert.equal(await page(8090), "page");
            assert.equal((await stack.outputs())["web"], one.ip);
            assert.equal((await inside(one, "web.web", "hostname")).trim(), one.hostname);
        });

        it("show a member's secret to the member, and to nobody in state, events or output", onlyTheMemberHasItsSecret);

        it("are as the program has them, for refresh and up", async () => {
            unchanged(heard(await stack.refresh()));
            unchanged(heard(await stack.up()));
        });
    });

    describe("changed", () => {
        let preview: UpdateResult;
        let old: Record<string, RunningTask>[];
        let found: Census;

        before(async () => {
            old = await Promise.all(scene.workers.map(runningTasks));
            found = await scene.censusOf(one);
            secret = `${SECRET}-2`;
            await stack.configure({ "test:pw": { secret } });
            await rewrite(stack, program(TWO));
            preview = heard(succeeded(await stack.preview(["--diff"])));
            const { changes } = heard(succeeded(await stack.up()));
            const updated = [`app-${one.hostname}`, `app-${two.hostname}`, "media", "secret"];
            assert.deepEqual(
                changes.filter((change) => !/: (?:delete|create)/.test(change)).sort(),
                ["job: replace", "web: replace", ...updated.map((name) => `${name}: update`)].sort(),
            );
        });

        it("make the one member anew whose arguments changed; the others go on", async () => {
            const wanted = scene.workers.map(({ hostname }) => `app-${hostname}: update`);
            assert.deepEqual(
                preview.changes.filter((change) => change.startsWith("app-")),
                wanted,
            );
            assert.match(preview.stdout, /~ second *: [^]*~ VERSION *: "one" => "two"/);
            assert.doesNotMatch(preview.stdout, /[~+-] (?:first|third)/);
            for (const [index, worker] of scene.workers.entries()) {
                const after = await runningTasks(worker);
                const app = `app-${worker.hostname}`;
                for (const name of [`${app}.first`, `${app}.third`]) {
                    assert.ok(after[name]);
                    assert.deepEqual(after[name], old[index]![name]);
                }
                assert.notEqual(after[`${app}.second`]?.pid, old[index]![`${app}.second`]?.pid);
                assert.equal((await inside(worker, `${app}.second`, "sh", "-c", "echo $VERSION")).trim(), "two");
                assert.equal(await inside(worker, `${app}.third`, "cat", "/run/secrets/pw"), SECRET);
            }
        });

        it("have no network but their own loopback", async () => {
            assert.equal(await page(8090), "");
            assert.equal((await stack.outputs())["web"], "");
            assert.equal((await inside(one, "web.asker", "sh", "-c", "ls /sys/class/net")).trim(), "lo");
            for (const host of ["127.0.0.1", "web"])
                assert.equal(await inside(one, "web.asker", "/usr/bin/wget", "-qO-", `http://${host}:8090/`), "page");
        });

        it("show a member's new secret to the member alone", onlyTheMemberHasItsSecret);

        it("publish 10,000 UDP ports as one element, without a process: moby#11185, #14288, #34328, coturn-docker-image#3, portainer#10214", async () => {
            const rules = await one.run("nft list ruleset");
            const address = String((await stack.outputs())["media"]).replaceAll(".", "\\.");
            // IPv4 and IPv6.
            assert.equal(rules.split("10000-19999").length - 1, 2, rules);
            assert.match(rules, new RegExp(`10000-19999 comment "media-\\w+@default" : ${address} `));
            assert.ok(!rules.includes("10001"), rules);
            const { processes } = await scene.censusOf(one);
            // The logger's own start and end by themselves; for ports there are none. Another pod was made anew meanwhile.
            assert.deepEqual(
                processes.filter((line) => !found.processes.includes(line) && !/shim.* -id web-/.test(line)),
                [],
            );
            assert.ok(processes.length < 100);
        });

        it("are as the program has them, for refresh and up", async () => {
            unchanged(heard(await stack.refresh()));
            unchanged(heard(await stack.up()));
        });
    });

    describe("that fail", () => {
        let words: string;
        const third = { ...TWO, trigger: "three" };

        before(async () => {
            const migrate = "echo about to migrate; echo no such table >&2; exit 3";
            const more = failing(migrate, "/tmp/nothing", '{ customTimeouts: { create: "5s" } }');
            await rewrite(stack, program({ ...third, status: 7, more }));
            words = failed(heard(await stack.up(["--continue-on-error"])));
        });

        it("say the init container's path and last log lines, and leave nothing", async () => {
            assert.match(words, /initContainers\.migrate: .*exit(?:ed with)? status 3/i);
            assert.match(words, /about to migrate\s+no such table/);
            const left = JSON.stringify(await scene.censusOf(one)) + (await one.run("nft list ruleset"));
            assert.doesNotMatch(left, /migrating|dport 8000|\b8000 comment/);
        });

        it("say the last log lines of a job", () => {
            assert.match(words, /containers\.work: .*status 7[^]*worked/);
        });

        it("say the last log lines of what is not healthy in time: terraform-provider-docker#338, #247", () => {
            assert.match(words, /containers\.web.*(?:healthy|health)[^]*listening soon\s+listening/);
        });

        it("are there once they can be, and healthy before the run is over", async () => {
            await rewrite(stack, program({ ...third, more: failing("true", "/tmp/up", "{}") }));
            succeeded(heard(await stack.up()));
            await inside(two, "late.web", "test", "-e", "/tmp/up");
            const { late, job } = await stack.outputs();
            assert.deepEqual({ late, job }, { late: true, job: true });
            assert.ok((await runningTasks(one))["migrating.web"]);
        });
    });

    describe("destroyed", () => {
        it("leave nothing", async () => {
            succeeded(await stack.destroy());
            await scene.holdOnly(empty);
        });
    });
});
