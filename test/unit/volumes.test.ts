/** Volumes as tables: what driver and options mean, how they are mounted, what is refused, what a record says. */
import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { volumesElsewhere } from "../../provider/lifecycle/check/container";
import { validate } from "../../provider/lifecycle/check/validate";
import { volumeContradictions, volumeSchema } from "../../provider/lifecycle/check/volume";
import { containerSchema, contradictions } from "../../provider/lifecycle/check/container";
import { Run } from "../../provider/lifecycle/run";
import { holdsUnknown, UNKNOWN } from "../../provider/lifecycle/unknown";
import { volume, type VolumeArguments, type VolumeState } from "../../provider/lifecycle/volume";
import { parseRecord, recordOf } from "../../provider/lifecycle/volume-records";
import { localSshFiles } from "../../provider/transport/ssh/ssh-files";
import type { SpecContext } from "../../provider/spec/context";
import type { ContainerInputs, MountInputs, VolumeInputs, VolumeMountInputs } from "../../provider/spec/inputs";
import { scratchFolders } from "../../provider/spec/files";
import { withMounts } from "../../provider/spec/mounts";
import type { Mount, Spec } from "../../provider/spec/types";
import { volumeLabels, volumeSource, type VolumeSource } from "../../provider/spec/volumes";

const PATH = "/var/lib/pulumi-containerd/volumes/data@default/data";
const OWNER = "urn:pulumi:dev::p::pulumi-nodejs:dynamic/containerd:Volume::data";

const theVolume: VolumeMountInputs = {
    name: "data",
    namespace: "default",
    uid: "0123",
    node: "here",
    path: PATH,
    driver: "local",
};

const theState: VolumeState = {
    owner: OWNER,
    uid: "0123",
    revision: 1,
    node: "here",
    namespace: "default",
    name: "data-0123abc",
    path: PATH,
    driver: "local",
    complete: true,
};

describe("volumes: driver and options", () => {
    const rows: [what: string, of: VolumeInputs, source: VolumeSource][] = [
        ["nothing", { driver: "local" }, { kind: "folder" }],
        ["empty options", { driver: "local", options: {} }, { kind: "folder" }],
        [
            "Docker's bind",
            { driver: "local", options: { type: "none", o: "bind,ro", device: "/srv" } },
            { kind: "bind", device: "/srv", options: ["ro"] },
        ],
        [
            "bind without a type",
            { driver: "local", options: { o: "rbind", device: "/srv" } },
            { kind: "bind", device: "/srv", options: [] },
        ],
        [
            "Docker's nfs",
            { driver: "local", options: { type: "nfs", o: "addr=10.0.0.5,rw", device: ":/export" } },
            { kind: "mount", type: "nfs", device: ":/export", options: ["addr=10.0.0.5", "rw"] },
        ],
        [
            "nfs with its server in front",
            { driver: "nfs", options: { device: "10.0.0.5:/export" } },
            { kind: "mount", type: "nfs", device: "10.0.0.5:/export", options: ["addr=10.0.0.5"] },
        ],
        [
            "nfs by IPv6, version 4",
            { driver: "nfs", options: { type: "nfs4", device: "[fd00::5]:/export", o: "soft" } },
            { kind: "mount", type: "nfs4", device: "[fd00::5]:/export", options: ["soft", "addr=fd00::5"] },
        ],
        [
            "cifs",
            { driver: "cifs", options: { device: "//10.0.0.5/share", o: "username=a,password=b" } },
            {
                kind: "mount",
                type: "cifs",
                device: "//10.0.0.5/share",
                options: ["username=a", "password=b", "addr=10.0.0.5"],
            },
        ],
        ["tmpfs", { driver: "tmpfs" }, { kind: "mount", type: "tmpfs", device: "tmpfs", options: [] }],
        [
            "a tmpfs of the driver local",
            { driver: "local", options: { type: "tmpfs", device: "tmpfs", o: "size=1m" } },
            { kind: "mount", type: "tmpfs", device: "tmpfs", options: ["size=1m"] },
        ],
        [
            "a disk",
            { driver: "local", options: { type: "ext4", device: "/dev/sdb1" } },
            { kind: "mount", type: "ext4", device: "/dev/sdb1", options: [] },
        ],
    ];
    for (const [what, of, source] of rows) {
        it(what, () => {
            assert.deepEqual(volumeSource(of), source);
            assert.deepEqual(volumeContradictions(of), []);
        });
    }

    const wrong: [what: string, of: VolumeInputs & { directory?: object }, property: string, says: RegExp][] = [
        ["a device without type", { driver: "local", options: { device: "/srv" } }, "options.device", /without `type`/],
        [
            "a relative bind",
            { driver: "local", options: { type: "none", o: "bind", device: "srv" } },
            "options.device",
            /absolute path on the node/,
        ],
        ["nfs of nowhere", { driver: "nfs" }, "options.device", /like "10\.0\.0\.5:\/export"/],
        [
            "nfs by name",
            { driver: "nfs", options: { device: "nas:/export" } },
            "options.device",
            /address and not its name/,
        ],
        [
            "nfs by name, said aside",
            { driver: "nfs", options: { device: ":/export", o: "addr=nas" } },
            "options.o",
            /address and not its name/,
        ],
        ["cifs without a share", { driver: "cifs", options: { device: "10.0.0.5" } }, "options.device", /address/],
        ["another type than the driver's", { driver: "nfs", options: { type: "ext4" } }, "options.type", /driver nfs/],
        ["a mode of what is no folder", { driver: "tmpfs", directory: {} }, "directory", /is for a `local` volume/],
    ];
    for (const [what, of, property, says] of wrong) {
        it(`refuse ${what}`, () => {
            const [failure, ...more] = volumeContradictions(of);
            assert.deepEqual([failure?.property, more], [property, []]);
            assert.match(failure?.reason ?? "", says);
        });
    }

    it("are not judged before they are known", () => {
        assert.deepEqual(volumeContradictions({ driver: "nfs", options: { device: UNKNOWN } }), []);
    });
});

