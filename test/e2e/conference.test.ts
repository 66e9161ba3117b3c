/** The example conference in real browsers: two of them see each other's pictures, through the relay and directly. */
import assert from "node:assert/strict";
import { once } from "node:events";
import path from "node:path";
import { checkServerIdentity, connect } from "node:tls";
import { type Participant, startParticipant } from "../../playground/conference/browser";
import type { Colour } from "../../playground/conference/camera";
import { type Certificate, makeCertificate } from "../../playground/conference/certificate";
import { conferenceImages } from "../../playground/conference/images";
import { distance, look, photograph } from "../../playground/conference/picture";
import { repository } from "../../playground/environment";
import type { Stack } from "../../playground/stack";
import type { Worker } from "../../playground/worker";
import type { Census } from "../helpers/census";
import { ClusterScene } from "./cluster-scene";
import { eventually, succeeded, told, unchanged } from "./scene";

const TEAL: Colour = [20, 120, 130];
const AMBER: Colour = [200, 120, 20];
const TURN_SECRET = "the-secret-of-the-relay";
const MEDIA = { first: 10000, last: 10999 };

/** What the page says of a connection; see `statistics.js` of the example. */
interface Statistics {
    framesDecoded: number;
    way?: string;
    relayed?: string;
    server?: string;
}

