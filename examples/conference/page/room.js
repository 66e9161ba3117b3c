/** A room of Janus' VideoRoom: one connection sends what the own camera sees, and one for each other participant receives. */
/* global RTCPeerConnection, location */
import { Session } from "./janus.js";

const PLUGIN = "janus.plugin.videoroom";

export class Room {
    #session;
    #configuration;
    #number;
    #privateId;
    #receiving = new Map();

    /** Called with `{ id, name, stream, connection }` for each participant who comes, and with the id of one who goes. */
    oncome = () => {};
    ongo = () => {};
    onend = () => {};

    /** Enters the room and sends a stream. `relayOnly`: not even Janus' own address is tried directly. */
    async enter({ name, stream, relayOnly, number }) {
        this.#number = number;
        this.#configuration = { iceServers: [await relay()], iceTransportPolicy: relayOnly ? "relay" : "all" };
        this.#session = await Session.open(`wss://${location.host}/janus`);
        this.#session.onend = (reason) => this.onend(reason);
        const handle = await this.#session.attach(PLUGIN, (event) => this.#happened(event));
        const { data } = await handle.ask({ request: "join", ptype: "publisher", room: number, display: name });
        this.#privateId = data.private_id;
        await this.#send(handle, stream);
        this.#happened(data);
    }

    async #send(handle, stream) {
        const connection = new RTCPeerConnection(this.#configuration);
        handle.trickle(connection);
        for (const track of stream.getTracks()) connection.addTrack(track, stream);
        await connection.setLocalDescription();
        const { jsep } = await handle.ask({ request: "publish" }, connection.localDescription);
        await connection.setRemoteDescription(jsep);
    }

    #happened({ publishers = [], unpublished, leaving }) {
        for (const publisher of publishers) {
            if (!this.#receiving.has(publisher.id)) this.#receiving.set(publisher.id, this.#receive(publisher));
        }
        const gone = unpublished ?? leaving;
        if (this.#receiving.has(gone)) void this.#forget(gone);
    }

    async #receive({ id, display }) {
        const handle = await this.#session.attach(PLUGIN);
        const join = { request: "join", ptype: "subscriber", room: this.#number, private_id: this.#privateId };
        const { jsep } = await handle.ask({ ...join, streams: [{ feed: id }] });
        const connection = new RTCPeerConnection(this.#configuration);
        handle.trickle(connection);
        connection.ontrack = ({ track, streams: [stream] }) => {
            if (track.kind === "video") this.oncome({ id, name: display, stream, connection });
        };
        await connection.setRemoteDescription(jsep);
        await connection.setLocalDescription();
        await handle.ask({ request: "start" }, connection.localDescription);
        return { handle, connection };
    }

    async #forget(id) {
        const receiving = this.#receiving.get(id);
        this.#receiving.delete(id);
        this.ongo(id);
        const { handle, connection } = await receiving;
        connection.close();
        await handle.detach();
    }
}

/** The relay, on the host that serves the page, with a password for an hour. */
async function relay() {
    const response = await fetch("/turn");
    if (!response.ok) throw new Error(`no password for the relay: status ${response.status}`);
    const host = location.hostname;
    const urls = [`turn:${host}:3478?transport=udp`, `turn:${host}:3478?transport=tcp`, `turns:${host}:5349`];
    return { urls, ...(await response.json()) };
}
