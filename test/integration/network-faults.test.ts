/** Faults: parts of the script that hang, locks that are held, scripts that are killed, and many at once. */
import assert from "node:assert/strict";
import { startWorker, type Worker } from "../../playground/worker";
import { networkScriptPath, type NetworkSettings } from "../../provider/network/settings";
import { NetworkNode, settingsOf } from "./network-node";

describe("network: faults", function () {
    this.timeout(240_000);
    let worker: Worker;
    let node: NetworkNode;

    before(async () => {
        worker = await startWorker({ version: "2", network: "own" });
        node = new NetworkNode(worker);
    });
    afterEach(async () => {
        await node?.clean();
        assert.deepEqual(await node.leftovers(), []);
    });
    after(() => worker?.stop());

    const pod = (tool: string, place: number): NetworkSettings =>
        settingsOf(tool, place, [`${7000 + place}:70`, `${7000 + place}:70/udp`], {
            namespaces: ["net", "ipc", "uts"],
            hostname: tool,
            shm: 65536,
        });
    /** PATH with a command in front that does not come back. */
    async function hanging(tool: string): Promise<string[]> {
        const folder = `/tmp/hanging-${tool}`;
        await worker.run('mkdir -p "$1"; printf "#!/bin/sh\\nsleep 60\\n" >"$1/$2"; chmod 755 "$1/$2"', folder, tool);
        const { PATH = "" } = worker.environment();
        return [`PATH=${folder}:${PATH}`];
    }
    /** What the reason speaks of: nsenter only leads to ip. */
    const named = (tool: string) => (tool === "nsenter" ? "ip" : tool);
    const noSleepers = async () =>
        assert.equal((await worker.exec("pgrep", ["-x", "sleep", "-f", "sleep 60"])).stdout, "");

    it("a step that hangs ends the script with its name, hinders nobody, and the next ensure succeeds", async () => {
        await node.ensure(settingsOf("first", 5));
        // Without any flow nobody asks for those to be forgotten.
        await worker.run("conntrack -I -p udp -s 198.51.100.1 -d 198.51.100.2 --sport 1 --dport 2 -t 120");
        const tools = ["nft", "ip", "conntrack", "nsenter", "unshare", "stat", "awk", "ss", "mount", "mv"];
        const pods = tools.map((tool, index) => pod(tool, 10 + index));
        const results = Promise.all(
            tools.map(async (tool, index) => {
                const { code, stdout } = await node.script(
                    pods[index] as NetworkSettings,
                    "ensure",
                    await hanging(tool),
                );
                // Whoever looks whether others have a port may go on without, and what is new is not entered.
                if (tool === "ss" || tool === "nsenter") assert.equal(code, 0, stdout);
                else
                    assert.match(
                        `${code} ${stdout}`,
                        new RegExp(`^1 .*\\b${named(tool)}\\b.* did not answer in time\\n?$`),
                    );
            }),
        );
        await node.ensure(settingsOf("beside", 6, ["8080:80"]));
        await results;
        await noSleepers();
        for (const settings of pods) {
            await node.ensure(settings);
            assert.deepEqual(await node.look(settings), []);
        }
        for (const [index, tool] of ["nft", "ip", "umount", "conntrack"].entries()) {
            await node.refused(pods[index] as NetworkSettings, "remove", /did not answer in time/, await hanging(tool));
        }
        await noSleepers();
        // What lives keeps its namespaces when nobody can look at them.
        const living = pods[5] as NetworkSettings;
        const id = () => worker.run('stat -L -c %i "$1"', `/run/pulumi-containerd/${living.key}/net`);
        const before = await id();
        for (const tool of ["stat", "nsenter"])
            await node.refused(living, "ensure", /did not answer in time/, await hanging(tool));
        assert.equal(await id(), before);
    });

    it("a lock that is held is waited for, not for ever, and its holder is named", async () => {
        const web = settingsOf("web", 5, ["8080:80"]);
        await node.ensure(web);
        for (const [folder, seconds, what] of [
            [web.folder, "10", /^its network is locked by another command \(process \d+, \w+\): try again/],
            [
                "/var/lib/pulumi-containerd",
                "5",
                /^the node's network is locked by another command \(process \d+, \w+\): try again/,
            ],
        ] as const) {
            const holding = worker.exec("flock", ["-o", folder, "sleep", seconds]);
            await worker.run('until ! flock -n "$1" true; do sleep 0.05; done', folder);
            await node.refused(settingsOf("web", 5, ["8081:80"]), "ensure", what);
            await holding;
        }
        await node.ensure(web);
    });

    it("a script that is killed at any moment leaves nothing that the next one stumbles over", async () => {
        const web = pod("web", 5);
        const script = await node.write(web);
        for (let moment = 0; moment < 30; moment++) {
            for (const what of ["ensure", "remove"]) {
                const delay = `0.${String(moment * 7).padStart(3, "0")}`;
                await worker.exec("timeout", ["-s", "KILL", delay, "sh", script, what]);
                if (moment % 3 === 0) {
                    await node.ensure(web);
                    assert.deepEqual(await node.look(web), []);
                }
            }
            if (moment % 5 === 0) {
                await node.remove(web);
                assert.deepEqual(await node.leftovers(), []);
                await node.write(web);
            }
        }
    });

    it("forty start and go at once", async () => {
        const all = Array.from({ length: 40 }, (_, index) =>
            settingsOf(`n${index}`, 10 + index, [`${7000 + index}:70`, `${7000 + index}:70/udp`]),
        );
        for (const settings of all) await node.write(settings);
        // As a boot does it: nothing is there, and all begin in the same moment.
        const both = `what=$1; shift
            for one; do (said=$(sh "$one" $what) || echo "$one: $said") & done; wait`;
        const scripts = all.map(({ folder }) => networkScriptPath(folder));
        /** As the restart monitor does it: who was refused for want of time tries again. */
        const once = async (what: string) => {
            let left = scripts;
            for (let round = 0; left.length > 0 && round < 20; round++) {
                const said = (await worker.run(both, what, ...left)).split("\n").filter(Boolean);
                for (const line of said) assert.match(line, /did not answer in time$|does not get on$|try again$/);
                left = left.filter((script) => said.some((line) => line.startsWith(`${script}:`)));
            }
            assert.deepEqual(left, []);
        };
        for (let attempt = 0; attempt < 3; attempt++) {
            await once("ensure");
            const last = await worker.run('tail -n +3 "$1/hosts"', (all[7] as NetworkSettings).folder);
            assert.equal(last.trimEnd().split("\n").length, 80);
            for (const settings of all.slice(0, 3)) assert.deepEqual(await node.look(settings), []);
            if (attempt === 0) await worker.run("nft flush ruleset; ip link del pulumi0");
            if (attempt === 1) await once("remove");
            if (attempt === 1) assert.deepEqual(await node.leftovers(), []);
        }
    });
});
