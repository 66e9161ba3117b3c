/** A worker's place in its cluster's network, and its ports on this machine's loopback and the reverse. */
import { ContainerdError } from "../../provider/errors";
import type { NetworkRegistration } from "../worker/registration";
import { type Attachment, attachment } from "./setup";
import { Switch } from "./switch";

export class WorkerNetwork {
    private readonly place: Attachment;

    constructor(
        private readonly worker: string,
        private readonly registration: NetworkRegistration,
    ) {
        this.place = attachment(registration.index);
    }

    get address(): string {
        return this.place.address;
    }

    get address6(): string {
        return this.place.address6;
    }

    /** The port of this machine's loopback that leads to a port of the worker. Throws `NotFound` when there is none. */
    forwardOf(port: number): number {
        const local = this.registration.forwards[port];
        if (!local) throw new ContainerdError("NotFound", `port ${port} of worker ${this.worker} is not forwarded`);
        return local;
    }

    /** Plugs a worker in that was switched on: `pid` is its process 1. Everything is as it was before it was off. */
    async plug(pid: number): Promise<void> {
        const hub = await this.hub();
        await hub.plug(pid, this.place);
        const { worker } = this;
        const { forwards, reach, delay, cut } = this.registration;
        for (const [port, listen] of Object.entries(forwards)) {
            await this.openForward(hub, Number(port), listen);
        }
        if (reach.length > 0) await hub.ask("reach", { worker, pid, ports: reach });
        if (delay > 0 || cut) await hub.ask("link", { worker, delay, cut });
        if (cut) await hub.setCable(this.place, false);
    }

    /** Plugs a running worker in again if the switch has ended meanwhile. */
    async ensurePlugged(pid: number): Promise<void> {
        const { workers } = await (await this.hub()).ask("status", {});
        if (!workers.includes(this.worker)) await this.plug(pid);
    }

    /** Nothing that the worker sends from now on arrives. */
    async silence(): Promise<void> {
        const hub = await this.existingHub();
        if (hub && (await hub.running())) await hub.setCable(this.place, false);
    }

    /** The worker is off. */
    async unplug(): Promise<void> {
        const hub = await this.existingHub();
        if (!hub || !(await hub.running())) return;
        await hub.ask("off", { worker: this.worker });
        await hub.unplug(this.place);
    }

    async forward(port: number): Promise<number> {
        const known = this.registration.forwards[port];
        if (known) return known;
        return this.openForward(await this.hub(), port, 0);
    }

    async reach(port: number, pid: number | undefined): Promise<void> {
        const ports = new Set([...this.registration.reach, port]);
        this.registration.reach = [...ports];
        if (pid !== undefined) await (await this.hub()).ask("reach", { worker: this.worker, pid, ports: [...ports] });
    }

    async cut(cut: boolean): Promise<void> {
        this.registration.cut = cut;
        const hub = await this.hub();
        await hub.setCable(this.place, !cut);
        await hub.ask("link", { worker: this.worker, cut });
    }

    async delay(delay: number): Promise<void> {
        this.registration.delay = delay;
        await (await this.hub()).ask("link", { worker: this.worker, delay });
    }

    async reset(): Promise<void> {
        await (await this.hub()).ask("reset", { worker: this.worker });
    }

    /** Gives its place up, and the switch if nobody else is on it. */
    async remove(): Promise<void> {
        const hub = await this.existingHub();
        if (this.registration.alone) await hub?.stop();
        else if (hub && (await hub.running())) {
            try {
                await hub.ask("remove", { worker: this.worker });
                await hub.unplug(this.place);
            } catch (error) {
                // It may have ended with who started it, or by another process that removes the same.
                if (await hub.running()) throw error;
            }
        }
    }

    private async openForward(hub: Switch, port: number, listen: number): Promise<number> {
        const { worker } = this;
        const opened = await hub.ask("forward", { worker, host: this.place.address, port, listen });
        this.registration.forwards[port] = opened.port;
        return opened.port;
    }

    private existingHub(): Promise<Switch | undefined> {
        return Switch.open(this.registration.switch);
    }

    /** The switch, switched on. */
    private async hub(): Promise<Switch> {
        const hub = await this.existingHub();
        if (!hub) throw new ContainerdError("NotFound", `the switch of worker ${this.worker} is gone`);
        await hub.ensure();
        return hub;
    }
}