describe("volumes: arguments", () => {
    const failuresOf = (args: object): string[] =>
        validate(volumeSchema, { owner: OWNER, ...args }).failures.map(
            ({ property, reason }) => `${property}: ${reason}`,
        );
    const rows: [args: object, says: RegExp][] = [
        [{ driver: "nsf" }, /^driver: must be one of "local", "nfs", "cifs", "tmpfs", not "nsf"$/],
        [{ name: "a/b" }, /^name: may hold letters/],
        [{ options: { opts: "x" } }, /^options\.opts: is not an argument/],
        [{ directory: { mode: "rwx" } }, /^directory\.mode: must be an octal mode/],
        [{ labels: { "containerd.io/x": "1" } }, /^labels\["containerd\.io\/x"\]: labels that begin like this/],
        [{ size: "1g" }, /^size: is not an argument of this resource/],
    ];
    for (const [args, says] of rows)
        it(`refuse ${JSON.stringify(args)}`, () => assert.match(failuresOf(args)[0] ?? "", says));
    it("take all that there is", () => {
        const directory = { uid: 1, gid: 2, mode: "0700" };
        assert.deepEqual(failuresOf({ name: "data", driver: "local", directory, labels: { a: 1 } }), []);
    });
});

describe("volumes: mounts in the spec", () => {
    const mounted = (mount: MountInputs): Mount | undefined => {
        const spec = { mounts: [] } as unknown as Spec;
        const inputs = { mounts: { "/data": mount } } as unknown as ContainerInputs;
        return withMounts(spec, { inputs, folder: "/own" } as SpecContext).mounts[0];
    };
    const rows: [what: string, mount: MountInputs, expected: Omit<Mount, "destination">][] = [
        ["a folder", { volume: theVolume }, { type: "bind", source: PATH, options: ["rbind", "rprivate"] }],
        [
            "a folder in it, read-only",
            { volume: theVolume, subPath: "a/b", readOnly: true },
            { type: "bind", source: `${PATH}/a/b`, options: ["rbind", "rprivate", "ro"] },
        ],
        [
            "a folder of the node's",
            { volume: { ...theVolume, path: "/srv", options: { o: "bind,noexec", device: "/srv" } }, subPath: "x" },
            { type: "bind", source: "/srv/x", options: ["rbind", "rprivate", "noexec"] },
        ],
        [
            "nfs, a path in it, read-only",
            {
                volume: { ...theVolume, path: "", driver: "nfs", options: { device: "10.0.0.5:/e/", o: "soft" } },
                subPath: "a",
                readOnly: true,
            },
            { type: "nfs", source: "10.0.0.5:/e/a", options: ["soft", "addr=10.0.0.5", "ro"] },
        ],
        [
            "tmpfs",
            { volume: { ...theVolume, path: "", driver: "tmpfs", options: { o: "size=1m" } } },
            { type: "tmpfs", source: "tmpfs", options: ["noexec", "nosuid", "nodev", "size=1m"] },
        ],
        ["scratch", { scratch: "work" }, { type: "bind", source: "/own/scratch/work", options: ["rbind", "rprivate"] }],
    ];
    for (const [what, mount, expected] of rows) {
        it(what, () => assert.deepEqual(mounted(mount), { destination: "/data", ...expected }));
    }

    it("scratch folders are made once each, for all users", () => {
        const mounts = {
            "/a": { scratch: "x" },
            "/b": { scratch: "x" },
            "/c": { bind: "/srv" },
            "/d": { scratch: "w" },
        };
        assert.deepEqual(scratchFolders({ mounts }, "/own"), [
            { path: "/own/scratch/w", mode: 0o777, uid: 0, gid: 0 },
            { path: "/own/scratch/x", mode: 0o777, uid: 0, gid: 0 },
        ]);
    });

    it("labels say which are mounted", () => {
        const mounts = { "/a": { volume: theVolume }, "/b": { volume: theVolume }, "/c": { bind: "/srv" } };
        assert.deepEqual(volumeLabels(mounts), { "pulumi-containerd/volume.data@default": "0123" });
        assert.deepEqual(volumeLabels(undefined), {});
    });
});

