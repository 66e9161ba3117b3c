/** The resource Node: a machine, how it is reached, its claim and its facts. */
import * as pulumi from "@pulumi/pulumi";
import type { Dict, Optional, Size } from "./arguments";
import { placement } from "./placement";
import { ContainerdResource } from "./resource";

/** How a machine is reached by SSH. What is absent comes from `~/.ssh/config`, as `ssh HOST` would have it. */
export interface ConnectionArgs {
    /** Host name, address, or a `Host` of `~/.ssh/config`. May be an Output of a machine that is made in the same `up`. */
    host: pulumi.Input<string>;
    /** Default 22. */
    port?: Optional<number>;
    /** Default: the name of the user who runs Pulumi. containerd's socket is root's: see `dial` for other users. */
    user?: Optional<string>;
    /** The private key itself (OpenSSH or PEM); kept as a secret. */
    privateKey?: Optional<string>;
    /** Path of a private key on the machine that runs Pulumi. */
    identityFile?: Optional<string>;
    /** Passphrase of the private key; kept as a secret. */
    passphrase?: Optional<string>;
    /** Password of the user; kept as a secret. */
    password?: Optional<string>;
    /** Path of an SSH agent's socket. Default: `$SSH_AUTH_SOCK`. */
    agent?: Optional<string>;
    /** Path of an OpenSSH certificate for the key. */
    certificate?: Optional<string>;
    /** The machine's key: `SHA256:…`, `ssh-ed25519 AAAA…` or a line of known_hosts. Default: known_hosts decides. */
    hostKey?: Optional<string>;
    /** The machine on the way: `user@host:port`, several by commas. */
    jump?: Optional<string>;
    /** Path of containerd's socket there. Default `/run/containerd/containerd.sock`. */
    socket?: Optional<string>;
    /**
     * A command there whose stdin and stdout are a connection to the socket, for a user who may not open it, like
     * `sudo -n socat - UNIX-CONNECT:/run/containerd/containerd.sock`.
     */
    dial?: Optional<string>;
}

/** Arguments of a {@link Node}. */
export interface NodeArgs {
    /** What it is called in messages and, without a `connection`, in the stack config `containerd:nodes`. Default: the resource's name. */
    name?: string;
    /** How it is reached. Default: as the stack config `containerd:nodes`, or `~/.ssh/config`, says for its name. */
    connection?: ConnectionArgs;
    /** Which machine it is, like `vm.id`: with another value the Node and what lies on it are replaced. */
    machine?: Optional<string>;
    /** Where others reach it. Default: the config's, else the host of the connection. */
    publicAddress?: Optional<string>;
    /** Labels to choose nodes by. Default: the config's. */
    labels?: Dict<string>;
    /** What it has to give. `memory` in bytes or like `"8GiB"`. Default: the config's. */
    capacity?: { cpus?: Optional<number>; memory?: Size };
    /** Declares that the machine is lost for good: it is not asked any more, and deletes of what was on it only drop it from the state. */
    lost?: Optional<boolean>;
}

/** What a node's machine is and has, as last seen. What could not be found out (a user without rights) is absent. */
export interface NodeFacts {
    /** Version of containerd. */
    containerd: string;
    /** Images of this platform run there, like `linux/amd64`. */
    platform: string;
    /** Names of containerd's snapshotters. */
    snapshotters: string[];
    /** Version of the control groups. */
    cgroup?: 1 | 2;
    /** Release of the kernel. */
    kernel?: string;
    /** Version of runc. */
    runc?: string;
    /** How often containerd's restart monitor looks, like `10s`. */
    restartInterval?: string;
    /** Names of the CNI plugins. */
    cniPlugins?: string[];
}

