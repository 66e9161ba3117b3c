/**
 * A video conference as one pod: Janus forwards the participants' pictures, coturn relays to it for those whose network lets
 * nothing else through, nginx serves the page.
 */
import * as pulumi from "@pulumi/pulumi";
import * as containerd from "pulumi-containerd";
import { folder, render, text } from "./templates";

const config = new pulumi.Config();
const images = config.requireObject<Record<"janus" | "coturn" | "web", string>>("images");
const certificate = config.require("certificate");
const key = config.requireSecret("key");
const turnSecret = config.requireSecret("turnSecret");
const port = config.getNumber("port") ?? 443;
const mediaPorts = config.get("mediaPorts") ?? "10000-10999";

/** Filled in where the pod is made: its own address, and the node's, to which participants come. */
const { address, nodeAddress } = containerd.self;

/** All run as `nobody`, who alone can read what is secret. */
const NOBODY = 65534;
const own = { uid: NOBODY, gid: NOBODY, mode: "0400" };
const confined = {
    user: `${NOBODY}:${NOBODY}`,
    readOnly: true,
    mounts: { "/tmp": { tmpfs: { size: "16MiB" } } },
    capabilities: { drop: ["ALL"] },
    security: { noNewPrivileges: true },
};

/** A new certificate is read on a signal: nobody is thrown out. */
function tls(signal: string) {
    const onChange = { signal };
    return {
        "/etc/tls/certificate.pem": { content: certificate, onChange },
        "/etc/tls/key.pem": { ...own, content: key, onChange },
    };
}

const conference = new containerd.Pod("conference", {
    ports: [`${port}:8443`, "3478:3478/udp", "3478:3478", "5349:5349", `${mediaPorts}:${mediaPorts}/udp`],
    containers: {
        turn: {
            ...confined,
            image: images.coturn,
            entrypoint: ["turnserver", "-c", "/etc/turnserver.conf"],
            files: {
                ...tls("SIGUSR2"),
                "/etc/turnserver.conf": {
                    ...own,
                    content: render("config/turnserver.conf", { address, nodeAddress, turnSecret }),
                },
            },
            memory: { limit: "128MiB" },
            health: { tcp: { port: 5349 } },
            // As process 1 it hears no signal that asks it to end.
            stop: { signal: "SIGKILL" },
        },
        janus: {
            ...confined,
            image: images.janus,
            entrypoint: ["janus", "--configs-folder=/etc/janus"],
            files: {
                "/etc/janus/janus.jcfg": render("config/janus.jcfg", { nodeAddress, mediaPorts }),
                "/etc/janus/janus.plugin.videoroom.jcfg": render("config/janus.plugin.videoroom.jcfg", {
                    room: 1,
                    participants: 12,
                }),
                "/etc/janus/janus.transport.websockets.jcfg": text("config/janus.transport.websockets.jcfg"),
            },
            memory: { limit: "256MiB" },
            health: { tcp: { port: 8188 } },
        },
        web: {
            ...confined,
            after: ["janus"],
            image: images.web,
            entrypoint: ["nginx", "-e", "stderr", "-g", "daemon off;"],
            files: {
                ...tls("SIGHUP"),
                ...folder("page", "/srv/page"),
                "/etc/nginx/nginx.conf": text("config/nginx.conf"),
                "/etc/nginx/turn.js": text("config/turn.js"),
                "/etc/turn/secret": { ...own, content: turnSecret },
            },
            memory: { limit: "64MiB" },
            health: { tcp: { port: 8443 } },
        },
    },
});

export const url = pulumi.interpolate`https://${conference.endpoint(8443)}/`;
export const ready = conference.ready;