describe("volumes: a container's arguments", () => {
    const failuresOf = (mount: object): string[] => {
        const given = { owner: OWNER, image: "nginx", network: "none", mounts: { "/data": mount } };
        const { value, failures } = validate(containerSchema, given);
        return [...failures, ...(failures.length ? [] : contradictions(value as ContainerInputs))].map(
            ({ property, reason }) => `${property}: ${reason}`,
        );
    };
    const rows: [mount: object, says: RegExp | undefined][] = [
        [{ volume: theVolume }, undefined],
        [{ volume: theVolume, subPath: "a/b", readOnly: true }, undefined],
        [{ volume: { ...theVolume, name: UNKNOWN, path: UNKNOWN, driver: UNKNOWN } }, undefined],
        [{ scratch: "work" }, undefined],
        [{}, /^mounts\["\/data"\]: needs exactly one of `bind`, `tmpfs`, `scratch` and `volume`$/],
        [{ scratch: "a", bind: "/srv" }, /needs exactly one of/],
        [{ scratch: "../a" }, /^mounts\["\/data"\]\.scratch: may hold/],
        [{ volume: "data" }, /^mounts\["\/data"\]\.volume: must be a map, not a text$/],
        [{ volume: theVolume, subPath: "../a" }, /subPath: must be a plain path/],
        [{ volume: theVolume, subPath: "/a" }, /subPath: must be a plain path/],
        [{ bind: "/srv", subPath: "a" }, /`subPath` is a path below a `volume`/],
        [
            { volume: { ...theVolume, driver: "tmpfs" }, subPath: "a" },
            /subPath: has no meaning with a volume in memory/,
        ],
    ];
    for (const [mount, says] of rows) {
        it(`${says ? "refuse" : "take"} ${JSON.stringify(mount)}`, () => {
            const failures = failuresOf(mount);
            if (says) assert.match(failures[0] ?? "", says);
            else assert.deepEqual(failures, []);
        });
    }

    it("a volume is on the same node, as far as both are known", () => {
        const at = (node: string, of: string) =>
            volumesElsewhere({
                node,
                mounts: { "/data": { volume: { ...theVolume, node: of } }, "/x": { bind: "/srv" } },
            });
        assert.deepEqual([at("here", "here"), at(UNKNOWN, "here"), at("here", UNKNOWN)], [[], [], []]);
        assert.deepEqual(
            at("there", "here").map(({ property }) => property),
            ['mounts["/data"].volume'],
        );
    });
});

