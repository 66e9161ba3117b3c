/** What a node says that it can give, read. */
import assert from "node:assert/strict";
import { parsePrivileges, privilegesOf, wantsEverything } from "../../provider/lifecycle/privileges";
import { ALL_CAPABILITIES, capabilitiesOfMask } from "../../provider/spec/capabilities";

describe("privileges of a node", () => {
    it("reads the kernel's mask of capabilities", () => {
        assert.deepEqual(capabilitiesOfMask("0000000000000000"), []);
        assert.deepEqual(capabilitiesOfMask("0000000000000021"), ["CHOWN", "KILL"]);
        assert.deepEqual(capabilitiesOfMask("000001ffffffffff"), [...ALL_CAPABILITIES].sort());
        assert.equal(capabilitiesOfMask("000001fffeffffff").includes("SYS_RESOURCE"), false);
    });

    it("reads capabilities and devices of the script's output", () => {
        const said = parsePrivileges(
            "CapPrm:\t0000000000000001\ncharacter special file|1|3|666|0|0|/dev/null\nblock special file|fe|a0|660|0|6|/dev/vda|odd\n",
        );
        assert.deepEqual(said, {
            capabilities: ["CHOWN"],
            devices: [
                { type: "c", path: "/dev/null", major: 1, minor: 3, fileMode: 0o666, uid: 0, gid: 0 },
                { type: "b", path: "/dev/vda|odd", major: 254, minor: 160, fileMode: 0o660, uid: 0, gid: 6 },
            ],
        });
    });

    it("refuses an output without capabilities", () => {
        assert.throws(() => parsePrivileges(""), /did not say which capabilities/);
    });

    it("asks only for a container that wants everything", () => {
        assert.equal(wantsEverything({}), false);
        assert.equal(wantsEverything({ capabilities: { add: ["NET_ADMIN"] } }), false);
        assert.equal(wantsEverything({ capabilities: { add: ["ALL"] } }), true);
        assert.equal(wantsEverything({ privileged: true }), true);
    });

    it("takes what a container was given from its spec", () => {
        const inputs = { privileged: true } as Parameters<typeof privilegesOf>[0];
        const spec = {
            process: { capabilities: { bounding: ["CAP_CHOWN"] } },
            linux: { devices: [] },
        } as unknown as Parameters<typeof privilegesOf>[1];
        assert.deepEqual(privilegesOf(inputs, spec), { capabilities: ["CHOWN"], devices: [] });
        assert.equal(privilegesOf({ ...inputs, privileged: false }, spec), undefined);
    });
});
