/**
 * A machine that does not answer and does not refuse either: it holds nobody else back, a short silence deletes nothing
 * (pulumi-kubernetes#1013, #1379), and who wants to be rid of it is told how (pulumi-kubernetes#950, #2033, #2463, #2517).
 */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { UpdateResult } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import { Fleet } from "./fleet";
import { signalSshd } from "./processes";
import { assertDone, said } from "./runs";
import { timeline } from "./timeline";

describe("faults: a frozen machine", function () {
    this.timeout(300_000);
    let fleet: Fleet;
    let frozen: Worker;
    before(async () => {
        fleet = await Fleet.start();
        frozen = fleet.scene.cluster.worker("node-2");
    });
    after(() => fleet?.stop());

    it("holds nobody else back when its sshd stops in the middle of an up", async () => {
        let over = false;
        const running = fleet.run("up").finally(() => (over = true));
        assert.ok(await fleet.login(frozen, () => over));
        await sleep(fleet.spanOf("up") / 4);
        await signalSshd(frozen, "STOP");
        try {
            const up = await running;
            assertAbout(up, frozen);
            await assertOthersDone(fleet, frozen);
        } finally {
            await signalSshd(frozen, "CONT");
        }
        assertDone(await fleet.run("up"), "the next up");
        await fleet.expectAfter("up", "after the next up");
    });

    it("is kept by a refresh, with a warning: silence deletes nothing (pulumi-kubernetes#1013, #1379)", async () => {
        await frozen.cut();
        try {
            const refresh = await fleet.stack.refresh();
            assertDone(refresh, "refresh");
            assert.deepEqual(
                refresh.changes.filter((change) => !change.endsWith(": refresh")),
                [],
            );
            const warned = refresh.diagnostics.filter(({ severity }) => severity === "warning");
            const kept = await namesOn(fleet, frozen);
            for (const name of kept) {
                const own = warned.filter(({ urn = "" }) => urn.endsWith(`::${name}`));
                assert.ok(
                    own.some(({ message }) => /kept as last known.*node node-2:/.test(message)),
                    `no warning for ${name}: ${said(refresh, "warning")}`,
                );
            }
            assert.ok(kept.size > 0);
        } finally {
            await frozen.heal();
        }
        const up = await fleet.run("up");
        assertDone(up, "the next up");
        assert.deepEqual(up.changes, []);
    });

    it("fails a destroy with the way out in the message (pulumi-kubernetes#950, #2033, #2463, #2517)", async () => {
        await frozen.cut();
        try {
            const destroy = await fleet.run("destroy");
            assertAbout(destroy, frozen);
            const errors = said(destroy);
            assert.match(errors, /containerd:nodes\.node-2\.deleteUnreachable true/);
            assert.match(errors, /PULUMI_CONTAINERD_DELETE_UNREACHABLE=node-2/);
            // By itself the engine goes on with nothing that comes after a failure, wherever that lies.
            assertAbout(await fleet.stack.destroy(["--continue-on-error"]), frozen);
            const left = await fleet.stack.exportState();
            const nodes = (left.deployment.resources ?? []).flatMap(({ inputs }) => inputs?.node ?? []);
            assert.deepEqual([...new Set(nodes)], ["node-2"], "what is on other machines is deleted");
        } finally {
            await frozen.heal();
        }
        assertDone(await fleet.run("up"), "up");
        await fleet.expectAfter("up", "after the next up");
    });

    it("is given up by name, and told what is left where", async () => {
        await frozen.cut();
        const ids = await containersOn(fleet, frozen);
        try {
            // Another node's name is none of this one's business.
            const other = { PULUMI_CONTAINERD_DELETE_UNREACHABLE: "node-1" };
            assertAbout(await fleet.stack.destroy([], { env: other }), frozen);
            const env = { PULUMI_CONTAINERD_DELETE_UNREACHABLE: "node-2" };
            const destroy = await fleet.stack.destroy([], { env });
            assertDone(destroy, "destroy");
            const warnings = said(destroy, "warning");
            assert.ok(ids.length > 0);
            for (const id of ids) {
                assert.match(warnings, new RegExp(`Left behind on node node-2: container default/${id};`));
            }
            assert.match(warnings, /Left behind on node node-2: the claim pulumi-containerd-claim-/);
            assert.deepEqual((await fleet.stack.exportState()).deployment.resources?.filter(isOurs) ?? [], []);
        } finally {
            await frozen.heal();
        }
        // Nothing was deleted there indeed.
        const there = (await frozen.ctr("containers", "ls", "-q")).trim().split("\n").sort();
        assert.deepEqual(there, [...ids].sort());
    });
});

interface Resource {
    type: string;
    urn: string;
    inputs?: Record<string, unknown>;
    outputs?: Record<string, unknown>;
}

function isOurs({ type }: Resource): boolean {
    return type.includes("dynamic/containerd:");
}

async function resourcesOn(fleet: Fleet, { hostname }: Worker): Promise<Resource[]> {
    const { deployment } = await fleet.stack.exportState();
    return (deployment.resources ?? []).filter((one) => isOurs(one) && one.inputs?.node === hostname);
}

/** Names of the resources on a machine, as the state has them. */
async function namesOn(fleet: Fleet, worker: Worker): Promise<Set<string>> {
    return new Set((await resourcesOn(fleet, worker)).map(({ urn }) => urn.split("::").slice(3).join("::")));
}

/** containerd's ids of the Containers on a machine, as the state has them. */
async function containersOn(fleet: Fleet, worker: Worker): Promise<string[]> {
    const containers = (await resourcesOn(fleet, worker)).filter(({ type }) => type.endsWith(":Container"));
    return containers.map(({ outputs }) => String(outputs?.containerId));
}

/** The run failed by what is on this machine, and says so. */
function assertAbout(result: UpdateResult, { hostname }: Worker): void {
    assert.notEqual(result.code, 0, result.stdout);
    const errors = result.diagnostics.filter(
        ({ severity, urn = "" }) => severity === "error" && urn.includes("containerd:"),
    );
    assert.ok(errors.length > 0, result.stdout);
    for (const { message } of errors) assert.match(message, new RegExp(`node ${hostname}[:,]`));
}

/** What is on the other machines was done, the most of it before this one was given up. */
async function assertOthersDone(fleet: Fleet, { hostname }: Worker): Promise<void> {
    const moments = await timeline(fleet.stack);
    const failure = moments.findIndex(({ at }) => at === "failure");
    assert.ok(failure >= 0);
    const done = ({ name, at }: (typeof moments)[number]) => at === "end" && !name.startsWith(hostname);
    const before = moments.slice(0, failure).filter(done);
    const others = moments.filter(done);
    // How many depends on what else this machine does; were they held back, it would be none.
    assert.ok(
        before.length >= others.length / 2,
        `others wait for the frozen one: ${before.length} were done before it`,
    );
    // All of the program's twenty, but for the six on the frozen one.
    assert.equal(others.length, 14);
}
