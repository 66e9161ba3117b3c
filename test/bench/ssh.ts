/**
 * Rows: a containerd on another machine through our SSH transport, against the same calls through OpenSSH's `ssh -L` to the same
 * sshd, over the same way: short calls, large content up and down, and the first call on a new connection.
 */
import { createHash, randomBytes } from "node:crypto";
import type { Worker } from "../../playground/worker";
import { Client } from "../../provider/containerd/client";
import { writeBlob } from "../../provider/containerd/blobs";
import { SshPool } from "../../provider/transport/ssh/pool";
import { localSshFiles } from "../../provider/transport/ssh/ssh-files";
import type { Transport } from "../../provider/transport/transport";
import { unixTransport } from "../../provider/transport/unix";
import { byRatio, interleaved, percentile, runs, timed, type Line } from "./measure";
import { OpenSsh } from "./open-ssh";

const LIMITS = { call: 1.25, bulk: 1, first: 1.5 };
/** Rounds of short calls, and how many are in each, one after the other. */
const CALL_ROUNDS = runs(9);
const CALLS = 1000;
const BULK_ROUNDS = runs(9);
const FIRST_ROUNDS = runs(15);
const BYTES = 200_000_000;
const NAMESPACE = "default";

/** `worker` has a network of its own. */
export async function tunnels(worker: Worker): Promise<Line[]> {
    const peer = await OpenSsh.of(worker);
    try {
        const tunnel = await peer.tunnel();
        const clients = {
            ours: await Client.connect(sshTransport(worker), NAMESPACE),
            peer: await Client.connect(unixTransport("ssh -L", tunnel.socket), NAMESPACE),
            direct: await Client.connect(unixTransport("direct", worker.address), NAMESPACE),
        };
        try {
            return [...(await calls(clients)), ...(await bulk(clients)), ...(await first(worker, peer))];
        } finally {
            for (const client of Object.values(clients)) client.close();
            await tunnel.close();
        }
    } finally {
        await peer.remove();
    }
}

interface Clients {
    ours: Client;
    peer: Client;
    /** Without SSH: for information. */
    direct: Client;
}

/** The transport that the provider makes for the worker: a new SSH connection. */
function sshTransport(worker: Worker): Transport {
    const { host, port, user, identityFile, hostKey } = worker.ssh;
    return new SshPool(localSshFiles(), () => undefined).transport(worker.hostname, {
        host,
        port,
        user,
        identityFile,
        hostKey,
    });
}

async function calls({ ours, peer, direct }: Clients): Promise<Line[]> {
    const highs: Record<string, number[]> = { ours: [], peer: [], direct: [] };
    const round = (name: string, client: Client) => async () => {
        const samples: number[] = [];
        for (let call = 0; call < CALLS; call++) samples.push(await timed(() => client.version.version({})));
        highs[name]?.push(percentile(samples, 0.99));
        return percentile(samples, 0.5);
    };
    const lows = await interleaved(CALL_ROUNDS, {
        ours: round("ours", ours),
        peer: round("peer", peer),
        direct: round("direct", direct),
    });
    const what = (which: string) => `a call by SSH, ${which}`;
    const note = (samples: readonly number[]) =>
        `without SSH, on the worker's socket: ${percentile(samples, 0.5).toFixed(2)} ms.`;
    return [
        byRatio(
            { what: what("median"), against: "ssh -L", limit: LIMITS.call, note: note(lows.direct) },
            lows.ours,
            lows.peer,
        ),
        // The first sample of each is that of the round that does not count.
        byRatio(
            { what: what("99 of 100"), against: "ssh -L", limit: LIMITS.call, note: note(highs.direct!.slice(1)) },
            highs.ours!.slice(1),
            highs.peer!.slice(1),
        ),
    ];
}

async function bulk({ ours, peer, direct }: Clients): Promise<Line[]> {
    // Random: what could be compressed or kept sparse on the way is no measure.
    const block = randomBytes(1 << 20);
    const bytes = Buffer.concat(Array.from({ length: Math.ceil(BYTES / block.length) }, () => block)).subarray(
        0,
        BYTES,
    );
    let count = 0;
    const blob = () => {
        // Another blob each time: one that is there is not sent again.
        bytes.writeUInt32BE(++count);
        return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    };
    async function* source(): AsyncGenerator<Uint8Array> {
        for (let offset = 0; offset < bytes.length; offset += 1 << 16) yield bytes.subarray(offset, offset + (1 << 16));
    }
    const up = (client: Client) => async () => {
        const digest = blob();
        const target = { ref: digest, digest, size: BYTES, labels: { "containerd.io/gc.root": "bench" } };
        const milliseconds = await timed(() => writeBlob(client, target, source));
        await direct.content.delete({ digest });
        return milliseconds;
    };
    const kept = blob();
    await writeBlob(
        direct,
        { ref: kept, digest: kept, size: BYTES, labels: { "containerd.io/gc.root": "bench" } },
        source,
    );
    const down = (client: Client) => () =>
        timed(async () => {
            let received = 0;
            for await (const { data } of client.content.read({ digest: kept })) received += data.length;
            if (received !== BYTES) throw new Error(`${received} of ${BYTES} bytes arrived`);
        });
    const samples = await interleaved(BULK_ROUNDS, {
        up: up(ours),
        upPeer: up(peer),
        upDirect: up(direct),
        down: down(ours),
        downPeer: down(peer),
        downDirect: down(direct),
    });
    await direct.content.delete({ digest: kept });
    const note = (direct: readonly number[]) => `without SSH: ${percentile(direct, 0.5).toFixed(0)} ms.`;
    const line = { against: "ssh -L", limit: LIMITS.bulk };
    return [
        byRatio(
            { ...line, what: "200 MB into containerd by SSH", note: note(samples.upDirect) },
            samples.up,
            samples.upPeer,
        ),
        byRatio(
            { ...line, what: "200 MB out of containerd by SSH", note: note(samples.downDirect) },
            samples.down,
            samples.downPeer,
        ),
    ];
}

/** Ours: connect, log in, open the stream, HTTP/2, one call. The modules are loaded: a run loads them once for all nodes. */
async function first(worker: Worker, peer: OpenSsh): Promise<Line[]> {
    const ours = async () => {
        const transport = sshTransport(worker);
        const milliseconds = await timed(async () => {
            const client = await Client.connect(transport, NAMESPACE);
            await client.version.version({});
            client.close();
        });
        await transport.close();
        return milliseconds;
    };
    const samples = await interleaved(FIRST_ROUNDS, { ours, peer: () => timed(() => peer.run("true")) });
    const what = "the first call on a new SSH connection";
    return [byRatio({ what, against: "ssh HOST true", limit: LIMITS.first }, samples.ours, samples.peer)];
}
