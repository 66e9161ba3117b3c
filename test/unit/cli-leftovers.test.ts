/** Which things on a node no stack owns, and the commands that remove them. */
import assert from "node:assert/strict";
import type { Belonging } from "../../provider/cli/belongings";
import { judgeBelongings, removal, stackOf } from "../../provider/cli/leftovers";

const URN = "urn:pulumi:dev::web::pulumi-nodejs:dynamic/containerd:Container::front";
const at = { namespace: "default", name: "front-1", owner: URN, uid: "aa", retained: false };
const container: Belonging = { kind: "container", ...at };
const claim: Belonging = { kind: "image", ...at, name: "docker.io/library/nginx:1.27", brought: true, claims: 1 };
const lease: Belonging = { kind: "lease", ...at, name: "pulumi-containerd-1", passing: true };
const snapshot: Belonging = { kind: "snapshot", ...at, snapshotter: "overlayfs" };
const folder: Belonging = { kind: "folder", ...at, owner: "", uid: "", hasContainer: false };

const state = (...uids: string[]) => ({ name: "dev", project: "web", uids: new Set(uids) });
const summary = (belongings: Belonging[], stack?: ReturnType<typeof state>) =>
    judgeBelongings(belongings, stack).map(({ status, text }) => `${status} ${text}`);

/** Its network first, which has no other trace. */
const FOLDER = "/var/lib/pulumi-containerd/front-1@default";
const REMOVE = `{ [ ! -e ${FOLDER}/network.sh ] || sh ${FOLDER}/network.sh remove; } && rm -rf ${FOLDER}`;

describe("leftovers", () => {
    it("counts what each stack has", () => {
        const other = { ...container, owner: "urn:pulumi:prod::sip::…::a" };
        assert.deepEqual(summary([container, container, claim, other], state("aa")), [
            "ok of stack dev of web: 2 containers, 1 claim on an image",
            "ok of stack prod of sip: 1 container",
        ]);
    });

    it("says what the state lacks, and how it is removed", () => {
        for (const one of [container, claim, snapshot]) {
            const [finding, ...more] = judgeBelongings([one], state("bb"));
            assert.deepEqual(more, []);
            assert.equal(finding?.status, "warning", one.kind);
            assert.match(finding.text, /the state of stack dev of web does not have it/);
            assert.deepEqual(finding.remedy, removal(one));
        }
    });

    it("accuses nobody without a state", () => {
        assert.deepEqual(summary([container, claim, lease, snapshot]), [
            "ok of stack dev of web: 1 container, 1 claim on an image, 1 lease, 1 snapshot",
        ]);
    });

    it("leaves alone what Pulumi was told to leave", () => {
        assert.deepEqual(summary([{ ...container, retained: true }], state()), [
            "ok of stack dev of web: 1 retained container",
        ]);
    });

    it("takes a lease for what the next `up` ends", () => {
        const [finding] = judgeBelongings([lease], state());
        assert.match(finding?.text ?? "", /under way or was killed/);
        assert.deepEqual(finding?.remedy, { where: "here", command: "pulumi up --stack dev" });
    });

    it("knows a folder by the container that is missing", () => {
        assert.deepEqual(summary([{ ...folder, hasContainer: true } as Belonging]), []);
        const [finding] = judgeBelongings([folder], undefined);
        assert.deepEqual(finding?.remedy, {
            where: "node",
            command: REMOVE,
        });
    });

    it("removes a container with its process, off the restart monitor first", () => {
        assert.equal(
            removal(container).command,
            "ctr -n default containers label front-1 containerd.io/restart.status= && { ctr -n default tasks rm -f front-1; " +
                `ctr -n default containers rm front-1 && ${REMOVE}; }`,
        );
    });

    it("removes an image only with its last claim, and only one that we brought", () => {
        assert.equal(removal(claim).command, "ctr -n default images rm --sync docker.io/library/nginx:1.27");
        const label = "ctr -n default images label docker.io/library/nginx:1.27 pulumi-containerd/claim.aa=";
        assert.equal(removal({ ...claim, claims: 2 } as Belonging).command, label);
        assert.equal(removal({ ...claim, brought: false } as Belonging).command, label);
    });

    it("quotes what a shell would obey", () => {
        assert.equal(
            removal({ ...lease, name: "a; reboot" } as Belonging).command,
            "ctr -n default leases rm 'a; reboot'",
        );
    });

    for (const [owner, stack] of [
        [URN, "dev of web"],
        [`${URN} on 1f0c`, "dev of web"],
        [`retained: ${URN}`, "dev of web"],
        ["image-pull", "unknown"],
    ] as const) {
        it(`finds the stack in ${owner}`, () => assert.equal(stackOf(owner), stack));
    }
});
