/** A page served by nginx on plain containerd: an image, a container, its process. */
import * as pulumi from "@pulumi/pulumi";
import * as containerd from "pulumi-containerd";

const config = new pulumi.Config();
const port = config.getNumber("port") ?? 8080;
const greeting = config.get("greeting") ?? "Hello from plain containerd";

const nginx = new containerd.Image("nginx", { ref: config.get("image") ?? "nginx:1.27" });

const web = new containerd.Container("web", {
    image: nginx,
    network: "host",
    memory: { limit: "256MiB" },
    files: {
        "/etc/nginx/conf.d/default.conf": `server { listen 127.0.0.1:${port}; root /usr/share/nginx/html; }\n`,
        "/usr/share/nginx/html/index.html": `<!doctype html><title>${greeting}</title><h1>${greeting}</h1>\n`,
    },
});

const task = new containerd.Task("web", { container: web, health: { http: { port } } });

export const url = pulumi.interpolate`http://${web.endpoint(port)}/`;
export const image = nginx.pinned;
export const ready = task.ready;
