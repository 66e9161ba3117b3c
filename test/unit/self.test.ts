/** Words for what is known only where a container is made, and what they become. */
import assert from "node:assert/strict";
import type { Attachment } from "../../provider/network/settings";
import type { ContainerInputs } from "../../provider/spec/inputs";
import { address6Of, addressOf, type Self, withoutIp6 } from "../../provider/spec/sandbox";
import { SELF, withSelf } from "../../provider/spec/self";

const ALL: Self = { address: "10.127.0.5", address6: "fd00::5", nodeAddress: "192.0.2.1", nodeName: "edge-1" };

describe("self", () => {
    it("is filled in wherever a program may write it", () => {
        const text = `${SELF.address} ${SELF.address6} ${SELF.nodeAddress} ${SELF.nodeName} ${SELF.address}`;
        const filled = "10.127.0.5 fd00::5 192.0.2.1 edge-1 10.127.0.5";
        const inputs = { entrypoint: [text], args: ["a", text], env: { A: text }, files: { "/a": { content: text } } };
        const { entrypoint, args, env, files } = withSelf(inputs as unknown as ContainerInputs, ALL);
        assert.deepEqual({ entrypoint, args, env, files }, {
            entrypoint: [filled],
            args: ["a", filled],
            env: { A: filled },
            files: { "/a": { content: filled } },
        } as never);
    });

    const ip4 = { address: "10.127.0.5", prefix: 16 };
    const ip6 = { address: "fd00::5", prefix: 64 };
    const bridge = {
        driver: "bridge",
        network: "bridge",
        bridge: "b",
        internal: false,
        masquerade: true,
        mac: "",
    } as const;
    for (const [what, attachment, address, address6] of [
        ["both families", { ...bridge, ip4, ip6 }, "10.127.0.5", "fd00::5"],
        ["IPv4 alone", { ...bridge, ip4 }, "10.127.0.5", ""],
        ["IPv6 alone", { ...bridge, ip6 }, "fd00::5", "fd00::5"],
        ["no network", { driver: "none" }, "", ""],
        ["plugins' network", { driver: "cni", network: "n", plugins: [], cniVersion: "1.0.0" }, "", ""],
    ] as [string, Attachment, string, string][]) {
        it(`has the addresses of ${what}`, () => {
            assert.deepEqual([addressOf(attachment), address6Of(attachment)], [address, address6]);
            assert.equal(address6Of(withoutIp6(attachment)), "");
        });
    }
});
