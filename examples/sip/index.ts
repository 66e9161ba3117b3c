/**
 * A SIP exchange on one node, as a pod: kamailio, where phones register and through which they call, and rtpengine, through
 * which their sound goes.
 */
import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import * as containerd from "pulumi-containerd";

const config = new pulumi.Config();
const node = new containerd.Node(config.require("node"));
/** What phones and gateways are told: the node's public address, unless it is another one that leads there. */
const advertise = config.get("advertise") ?? containerd.self.nodeAddress;
/** The same of IPv6; without it phones come by IPv4 alone. */
const advertise6 = config.get("advertise6");
/** How long calls may go on when the exchange is stopped, in seconds. */
const grace = config.getNumber("grace") ?? 30;

/** Registrations are there after an update, a kill and a power loss. */
const registrations = new containerd.Volume("registrations", { node });

const sip = new containerd.Pod("sip", {
    node,
    ports: ["5060:5060/udp", "5060:5060/tcp", "10000-19999:10000-19999/udp"],
    containers: {
        media: {
            image: config.require("rtpengine"),
            args: [
                ...["--foreground", "--log-stderr", "--log-level=4", "--table=-1"],
                `--interface=${containerd.self.address}!${advertise}`,
                ...(advertise6 ? [`--interface=${containerd.self.address6}!${advertise6}`] : []),
                "--listen-ng=127.0.0.1:2223",
                ...["--port-min=10000", "--port-max=19999", "--delete-delay=0"],
                // DSCP EF, the class of voice.
                "--tos=184",
            ],
        },
        proxy: {
            image: config.require("kamailio"),
            // Stopped in reverse order: the sound goes on for as long as calls may.
            after: ["media"],
            entrypoint: ["/bin/sh", "/etc/kamailio/run.sh"],
            ...(advertise6 && {
                args: ["-A", `LISTEN6=[${containerd.self.address6}]`, "-A", `ADVERTISE6=[${advertise6}]`],
            }),
            env: { GRACE: grace, ADDRESS: containerd.self.address },
            mounts: { "/var/lib/kamailio": registrations },
            files: {
                "/etc/kamailio/run.sh": readFileSync("run.sh", "utf8"),
                "/etc/kamailio/options.sh": readFileSync("options.sh", "utf8"),
                "/etc/kamailio/kamailio.cfg": containerd.render("kamailio.cfg", {
                    LISTEN: containerd.self.address,
                    ADVERTISE: advertise,
                }),
                "/etc/kamailio/dispatcher.list": {
                    content: config.get("dispatcher") ?? readFileSync("dispatcher.list", "utf8"),
                    // Read again while calls go on.
                    onChange: { exec: ["kamcmd", "dispatcher.reload"] },
                },
            },
            health: { exec: ["/bin/sh", "/etc/kamailio/options.sh"] },
            stop: { timeout: `${grace + 10}s` },
        },
    },
});

export const address = sip.endpoint(5060, "udp");
export const ready = sip.ready;
