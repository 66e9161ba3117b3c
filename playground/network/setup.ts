/** How a cluster's network is laid out: its addresses, and the commands that make them. */

/**
 * TEST-NET-2 (RFC 5737): for documentation, so no network that a test or a user makes on a worker is meant to be it. All
 * clusters have the same addresses: each is in namespaces of its own.
 */
const PREFIX = "198.51.100";
/** The same for IPv6 (RFC 3849). There is no gateway of it: nothing but the cluster is reached by IPv6. */
const PREFIX6 = "2001:db8:5::";
/** The switch's end, which is the workers' gateway: to nowhere. */
export const GATEWAY = `${PREFIX}.1`;
/** The first worker's; up to 200 of them follow. */
const FIRST = 11;

/** What a worker has on its cluster's network. */
export interface Attachment {
    address: string;
    /** Not there where this machine's kernel has no IPv6. */
    address6: string;
    mac: string;
    /** Its interface's other end, in the switch. */
    port: string;
}

/** Address, MAC and port of a cluster's worker by its index, from 0. */
export function attachment(index: number): Attachment {
    const last = FIRST + index;
    return { address: `${PREFIX}.${last}`, address6: `${PREFIX6}${last}`, mac: macOf(last), port: `port${last}` };
}

/** Locally administered; the last four bytes are the address's. */
function macOf(last: number): string {
    const bytes = [2, 0, ...PREFIX.split(".").map(Number), last];
    return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/** Makes the switch in the network namespace in which it runs, and becomes the command in its arguments. Forwards nothing. */
export const SWITCH_SETUP = `set -eu
echo 0 >/proc/sys/net/ipv4/ip_forward
ip link set lo up
ip link add br0 address ${macOf(1)} type bridge
ip addr add ${GATEWAY}/24 dev br0
ip link set br0 up
exec "$@"`;

/** In the switch's network namespace: PID PORT ADDRESS MAC. Plugs process PID's network namespace in, as its eth0. */
export const PLUG = `set -eu
ip link delete "$2" 2>/dev/null || true
ip link add "$2" type veth peer name eth0 address "$4" netns "$1"
ip link set "$2" master br0 up
# Known for good: while the cable is out, packets vanish instead of failing for want of a neighbour.
ip neigh replace "$3" lladdr "$4" dev br0 nud permanent`;

/** In the worker's network namespace: ADDRESS ADDRESS6. What a machine's boot does. */
export const CONFIGURE = `set -eu
ip link set lo up
ip addr add "$1/24" dev eth0
# Without looking whether another has it, which takes a second. Fails where the kernel has no IPv6, or it is off.
[ ! -e /proc/net/if_inet6 ] || ip addr add "$2/64" dev eth0 nodad 2>/dev/null || true
ip link set eth0 up
ip neigh replace ${GATEWAY} lladdr ${macOf(1)} dev eth0 nud permanent
ip route add default via ${GATEWAY}
# What a machine has before somebody turns it on; a new namespace has what this machine has.
echo 0 >/proc/sys/net/ipv4/ip_forward`;

/** Runs one of this folder's programs: they are TypeScript, like what starts them. */
export function nodeCommand(file: string, ...args: string[]): string[] {
    return [process.execPath, "--import", require.resolve("tsx"), file, ...args];
}
