/**
 * Both ends of a conversation, for tests of networks; Node alone, but for SCTP, which is socat's.
 *
 *     network-peer.cjs serve PROTOCOL PORT...         answers with the address it sees the caller under, and its own name (NAME)
 *     network-peer.cjs answer                         says the same on stdout to a caller that socat took
 *     network-peer.cjs phone ADDRESS PORT [INTERVAL]  one socket sends a number each INTERVAL ms, and prints each that is answered
 */
const { spawn } = require("node:child_process");
const dgram = require("node:dgram");
const net = require("node:net");

const [, , role, ...args] = process.argv;
const say = (text) => process.stdout.write(`${text}\n`);
const plain = (address) => address.replace(/^::ffff:/, "");
const name = process.env.NAME ?? "";

async function serve(protocol, ports) {
    const ready = ports.map(
        (port) =>
            new Promise((resolve) => {
                if (protocol === "sctp") {
                    void Promise.all([4, 6].map((family) => serveSctp(port, family))).then(resolve);
                    return;
                }
                if (protocol === "tcp") {
                    net.createServer((socket) => {
                        socket.on("error", () => {});
                        socket.end(`${plain(socket.remoteAddress ?? "")} ${name}`);
                    }).listen(port, "::", resolve);
                    return;
                }
                const socket = dgram.createSocket("udp6");
                socket.on("message", (message, { address, port: from }) => {
                    socket.send(`${message} ${plain(address)} ${name}`, from, address, () => {});
                });
                socket.bind(port, "::", resolve);
            }),
    );
    await Promise.all(ready);
    // A signal would not reach it through what enters a worker.
    process.stdin.on("end", () => process.exit()).resume();
    say("ready");
}

function serveSctp(port, family) {
    const listen = `SCTP${family}-LISTEN:${port},fork${family === 6 ? ",ipv6only=1" : ""}`;
    const answer = `EXEC:${process.execPath} ${process.argv[1]} answer`;
    const child = spawn("socat", ["-d", "-d", listen, answer], { stdio: ["ignore", "inherit", "pipe"] });
    process.on("exit", () => child.kill());
    return new Promise((resolve) => {
        child.stderr.on("data", (text) => String(text).includes("listening on") && resolve());
    });
}

/** socat writes all of an address, with its zeros. */
function answer() {
    const address = process.env.SOCAT_PEERADDR ?? "";
    process.stdout.write(`${new URL(`http://${address}`).hostname.replace(/[[\]]/g, "")} ${name}`);
}

function phone(address, port, interval = 50) {
    const socket = dgram.createSocket(net.isIPv6(address) ? "udp6" : "udp4");
    let sent = 0;
    socket.on("message", (message) => say(String(message)));
    socket.on("error", () => {});
    const timer = setInterval(() => socket.send(String(++sent), Number(port), address, () => {}), Number(interval));
    socket.on("listening", () => say("ready"));
    process.stdin.on("end", () => {
        clearInterval(timer);
        // What is on its way may still arrive.
        setTimeout(() => {
            say(`sent ${sent}`);
            process.exit();
        }, 1000);
    });
    process.stdin.resume();
}

if (role === "serve") void serve(args[0], args.slice(1).map(Number));
else if (role === "answer") answer();
else phone(args[0], args[1], args[2]);
