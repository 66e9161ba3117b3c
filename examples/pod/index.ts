/** Two containers that run as one: a web server, and a writer beside it that keeps the page up to date, on a volume of theirs. */
import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import * as containerd from "pulumi-containerd";

const config = new pulumi.Config();
const port = config.getNumber("port") ?? 8080;

/** Outlives the pod: the number of starts on the page goes on where it was. */
const pages = new containerd.Volume("pages");

const pod = new containerd.Pod("pages", {
    ports: [`${port}:80`],
    containers: {
        writer: {
            image: config.get("writer") ?? "busybox:1.37",
            entrypoint: ["/bin/sh", "/writer.sh"],
            mounts: { "/pages": pages },
            files: {
                "/writer.sh": readFileSync("writer.sh", "utf8"),
                // Read anew each second, so a changed greeting needs no restart.
                "/greeting": { content: config.get("greeting") ?? "Hello from a pod", onChange: "none" },
            },
            memory: { limit: "32MiB" },
            health: { exec: ["test", "-s", "/pages/index.html"] },
        },
        web: {
            image: config.get("web") ?? "nginx:1.27",
            // There is a page to serve by then.
            after: ["writer"],
            mounts: { "/usr/share/nginx/html": { volume: pages, readOnly: true } },
            memory: { limit: "64MiB" },
            health: { http: { port: 80 } },
        },
    },
});

export const url = pulumi.interpolate`http://${pod.endpoint(80)}/`;
export const members = pod.members;
export const ready = pod.ready;
