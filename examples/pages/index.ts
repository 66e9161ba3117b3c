/** A page on each node of the stack config `containerd:nodes`, each with its own content. */
import * as pulumi from "@pulumi/pulumi";
import * as containerd from "pulumi-containerd";

const config = new pulumi.Config();
const port = config.getNumber("port") ?? 8080;
const ref = config.get("image") ?? "nginx:1.27";

/** On the node's loopback for its own health check, and on the address where others reach the node. */
function listen(address: string): string {
    const addresses = new Set(["127.0.0.1", address]);
    return [...addresses].map((each) => `listen ${each}:${port};`).join(" ");
}

export const pages = containerd.configuredNodes().map(({ name, labels }) => {
    const node = new containerd.Node(name, { labels });
    const nginx = new containerd.Image(name, { node, ref });
    const page = new containerd.Container(name, {
        node,
        image: nginx,
        network: "host",
        memory: { limit: "128MiB" },
        files: {
            "/etc/nginx/conf.d/default.conf": pulumi.interpolate`server { ${node.publicAddress.apply(listen)} root /usr/share/nginx/html; }\n`,
            "/usr/share/nginx/html/index.html": `<!doctype html><title>Hello from ${name}</title><h1>Hello from ${name}</h1>\n`,
        },
    });
    const task = new containerd.Task(name, { container: page, health: { http: { port } } });
    return {
        node: name,
        containerd: node.facts.containerd,
        container: page.containerId,
        url: pulumi.interpolate`http://${page.endpoint(port)}/`,
        ready: task.ready,
    };
});
