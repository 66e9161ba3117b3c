/** Janus' API over a WebSocket: a session, and handles of its plugins, each with one peer connection. */
/* global WebSocket, crypto */

const KEEP_ALIVE = 25_000;

/** A session. Requests carry a transaction by which their answers are known; events carry the handle that they are for. */
export class Session {
    #socket;
    #id;
    #waiting = new Map();
    #handles = new Map();

    /** Called once when the session is over, with the reason. */
    onend = () => {};

    static async open(url) {
        const session = new Session();
        await session.#connect(url);
        const { data } = await session.request({ janus: "create" });
        session.#id = data.id;
        setInterval(() => session.request({ janus: "keepalive" }).catch(() => {}), KEEP_ALIVE);
        return session;
    }

    /** A handle of a plugin. `onevent` gets what it says unasked. */
    async attach(plugin, onevent = () => {}) {
        const { data } = await this.request({ janus: "attach", plugin });
        const handle = new Handle(this, data.id, onevent);
        this.#handles.set(data.id, handle);
        return handle;
    }

    /** Sends, and resolves with the answer; what a plugin does takes its time, so the mere acknowledgement of it is not one. */
    request(message) {
        const transaction = crypto.randomUUID();
        return new Promise((resolve, reject) => {
            this.#waiting.set(transaction, { resolve, reject, plugin: message.janus === "message" });
            this.#socket.send(JSON.stringify({ ...message, transaction, session_id: this.#id }));
        });
    }

    forget(handle) {
        this.#handles.delete(handle.id);
    }

    #connect(url) {
        this.#socket = new WebSocket(url, "janus-protocol");
        this.#socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
        return new Promise((resolve, reject) => {
            this.#socket.onopen = resolve;
            this.#socket.onclose = () => {
                const error = new Error("the connection to the conference is lost");
                reject(error);
                for (const waiting of this.#waiting.values()) waiting.reject(error);
                this.onend(error.message);
            };
        });
    }

    #receive(message) {
        const waiting = this.#waiting.get(message.transaction);
        if (waiting && message.janus === "ack" && waiting.plugin) return;
        if (waiting) {
            this.#waiting.delete(message.transaction);
            const problem = message.error?.reason ?? message.plugindata?.data.error;
            if (problem) waiting.reject(new Error(problem));
            else waiting.resolve(message);
        } else if (message.janus === "event") {
            this.#handles.get(message.sender)?.onevent(message.plugindata.data);
        }
    }
}

/** A handle: the plugin on the other end, and the peer connection with it. */
export class Handle {
    constructor(session, id, onevent) {
        this.session = session;
        this.id = id;
        this.onevent = onevent;
    }

    /** Asks the plugin; resolves with its answer and the description that came along. */
    async ask(body, jsep) {
        const answer = await this.session.request({ janus: "message", handle_id: this.id, body, jsep });
        return { data: answer.plugindata.data, jsep: answer.jsep };
    }

    /** Tells the other end of each way by which the connection's own end can be reached, as they are found. */
    trickle(connection) {
        connection.onicecandidate = ({ candidate }) => {
            const found = candidate ? candidate.toJSON() : { completed: true };
            void this.session.request({ janus: "trickle", handle_id: this.id, candidate: found }).catch(() => {});
        };
    }

    async detach() {
        this.session.forget(this);
        await this.session.request({ janus: "detach", handle_id: this.id });
    }
}
