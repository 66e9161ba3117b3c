/** Rows: a pod of three members against single containers, and a port that moves from a pod to its replacement under a phone's calls. */
import type { Registry } from "../../playground/registry";
import type { Worker } from "../../playground/worker";
import { pod } from "../../provider/lifecycle/pod";
import type { PodInputs } from "../../provider/lifecycle/pod/inputs";
import { NetworkNode } from "../integration/network-node";
import { byMore, interleaved, runs, spread, timed, type Line } from "./measure";
import { HTTPD, ownerOf, published } from "./page";
import { create, NODE, runOn } from "./provider";
import { busyboxOn } from "./workbench";

const POD_RUNS = runs(10);
/** Beyond three times one container, in milliseconds. */
const POD_LIMIT = 300;
const MEMBERS = 3;

const MOVE_RUNS = runs(5);
const PORT = 5060;
/** Milliseconds between two packets of the phone: 20 a second. */
const PAUSE = 50;
/** What is sent there comes back, by the machine's own socat: busybox cannot. */
const ECHO = ["/usr/bin/socat", `UDP4-RECVFROM:${PORT},fork`, "PIPE"];
const FROM_THE_MACHINE = ["/usr", "/lib", "/lib64"];

/** From the arguments to all members healthy, the image being there: three members with a page each, one port of the pod's published. */
export async function threeMembers(worker: Worker, registry: Registry): Promise<Line[]> {
    const { pinned: image } = await busyboxOn(worker, registry);
    let count = 0;
    const page = (port: number) => ({ args: [...HTTPD, String(port)], health: { http: { port, path: "/passwd" } } });
    const one = async () => {
        const made = await published(worker, { image, name: `one-${++count}`, ports: ["8080:80"], ...page(80) });
        await made.remove();
        return made.milliseconds;
    };
    const three = async () => {
        const name = `pod-${++count}`;
        const member = (port: number) => ({
            ...{ image, imageFrom: `${NODE}/default`, ...page(port) },
            stop: { signal: "SIGKILL" },
        });
        const containers = Object.fromEntries(
            Array.from({ length: MEMBERS }, (_, index) => [`m${index}`, member(80 + index)]),
        );
        const run = runOn(worker);
        const args = { owner: ownerOf("Pod", name), name, ports: ["8080:80"], containers };
        let remove = async () => {};
        const milliseconds = await timed(async () => ({ remove } = await create(run, pod, args)));
        await remove();
        (await run.client(NODE, "default")).close();
        return milliseconds;
    };
    const samples = await interleaved(POD_RUNS, { pod: three, one });
    return [
        byMore(
            {
                what: `a pod of ${MEMBERS} members to healthy, on containerd ${worker.version}`,
                against: `${MEMBERS} × one container with a port, to healthy`,
                limit: POD_LIMIT,
                note: `one container: ${Math.round(spread(samples.one).median)} ms.`,
            },
            samples.pod,
            samples.one.map((milliseconds) => MEMBERS * milliseconds),
        ),
    ];
}

/** Packets of a phone on `client` that nobody answers while a pod on `ours` is replaced, its port moving. */
export async function moving([ours, client]: readonly Worker[], registry: Registry): Promise<Line> {
    const { pinned: image } = await busyboxOn(ours!, registry);
    const outside = new NetworkNode(client!);
    const mounts = Object.fromEntries(FROM_THE_MACHINE.map((from) => [from, { bind: from, readOnly: true }]));
    const args = (version: number) => ({
        owner: ownerOf("Pod", "echo"),
        ports: [`${PORT}:${PORT}/udp`],
        hostname: `echo-${version}`,
        containers: { echo: { image, imageFrom: `${NODE}/default`, args: ECHO, mounts } },
    });
    const make = async (run: ReturnType<typeof runOn>, version: number) => {
        const { inputs, failures } = await pod.check(run, undefined, args(version));
        if (failures[0]) throw new Error(failures[0].reason);
        return pod.create(run, inputs as PodInputs);
    };
    const first = runOn(ours!);
    let made = await make(first, 0);
    (await first.client(NODE, "default")).close();
    const lost: number[] = [];
    let sent = 0;
    try {
        for (let round = 1; round <= MOVE_RUNS; round++) {
            const phone = await outside.phone(ours!.ip, PORT, PAUSE);
            await phone.answers(10);
            const run = runOn(ours!);
            // As the engine replaces: it is compared with the old one, checked anew, and made before the old one is deleted.
            await pod.check(run, made.state, args(round));
            const next = await make(run, round);
            await pod.delete(run, made.id, made.state);
            (await run.client(NODE, "default")).close();
            made = next;
            await phone.answers(10);
            const heard = await phone.hangUp();
            sent += heard.sent;
            lost.push(heard.sent - heard.answered.size);
        }
    } finally {
        await outside.clean();
        const run = runOn(ours!);
        await pod.delete(run, made.id, made.state);
        (await run.client(NODE, "default")).close();
    }
    const all = spread(lost);
    return {
        what: `a port moved to the replacing Pod, on containerd ${ours!.version}`,
        against: "packets of a phone that are lost, the most",
        unit: "packets",
        kind: "absolute",
        ours: all,
        figure: all.max,
        limit: 0,
        reached: all.max === 0,
        note: `${sent} packets in ${lost.length} replacements, 20 a second from one port of another machine.`,
    };
}