describe("conference", function () {
    this.timeout(240_000);
    let scene: ClusterScene;
    let stack: Stack;
    let certificate: Certificate;
    let empty: Record<string, Census>;
    let url: string;
    /** Serves. */
    let server: Worker;
    /** Has the browsers on it. */
    let client: Worker;
    const present: Participant[] = [];

    before(async () => {
        scene = await ClusterScene.open([{ version: "2" }, { version: "1.6" }]);
        [server, client] = scene.workers as [Worker, Worker];
        empty = await scene.census();
        const images: Record<string, string> = {};
        for (const [name, layout] of Object.entries(await conferenceImages())) {
            images[name] = await scene.registry.push(layout, `${name}:1`);
        }
        certificate = await makeCertificate([server.ip]);
        const config = {
            "containerd:node": server.hostname,
            "conference:images": images,
            "conference:certificate": certificate.certificate,
            "conference:key": { secret: certificate.key },
            "conference:turnSecret": { secret: TURN_SECRET },
        };
        stack = await scene.stack({ folder: path.join(repository, "examples/conference") }, { config });
        const up = succeeded(await stack.up());
        assert.ok(!told(up).includes(TURN_SECRET));
        const outputs = (await stack.outputs()) as { url: string; ready: boolean };
        assert.equal(outputs.ready, true);
        url = outputs.url;
    });

    afterEach(async () => {
        for (const participant of present.splice(0)) await participant.close();
    });

    after(async () => {
        await scene.close();
    });

    async function visit(name: string, colour: Colour): Promise<Participant> {
        const participant = await startParticipant(client, { name, colour, certificate });
        present.push(participant);
        await participant.page.goto(url);
        return participant;
    }

    async function join({ page, name }: Participant, way: "relay" | "any"): Promise<void> {
        await page.fill("input[name=name]", name);
        if (way === "relay") await page.check("input[name=relay]");
        await page.click("button");
        await page.locator("#status", { hasText: /^(Joined|Cannot)/ }).waitFor();
        assert.equal(await page.textContent("#status"), `Joined as ${name}`);
    }

    /** Two participants who have joined, the one after the other. */
    async function meet(way: "relay" | "any"): Promise<[Participant, Participant]> {
        const [ada, grace] = [await visit("Ada", TEAL), await visit("Grace", AMBER)];
        await join(ada, way);
        await join(grace, way);
        return [ada, grace];
    }

    function statisticsOf(other: Participant, { page }: Participant): Promise<Statistics | undefined> {
        return page.evaluate(`conference.statistics(${JSON.stringify(other.name)})`);
    }

    /** One sees the other: the other's colour, moving. */
    async function sees(viewer: Participant, other: Participant): Promise<Statistics> {
        const prints = new Set<number>();
        await eventually(`${viewer.name} sees ${other.name} move`, async () => {
            const seen = await look(viewer.page, other.name);
            if (seen) prints.add(seen.print);
            return prints.size > 3;
        });
        const seen = await look(viewer.page, other.name);
        assert.deepEqual([seen?.width, seen?.height], [320, 240]);
        assert.ok(seen && distance(seen.corner, other.colour) < 40, `${seen?.corner} is not ${other.colour}`);
        assert.ok(distance(seen.corner, viewer.colour) > 100);
        const first = await statisticsOf(other, viewer);
        await eventually("more frames come", async () => {
            return ((await statisticsOf(other, viewer))?.framesDecoded ?? 0) > (first?.framesDecoded ?? 0) + 10;
        });
        assert.deepEqual(viewer.problems, []);
        return (await statisticsOf(other, viewer)) ?? assert.fail("nothing is known of the connection");
    }

    /** It goes between an address and a port of the published range on the node, in both directions, as the node's kernel sees it. */
    async function comesByTheRange({ server: from = "" }: Statistics, peer: string): Promise<void> {
        const { address, port } = /^(?<address>.*):(?<port>\d+)$/.exec(from)?.groups ?? {};
        assert.equal(address, server.ip);
        assert.ok(Number(port) >= MEDIA.first && Number(port) <= MEDIA.last, from);
        const filter = ["--proto", "udp", "--orig-src", peer, "--orig-dst", server.ip, "--dport", String(port)];
        // The kernel calls a flow assured once it has gone both ways for two seconds.
        await eventually(`a flow goes between ${peer} and ${from}`, async () => {
            return (await server.run(`conntrack -L "$@" 2>/dev/null`, ...filter)).includes("[ASSURED]");
        });
    }

    it("shows two browsers each other's picture through the relay", async () => {
        const [ada, grace] = await meet("relay");
        for (const seen of [await sees(ada, grace), await sees(grace, ada)]) {
            assert.equal(seen.way, "relay");
            const { address = "" } = /^(?<address>.*):\d+$/.exec(seen.relayed ?? "")?.groups ?? {};
            assert.notEqual(address, server.ip);
            // The relay is in the pod itself, and yet it goes out and in again.
            await comesByTheRange(seen, address);
        }
        const flows = await server.run('conntrack -L --proto udp --orig-src "$1" 2>/dev/null', client.ip);
        const ports = [...flows.matchAll(/src=\S+ dst=\S+ sport=\d+ dport=(\d+) src=/g)].map(([, port]) => port);
        assert.deepEqual([...new Set(ports)], ["3478"], "the browsers themselves speak to the relay alone");
        // To make the picture of the documentation anew.
        const picture = process.env.CONFERENCE_PICTURE;
        if (picture) await photograph([ada, grace], picture);
    });

    it("needs no relay where the published range is reached, and notices who goes", async () => {
        const [ada, grace] = await meet("any");
        const seen = await sees(ada, grace);
        assert.equal(seen.way, "direct");
        await comesByTheRange(seen, client.ip);
        await grace.page.close();
        await eventually("Grace is gone", async () => (await look(ada.page, "Grace")) === undefined);
    });

    it("relays for those alone who have the page's password", async () => {
        const { page } = await visit("Ada", TEAL);
        const gather = (credential: string): Promise<{ candidates: string[]; errors: number[] }> =>
            page.evaluate(`(async () => {
                const { username, credential } = await (await fetch("/turn")).json();
                const server = { urls: "turn:" + location.hostname + ":3478", username, credential: ${credential} };
                const connection = new RTCPeerConnection({ iceServers: [server], iceTransportPolicy: "relay" });
                const [candidates, errors] = [[], []];
                connection.createDataChannel("any");
                connection.onicecandidateerror = ({ errorCode }) => errors.push(errorCode);
                const complete = new Promise((resolve) => {
                    connection.onicecandidate = ({ candidate }) => candidate ? candidates.push(candidate.address) : resolve();
                });
                await connection.setLocalDescription();
                await complete;
                connection.close();
                return { candidates, errors };
            })()`);
        const { candidates, errors } = await gather("credential");
        assert.deepEqual([candidates.length, errors], [1, []]);
        assert.deepEqual(await gather('"guessed"'), { candidates: [], errors: [401] });
    });

    it("relays to the node's own address alone", async () => {
        const { page } = await visit("Ada", TEAL);
        // Two connections of one page: one by the relay, one that is reached at the browser's own address.
        const state = await page.evaluate<string>(`(async () => {
            const { username, credential } = await (await fetch("/turn")).json();
            const server = { urls: "turn:" + location.hostname + ":3478", username, credential };
            const relayed = new RTCPeerConnection({ iceServers: [server], iceTransportPolicy: "relay" });
            const reached = new RTCPeerConnection();
            relayed.onicecandidate = ({ candidate }) => reached.addIceCandidate(candidate);
            reached.onicecandidate = ({ candidate }) => relayed.addIceCandidate(candidate);
            relayed.createDataChannel("any");
            await relayed.setLocalDescription();
            await reached.setRemoteDescription(relayed.localDescription);
            await reached.setLocalDescription();
            await relayed.setRemoteDescription(reached.localDescription);
            await new Promise((resolve) => {
                relayed.oniceconnectionstatechange = () => {
                    if (!["new", "checking"].includes(relayed.iceConnectionState)) resolve();
                };
            });
            return relayed.iceConnectionState;
        })()`);
        assert.ok(["disconnected", "failed"].includes(state), state);
    });

    /** Which certificate a port of the node has; throws when it is not for the node's address, or not the expected one. */
    async function presented(port: number, expected: Certificate): Promise<void> {
        const socket = connect({
            port: await server.forward(port),
            host: "127.0.0.1",
            ca: expected.certificate,
            checkServerIdentity: (_, certificate) => checkServerIdentity(server.ip, certificate),
        });
        try {
            await once(socket, "secureConnect");
        } finally {
            socket.destroy();
        }
    }

    it("takes a new certificate for page and relay, and goes on meanwhile", async () => {
        const [ada, grace] = await meet("relay");
        await sees(ada, grace);
        for (const port of [443, 5349]) await presented(port, certificate);
        const renewed = await makeCertificate([server.ip]);
        await stack.configure({
            "conference:certificate": renewed.certificate,
            "conference:key": { secret: renewed.key },
        });
        const { changes } = succeeded(await stack.up());
        assert.deepEqual(changes, ["conference: update"]);
        for (const port of [443, 5349]) await presented(port, renewed);
        await sees(ada, grace);
        assert.equal(await ada.page.textContent("#status"), "Joined as Ada");
        certificate = renewed;
    });

    it("comes back alone when Janus is killed", async () => {
        const ada = await visit("Ada", TEAL);
        await join(ada, "relay");
        await server.run("kill -9 $(pidof janus)");
        const { page } = ada;
        await page.locator("#status", { hasText: "lost" }).waitFor();
        await eventually("one can join again", async () => {
            await page.reload();
            return join(ada, "relay").then(
                () => true,
                () => false,
            );
        });
    });

    it("changes nothing twice, and leaves nothing", async () => {
        unchanged(await stack.up());
        succeeded(await stack.destroy());
        await scene.holdOnly(empty);
    });
});
