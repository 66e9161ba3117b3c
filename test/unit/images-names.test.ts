/** Names and labels of image records. */
import assert from "node:assert/strict";
import { BROUGHT, claimLabel, claimsOf, isBrought, ownerLabel, recordNames } from "../../provider/images/names";
import { canTransfer, withoutSecrets } from "../../provider/images/transfer";

const digest = `sha256:${"a".repeat(64)}`;
const plugins = ["io.containerd.grpc.v1.transfer", "io.containerd.grpc.v1.streaming"];

describe("images: names", () => {
    for (const [reference, names] of [
        ["docker.io/library/nginx:1.27", ["docker.io/library/nginx", "docker.io/library/nginx:1.27"]],
        ["registry.example:5000/a/b:x", ["registry.example:5000/a/b", "registry.example:5000/a/b:x"]],
        ["registry.example:5000/a/b", ["registry.example:5000/a/b", undefined]],
        [`docker.io/library/nginx:1.27@${digest}`, ["docker.io/library/nginx", "docker.io/library/nginx:1.27"]],
        [`docker.io/library/nginx@${digest}`, ["docker.io/library/nginx", undefined]],
    ] as const)
        it(`of ${reference.replace(digest, "sha256:…")}`, () => {
            assert.deepEqual(recordNames(reference, digest), { digest: `${names[0]}@${digest}`, tag: names[1] });
        });

    it("claims are labels by uid", () => {
        const labels = { [BROUGHT]: "true", [claimLabel("u-1")]: "urn:a", [claimLabel("u-2")]: "urn:b", other: "x" };
        assert.deepEqual(
            [...claimsOf(labels)],
            [
                ["u-1", "urn:a"],
                ["u-2", "urn:b"],
            ],
        );
        assert.equal(isBrought(labels), true);
        assert.equal(isBrought({ other: "x" }), false);
    });

    it("an owner of any length fits a label, and stays apart from others", () => {
        const key = claimLabel("u".repeat(32));
        const owners = ["x", "y"].map((begin) => begin + "ü".repeat(3000));
        const values = owners.map((owner) => ownerLabel(owner, key));
        for (const value of values) assert.ok(Buffer.byteLength(key) + Buffer.byteLength(value) <= 4096);
        assert.notEqual(values[0], values[1]);
        assert.equal(ownerLabel("urn:pulumi:dev::app::x::y", key), "urn:pulumi:dev::app::x::y");
    });
});

describe("images: by the node's transfer service", () => {
    const reference = "docker.io/library/nginx:1.27";
    it("where the node has it", () => {
        assert.equal(canTransfer(plugins, reference, "overlayfs", {}), true);
        assert.equal(canTransfer([], reference, "overlayfs", {}), false);
    });
    it("not for other snapshotters, which its config has to name", () => {
        assert.equal(canTransfer(plugins, reference, "native", {}), false);
    });
    it("not from loopback, unless that is the node's too", () => {
        for (const host of ["127.0.0.1:5000", "localhost:5000", "localhost", "[::1]:5000"]) {
            assert.equal(canTransfer(plugins, `${host}/a:1`, "overlayfs", {}), false, host);
            assert.equal(canTransfer(plugins, `${host}/a:1`, "overlayfs", { fromNode: true }), true, host);
        }
    });
    it("not where the registry is ours alone, nor through mirrors", () => {
        assert.equal(canTransfer(plugins, reference, "overlayfs", { fromNode: false }), false);
        assert.equal(canTransfer(plugins, reference, "overlayfs", { mirrors: ["mirror.example"] }), false);
    });
    it("tells what the node says of a failure without what could be a secret", () => {
        const said =
            'failed to do request: Get "https://alice:pw@cdn.example/blob?X-Amz-Signature=abc&e=1": refused; ' +
            "token http://auth.example/token?account=alice said s3cret?";
        assert.equal(
            withoutSecrets(said, "s3cret"),
            'failed to do request: Get "https://cdn.example/blob": refused; token http://auth.example/token said …?',
        );
        assert.equal(
            withoutSecrets("dial tcp 192.0.2.1:443: connect: refused"),
            "dial tcp 192.0.2.1:443: connect: refused",
        );
    });
});
