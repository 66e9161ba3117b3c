/**
 * TCP connections carried from one network namespace to another: a `Link` is what they have in common (a worker at its end),
 * and where a test delays, holds or cuts them.
 */
import type { Server, Socket } from "node:net";

/** Bytes on their way in one direction of one connection, from which on its sender waits. */
const IN_FLIGHT_LIMIT = 32 * 1024 * 1024;

/** All connections to one worker. */
export class Link {
    private readonly flows = new Set<Flow>();
    private readonly opening = new Set<() => void>();
    private readonly sockets = new Set<Socket>();
    private delayed = 0;
    private held = false;

    /** Milliseconds that each byte is late, in each direction. */
    get delay(): number {
        return this.delayed;
    }

    set delay(milliseconds: number) {
        this.delayed = milliseconds;
    }

    /** Whether everything is held back, as by a cable that was pulled: nothing arrives, nothing fails. */
    get cut(): boolean {
        return this.held;
    }

    set cut(cut: boolean) {
        this.held = cut;
        if (cut) return;
        for (const open of this.opening) open();
        this.opening.clear();
        for (const flow of this.flows) flow.schedule();
    }

    /** Answers a server's connections by those that `connect` makes. */
    serve(server: Server, connect: () => Socket): void {
        server.on("connection", (near) => {
            // A server that came from another process accepts sockets with Node's defaults.
            near.allowHalfOpen = true;
            near.setNoDelay(true);
            this.watch(near);
            const open = () => {
                if (near.destroyed) return;
                const far = connect();
                far.allowHalfOpen = true;
                this.watch(far);
                far.on("error", () => reset(near));
                near.on("error", () => reset(far));
                this.add(near, far);
                this.add(far, near);
            };
            // A handshake takes the way three times, before the other end hears of the connection.
            if (this.held) this.opening.add(open);
            else if (this.delayed > 0) setTimeout(open, 3 * this.delayed);
            else open();
        });
    }

    /** Ends all connections at once, as a router does that forgot them: both ends get a reset. */
    reset(): void {
        for (const socket of this.sockets) reset(socket);
    }

    private watch(socket: Socket): void {
        this.sockets.add(socket);
        socket.on("error", () => undefined);
        socket.once("close", () => this.sockets.delete(socket));
    }

    private add(from: Socket, to: Socket): void {
        const flow = new Flow(from, to, this);
        this.flows.add(flow);
        to.once("close", () => this.flows.delete(flow));
    }
}

/** Resets a connection; one that is not made yet is given up. */
function reset(socket: Socket): void {
    if (socket.connecting) socket.destroy();
    else socket.resetAndDestroy();
}

/** One direction of one connection. */
class Flow {
    private readonly queue: { chunk: Buffer | undefined; due: number }[] = [];
    private bytes = 0;
    private timer: NodeJS.Timeout | undefined;

    constructor(
        private readonly from: Socket,
        private readonly to: Socket,
        private readonly link: Link,
    ) {
        from.on("data", (chunk: Buffer) => this.take(chunk));
        from.on("end", () => this.take(undefined));
        to.on("drain", () => this.resume());
        to.once("close", () => clearTimeout(this.timer));
    }

    /** Sees to it that what is due goes out. */
    schedule(): void {
        const [next] = this.queue;
        if (!next || this.timer || this.link.cut || this.to.destroyed) return;
        this.timer = setTimeout(
            () => {
                this.timer = undefined;
                this.flush();
            },
            Math.max(0, next.due - performance.now()),
        );
    }

    private take(chunk: Buffer | undefined): void {
        const { delay, cut } = this.link;
        if (delay === 0 && !cut && this.queue.length === 0) return this.send(chunk);
        this.queue.push({ chunk, due: performance.now() + delay });
        this.bytes += chunk?.length ?? 0;
        if (this.bytes >= IN_FLIGHT_LIMIT) this.from.pause();
        this.schedule();
    }

    private flush(): void {
        if (this.link.cut) return;
        const now = performance.now();
        for (let next = this.queue[0]; next && next.due <= now; next = this.queue[0]) {
            this.queue.shift();
            this.bytes -= next.chunk?.length ?? 0;
            this.send(next.chunk);
        }
        this.resume();
        this.schedule();
    }

    private send(chunk: Buffer | undefined): void {
        if (chunk === undefined) this.to.end();
        else if (!this.to.write(chunk)) this.from.pause();
    }

    private resume(): void {
        if (this.bytes < IN_FLIGHT_LIMIT && !this.to.writableNeedDrain) this.from.resume();
    }
}
