/**
 * Asks a SIP proxy by OPTIONS over UDP, always from one port, and writes the time of each answer, in milliseconds since 1970, a
 * line each. Arguments: PROXY FROM INTERVAL. Plain JavaScript without files of its own: see `watch.ts`.
 */
import { randomUUID } from "node:crypto";
import { createSocket } from "node:dgram";
import process from "node:process";

const [proxy, from, interval] = process.argv.slice(1);
const PORT = 5066;
const bracketed = (address) => (address.includes(":") ? `[${address}]` : address);
const socket = createSocket(proxy.includes(":") ? "udp6" : "udp4");
const call = randomUUID();
let sequence = 0;

function ask() {
    sequence += 1;
    const lines = [
        `OPTIONS sip:${bracketed(proxy)}:5060 SIP/2.0`,
        `Via: SIP/2.0/UDP ${bracketed(from)}:${PORT};branch=z9hG4bK${call}${sequence};rport`,
        "Max-Forwards: 1",
        `From: <sip:probe@${bracketed(from)}>;tag=${call}`,
        `To: <sip:${bracketed(proxy)}>`,
        `Call-ID: ${call}`,
        `CSeq: ${sequence} OPTIONS`,
        "Content-Length: 0",
    ];
    socket.send(`${lines.join("\r\n")}\r\n\r\n`, 5060, proxy, () => undefined);
}

socket.on("message", (message) => {
    if (message.toString("latin1").startsWith("SIP/2.0 200 ")) process.stdout.write(`${Date.now()}\n`);
});
// The network refuses while nobody listens there: that is what is being watched.
socket.on("error", () => undefined);
socket.bind(PORT, from, () => setInterval(ask, Number(interval)));