describe("volumes: diff", () => {
    const rows: [what: string, news: Partial<VolumeArguments>, kind: string][] = [
        ["nothing", {}, "same"],
        ["labels", { labels: { a: "1" } }, "update"],
        ["the folder's mode", { directory: { mode: "0700" } }, "update"],
        ["an alias", { owner: `${OWNER}2` }, "update"],
        ["retainOnDelete", { retainOnDelete: true }, "update"],
        ["the driver", { driver: "tmpfs", path: "" }, "replace"],
        ["options", { options: { type: "none", o: "bind", device: "/srv" } }, "replace"],
        ["the node", { node: "there" }, "replace"],
        ["the namespace", { namespace: "other" }, "replace"],
    ];
    for (const [what, news, kind] of rows) {
        it(`${what}: ${kind}`, () => {
            const { changed, replaces, deleteBeforeReplace } = volume.diff(theState, { ...theState, ...news });
            assert.equal(replaces.length ? "replace" : changed.length ? "update" : "same", kind);
            assert.equal(deleteBeforeReplace, false);
        });
    }
    it("without its record: update", () => {
        assert.deepEqual(volume.diff({ ...theState, complete: false }, theState).replaces, []);
        assert.deepEqual(volume.diff({ ...theState, complete: false }, theState).changed, ["complete"]);
    });
    it("a chosen name too: looked into before anything goes", () => {
        const olds = { ...theState, name: "data" };
        assert.equal(volume.diff(olds, { ...olds, driver: "tmpfs" }).deleteBeforeReplace, false);
    });
});

describe("volumes: check of what check gave", () => {
    const settings = {
        nodes: { here: { socket: "/nowhere" } },
        defaultNode: "here",
        defaultNamespace: "default",
        registries: {},
        isSshHost: () => false,
    };
    const rows: object[] = [
        {},
        { name: "data", labels: { a: 1, b: true } },
        { driver: "nfs", options: { device: "10.0.0.5:/e", o: UNKNOWN } },
        { options: UNKNOWN },
        { driver: UNKNOWN },
        { namespace: UNKNOWN, node: UNKNOWN, name: UNKNOWN },
        { directory: { uid: 1, mode: "0700" } },
    ];
    for (const args of rows) {
        it(JSON.stringify(args), async () => {
            const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as object;
            const run = () =>
                Run.start(settings, { progress: () => undefined, warn: () => undefined }, localSshFiles()).for({
                    owner: OWNER,
                });
            const first = await volume.check(run(), undefined, { owner: OWNER, ...args });
            assert.deepEqual(first.failures, []);
            const inputs = plain(first.inputs) as VolumeArguments;
            // A path is not told before it is known which.
            const vague = holdsUnknown({ ...args, node: undefined });
            assert.equal(inputs.path === UNKNOWN, vague);
            const second = await volume.check(run(), inputs, inputs);
            assert.deepEqual([second.failures, plain(second.inputs)], [[], inputs]);
            assert.deepEqual(
                volume.diff({ ...inputs, complete: true }, plain(second.inputs) as VolumeArguments).changed,
                [],
            );
        });
    }
});

describe("volumes: records", () => {
    it("come back as they were written", () => {
        const options = { type: "nfs", device: "10.0.0.5:/e", o: "soft" };
        const record = recordOf({ ...theState, options, labels: { a: "1" }, retainOnDelete: true });
        const back = parseRecord(JSON.stringify(record));
        assert.deepEqual(
            [back?.owner, back?.uid, back?.options, back?.path, back?.labels, back?.retain],
            [OWNER, "0123", options, PATH, { a: "1" }, true],
        );
        assert.equal(recordOf(theState).retain, undefined);
    });
    it("hold no password", () => {
        for (const o of ["username=a,password=secret", "pass=secret", "credentials=secret"]) {
            assert.ok(!JSON.stringify(recordOf({ ...theState, options: { type: "cifs", o } })).includes("secret"), o);
        }
    });
    it("that are none are none", () => {
        for (const text of ["", "null", "[]", "{", '{"owner":"x"}']) assert.equal(parseRecord(text), undefined, text);
    });
});
