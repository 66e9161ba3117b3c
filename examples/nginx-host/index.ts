/**
 * The first session with `ctr`, as a program:
 *
 *     ctr image pull docker.io/library/nginx:latest
 *     ctr run --net-host docker.io/library/nginx:latest nginx
 *     ctr --namespace other containers ls
 *
 * Look at it with `ctr containers ls`, `ctr namespaces ls`, `ctr images ls`: all that you see there is as by hand.
 */
import * as pulumi from "@pulumi/pulumi";
import * as containerd from "pulumi-containerd";

const config = new pulumi.Config();
const ref = config.get("image") ?? "nginx:latest";
const port = config.getNumber("port") ?? 80;

const image = new containerd.Image("nginx", { ref });
const nginx = new containerd.Container("nginx", {
    name: "nginx",
    image,
    network: "host",
    // The image listens on 80, and with the host's network that is the host's.
    files:
        port === 80
            ? {}
            : { "/etc/nginx/conf.d/default.conf": `server { listen ${port}; root /usr/share/nginx/html; }` },
});
new containerd.Task("nginx", { container: nginx, health: { http: { port } } });

// Another of containerd's namespaces has images and containers of its own.
const elsewhere = new containerd.Container("elsewhere", { namespace: "other", image: ref, network: "none" });

export const digest = image.digest;
export const container = nginx.containerId;
export const other = pulumi.interpolate`${elsewhere.namespace}/${elsewhere.containerId}`;