/**
 * A machine with containerd. Nothing of ours is installed there: the Node is a claim on it (a lease of containerd's, so that
 * two stacks of one name do not take each other's things), and what is known of it.
 *
 * @example
 * const node = new containerd.Node("edge-3", { machine: vm.id, connection: { host: vm.ip, user: "root", privateKey: key } });
 * new containerd.Container("web", { node, image: "nginx:1.27", network: "host" });
 *
 * Throws (as the resource's failure): `Unreachable`, `Unauthorized` with what to do, `Conflict` where another state of the same
 * stack has claimed it, `Invalid` for arguments. Source: containerd's Version, Introspection and Leases services.
 */
export class Node extends ContainerdResource {
    /** What it is called. */
    declare readonly name: string;
    /** The same, as an Output. */
    declare readonly node: pulumi.Output<string>;
    /** Where others reach it. */
    declare readonly publicAddress: pulumi.Output<string>;
    /** Labels to choose nodes by. */
    declare readonly labels: pulumi.Output<Record<string, string>>;
    /** What it has to give; `memory` in bytes. */
    declare readonly capacity: pulumi.Output<{ cpus?: number; memory?: number } | undefined>;
    /** What it is and has. */
    declare readonly facts: pulumi.Output<NodeFacts>;
    /** @internal The UUID of the claim. */
    declare readonly claim: pulumi.Output<string>;

    constructor(name: string, args: NodeArgs = {}, opts?: pulumi.CustomResourceOptions) {
        const { name: called = name, connection, ...rest } = args;
        const guarded = connection && withSecrets(connection);
        super(
            "Node",
            name,
            {
                publicAddress: undefined,
                labels: undefined,
                capacity: undefined,
                ...rest,
                ...(guarded && { connection: guarded }),
                node: called,
                facts: undefined,
                claim: undefined,
            },
            opts,
        );
        this.name = called;
        placement.set(this, {
            node: called,
            claim: this.claim,
            facts: this.facts,
            nodeAddress: this.publicAddress,
            ...(guarded && { connection: guarded }),
            ...(args.lost !== undefined && { lost: args.lost }),
        });
    }
}

/** Each secret on its own, so that a preview shows a changed address. */
function withSecrets(connection: ConnectionArgs): pulumi.Inputs {
    const secrets = (["privateKey", "passphrase", "password"] as const).filter((key) => connection[key] !== undefined);
    return { ...connection, ...Object.fromEntries(secrets.map((key) => [key, pulumi.secret(connection[key])])) };
}

const PLACED = /^pulumi-nodejs:dynamic\/containerd:(?:Image|Container|Pod|Volume|Network)$/;
const TASK = "pulumi-nodejs:dynamic/containerd:Task";

/**
 * A transform that puts what it is given to on a node, where nothing else is said: `{ transforms: [onNode(node)] }` on a
 * component places all that is in it.
 *
 * @example
 * new Site("tokyo", { transforms: [containerd.onNode("edge-1")] });
 */
export function onNode(node: string | Node): pulumi.ResourceTransform {
    const place = typeof node === "string" ? { node } : placement.get(node);
    const name = typeof node === "string" ? node : node.name;
    return ({ type, props, opts }) => {
        if (PLACED.test(type) && (props as pulumi.Inputs).node === undefined) {
            return { props: { ...(props as pulumi.Inputs), ...place }, opts };
        }
        // A Task goes where its Container does, which may be elsewhere.
        if (type === TASK && typeof node !== "string") {
            const own = pulumi.output((props as pulumi.Inputs).node as pulumi.Input<string>);
            const here = Object.entries(place).filter(([key]) => key !== "node");
            const taken = here.map(([key, value]) => [
                key,
                pulumi
                    .all([own, value as pulumi.Input<unknown>, (props as pulumi.Inputs)[key] as pulumi.Input<unknown>])
                    .apply(([at, ours, theirs]) => (at === name ? ours : theirs)),
            ]);
            return { props: { ...(props as pulumi.Inputs), ...Object.fromEntries(taken) } as pulumi.Inputs, opts };
        }
        return undefined;
    };
}
