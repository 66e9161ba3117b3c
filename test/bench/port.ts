/** Rows: a container with a published port: how soon it runs, and what goes through the port, against Docker on another worker. */
import type { Docker } from "../../playground/docker";
import type { Registry } from "../../playground/registry";
import type { Worker } from "../../playground/worker";
import { namespacePath } from "../../provider/network/settings";
import { NetworkNode, settingsOf } from "../integration/network-node";
import { byRatio, interleaved, runs, spread, type Line } from "./measure";
import { dockerOn, published } from "./page";
import { timedOn } from "./stopwatch";
import { busyboxOn } from "./workbench";

const START_RUNS = runs(15);
const START_LIMIT = 0.7;

const PACKET_RUNS = runs(10);
const PACKET_LIMIT = 1.0;
const PACKETS = 100_000;

/** Binds a port and writes down its process: without, the kernel would answer that nobody is there. */
const HOLDER = `
use Socket;
my ($port, $file) = @ARGV;
socket(my $s, PF_INET, SOCK_DGRAM, 0) or die $!;
bind($s, sockaddr_in($port, INADDR_ANY)) or die $!;
open(my $f, ">", $file) or die $!;
syswrite($f, $$) or die $!;
sleep;
`;
const HOLDER_FILE = "/run/bench-holder.pid";

/** Sends packets of an RTP packet's size (20 ms of G.711) from one port as fast as it can, and prints the microseconds. */
const SENDER = `
use Socket; use Time::HiRes "time";
my ($address, $port, $count) = @ARGV;
socket(my $s, PF_INET, SOCK_DGRAM, 0) or die $!;
connect($s, sockaddr_in($port, inet_aton($address))) or die $!;
my $packet = "x" x 172;
my $start = time;
for (1 .. $count) { send($s, $packet, 0) }
printf "%d\\n", (time - $start) * 1e6;
`;

/** From the request to a running process with a published port. `ours` and `peer` are two workers; the second one gets Docker. */
export async function portStart([ours, peer]: readonly Worker[], registry: Registry): Promise<Line> {
    const { pinned: image } = await busyboxOn(ours!, registry);
    const docker = await dockerOn(peer!);
    // The bridge and the rules that all share stand, as Docker's do.
    const beside = await published(ours!, { image, name: "beside", ports: ["8081:80"] });
    let count = 0;
    const start = async () => {
        const made = await published(ours!, { image, name: `bench-${++count}`, ports: ["8080:80"] });
        await made.remove();
        return made.milliseconds;
    };
    const run = docker.client("run", "-d", "-p", "8080:80", "--name", "bench", "busybox:1", "sleep", "infinity");
    const samples = await interleaved(START_RUNS, {
        ours: start,
        docker: async () => {
            const milliseconds = await timedOn(peer!, run);
            await docker.run("rm", "--force", "bench");
            return milliseconds;
        },
    });
    await beside.remove();
    return byRatio(
        {
            what: "start one container with one published port",
            against: "docker run -d -p",
            limit: START_LIMIT,
            note:
                "restart `always`, as by default; with `no` it waits 100 ms more, and sees whether the process ended at once. " +
                "Before anything is made, ours runs a command on the node that looks who has the port.",
        },
        samples.ours,
        samples.docker,
    );
}

/** `ours`, `peer` and `client` have a network in common, and the second one gets Docker. */
export async function packetsOf([ours, peer, client]: readonly Worker[]): Promise<Line> {
    return packets(new NetworkNode(ours!), await dockerOn(peer!), peer!, client!);
}

/** UDP packets through a published port, counted where they arrive: at the container's interface. */
async function packets(node: NetworkNode, docker: Docker, peer: Worker, client: Worker): Promise<Line> {
    const settings = settingsOf("rtp", 5, ["20000-20099:20000-20099/udp"]);
    await node.ensure(settings);
    await docker.restart("SIGTERM", { userlandProxy: false });
    try {
        const ports = ["-p", "20000-20099:20000-20099/udp"];
        await docker.run("run", "-d", "--name", "rtp", ...ports, "busybox:1", "sleep", "infinity");
        const pid = await docker.run("inspect", "--format", "{{.State.Pid}}", "rtp");
        const namespaces = { ours: namespacePath(settings.key, "net"), docker: `/proc/${pid}/ns/net` };
        await hold(node.worker, namespaces.ours);
        await hold(peer, namespaces.docker);
        const through = (worker: Worker, namespace: string) => async () => {
            const arrived = async () => {
                const script = 'nsenter --net="$1" awk \'$1 == "eth0:" { print $3 }\' /proc/thread-self/net/dev';
                return Number(await worker.run(script, namespace));
            };
            const before = await arrived();
            const took = Number(await client.run('perl -e "$@"', SENDER, worker.ip, "20000", String(PACKETS)));
            const count = (await arrived()) - before;
            if (count < PACKETS / 2) throw new Error(`of ${PACKETS} packets ${count} arrived`);
            return (took / 1000) * (100_000 / count);
        };
        const samples = await interleaved(PACKET_RUNS, {
            ours: through(node.worker, namespaces.ours),
            docker: through(peer, namespaces.docker),
        });
        const rate = (milliseconds: readonly number[]) => `${Math.round(100_000 / spread(milliseconds).median)} 000`;
        return byRatio(
            {
                what: "100,000 UDP packets through a published port",
                against: "Docker's, its proxy off",
                limit: PACKET_LIMIT,
                note: `${rate(samples.ours)} packets a second, of one flow; Docker's ${rate(samples.docker)}. They are counted at its interface.`,
            },
            samples.ours,
            samples.docker,
        );
    } finally {
        for (const worker of [node.worker, peer]) await worker.stopService(HOLDER_FILE, "SIGKILL");
        await docker.run("rm", "--force", "rtp");
        await docker.restart("SIGTERM", { userlandProxy: true });
        await node.clean();
    }
}

/** Holds the port in a namespace, for packets that nobody reads. */
async function hold(worker: Worker, namespace: string): Promise<void> {
    worker.startService("nsenter", [`--net=${namespace}`, "perl", "-e", HOLDER, "20000", HOLDER_FILE], "holder.log");
    await worker.run(
        'n=0; until [ -s "$1" ]; do n=$((n + 1)); [ $n -lt 500 ] || exit 1; sleep 0.02; done',
        HOLDER_FILE,
    );
}
