/**
 * The Pulumi programs that are measured: a thousand small resources, ours and the engine's floor. The floor registers its
 * resources in the cheapest way that the engine has: `CustomResource` with the same inputs and a provider of one constant
 * line. A `dynamic.Resource`, whose provider is a serialized closure, takes twice as long.
 */

/** Arguments that both programs give to each container, about as much as a small service has. */
const ARGUMENTS = `{
    network: "host",
    args: ["sleep", "infinity"],
    env: { LISTEN: "127.0.0.1:" + (10000 + index), MODE: "bench" },
    memory: { limit: "64MiB" },
    labels: { app: "bench", index: String(index) },
}`;

/** `count` resources of ours: an Image and its Containers. Stack config `test:image` names the image. */
export const ourProgram = (count: number): string => `
const pulumi = require("@pulumi/pulumi");
const containerd = require("pulumi-containerd");
const image = new containerd.Image("image", { ref: new pulumi.Config("test").require("image") });
for (let index = 1; index < ${count}; index++) new containerd.Container("c" + index, { image, ...${ARGUMENTS} });
`;

/** As many resources that do nothing, with inputs and outputs as large. */
export const floorProgram = (count: number): string => `
const pulumi = require("@pulumi/pulumi");
class Nothing extends pulumi.CustomResource {
    constructor(name, props) {
        const owner = "urn:pulumi:" + pulumi.getStack() + "::" + pulumi.getProject() + "::pulumi-nodejs:dynamic/floor:Nothing::" + name;
        const __provider = 'exports.handler = () => require("./floor");';
        super("pulumi-nodejs:dynamic/floor:Nothing", name, { ...props, owner, pinned: undefined, __provider });
    }
}
const image = new Nothing("image", { ref: new pulumi.Config("test").require("image") });
for (let index = 1; index < ${count}; index++) {
    new Nothing("c" + index, { image: image.pinned, imageFrom: "localhost/default", ...${ARGUMENTS} });
}
`;

/** The provider of the floor: adds what a normalized input of ours has, and does nothing. */
export const floorProvider = `
const { randomBytes } = require("node:crypto");
const DIGEST = "@sha256:" + "0".repeat(64);
exports.configure = async () => {};
exports.check = async (olds, news) => ({
    inputs: {
        ...news,
        ...(news.ref ? { pinned: news.ref + DIGEST } : {}),
        uid: olds.uid ?? randomBytes(6).toString("hex"),
        name: olds.name ?? "c-" + randomBytes(4).toString("hex"),
        node: "localhost",
        namespace: "default",
        revision: 1,
        log: { driver: "file", maxSize: 10485760, maxFiles: 3 },
    },
});
exports.diff = async () => ({ changes: false });
exports.create = async (inputs) => ({
    id: "default/" + inputs.name + "/" + inputs.uid,
    outs: { ...inputs, containerId: inputs.name, address: "127.0.0.1", complete: true },
});
exports.update = async (id, olds, news) => ({ outs: news });
exports.delete = async () => {};
`;
