/** A pod whose members see each other's processes: its namespace is held by a process, and comes back when that one ends. */
import assert from "node:assert/strict";
import type { Stack } from "../../playground/stack";
import type { ContainerdVersion } from "../../playground/worker";
import { type Census, census } from "../helpers/census";
import { eventually, rewrite, Scene, succeeded, unchanged } from "./scene";

for (const version of ["1.6", "2"] satisfies ContainerdVersion[]) {
    describe(`pod with one namespace of processes: on containerd ${version}`, function () {
        this.timeout(180_000);
        let scene: Scene;
        let stack: Stack;
        let empty: Census;
        before(async () => {
            scene = await Scene.open(version, { network: "own" });
            empty = await census(scene.worker);
            stack = await scene.stack(`new containerd.Pod("app", {
                name: "app",
                shareProcessNamespace: true,
                containers: {
                    main: { image: "${scene.busybox}", args: ["sleep", "111111"] },
                    beside: {
                        image: "${scene.busybox}",
                        // One that ends without a parent.
                        args: ["sh", "-c", "(sleep 0.1 &); exec sleep 222222"],
                        health: { exec: ["sh", "-c", "ps | grep -q '[1]11111'"], interval: "200ms" },
                    },
                },
            });`);
            succeeded(await stack.up());
        });
        after(() => scene?.close());

        /** Process ids of the members that run in one namespace of processes; undefined while they do not. */
        async function together(): Promise<{ main: string; beside: string } | undefined> {
            const { "app.main": main, "app.beside": beside } = await scene.pids();
            if (main === undefined || beside === undefined) return undefined;
            const namespaces = await scene.worker.run('readlink "/proc/$1/ns/pid" "/proc/$2/ns/pid"; :', main, beside);
            const [one, other] = namespaces.trim().split("\n");
            return one !== undefined && one === other ? { main, beside } : undefined;
        }

        it("lets members see each other, and none is left undead", async () => {
            assert.ok(await together());
            await eventually("all that have ended are collected", async () => {
                const states = await scene.worker.run("grep -h ^State: /proc/[0-9]*/status 2>/dev/null; :");
                return !states.includes("Z (zombie)");
            });
        });

        it("is held by a process that is of no use to a member that gets hold of it", async () => {
            const holder = (await scene.worker.run("cat /run/pulumi-containerd/app@default/holder")).trim();
            const { main } = (await together())!;
            const look =
                'ls -A "/proc/$1/root/"; grep -E "^(Uid|Gid|Groups|Cap(Prm|Eff)):" "/proc/$1/status" | xargs echo';
            const rights = "Uid: 65534 65534 65534 65534 Gid: 65534 65534 65534 65534 Groups: 65534";
            const none = "0000000000000000";
            assert.equal((await scene.worker.run(look, holder)).trim(), `${rights} CapPrm: ${none} CapEff: ${none}`);
            for (const kind of ["net", "ipc", "uts"])
                await scene.worker.run('[ "/proc/$1/ns/$3" -ef "/proc/$2/ns/$3" ]', holder, main, kind);
        });

        it("goes on when one member ends, which comes back into it", async () => {
            const before = await together();
            await scene.worker.run('kill -9 "$1"', before!.main);
            await eventually("the member is back", async () => {
                const now = await together();
                return now !== undefined && now.main !== before!.main && now.beside === before!.beside;
            });
        });

        it("comes back with all members when its holder is killed", async () => {
            const before = await together();
            await scene.worker.run('read -r holder </run/pulumi-containerd/app@default/holder && kill -9 "$holder"');
            await eventually("both members are back", async () => {
                const now = await together();
                return now !== undefined && now.main !== before!.main && now.beside !== before!.beside;
            });
            unchanged(await stack.refresh());
            unchanged(await stack.up());
        });

        it("leaves nothing", async () => {
            await rewrite(stack, "");
            succeeded(await stack.up());
            await scene.holdsOnly(empty);
        });
    });
}
