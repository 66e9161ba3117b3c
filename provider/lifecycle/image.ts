/** The life of an Image: an image reference on a node, its content and unpacked snapshots. */
import { ContainerdError } from "../errors";
import { inspectImage } from "../images/inspect";
import { keyOf } from "../images/names";
import { findRecord, labelImage, releaseImage } from "../images/records";
import { parseReference } from "../registry/reference";
import { bringImage } from "./bring-image";
import {
    bookkeeping,
    labelProblem,
    labelsProblem,
    labelValueProblem,
    placed,
    type Placed,
    nodePolicies,
} from "./check/common";
import * as s from "./check/schema";
import { factsOf, lacking } from "./check/facts";
import { formatPath, validate } from "./check/validate";
import { argumentsOf, compare, type Policies } from "./diff";
import { givenLabels, labelChange } from "./labels";
import { clientForChange } from "./leases";
import type { Lifecycle } from "./lifecycle";
import { formatId, parseId } from "./names";
import { type Origin, pin, referenceOf } from "./pin";
import type { Run } from "./run";
import { chooseNode } from "./settings";
import { sweepImages } from "./sweep";
import { holdsUnknown, isUnknown } from "./unknown";

/** An Image's arguments after `check`. */
export interface ImageInputs extends Placed, Origin {
    /** Canonical. */
    ref: string;
    /** With its digest; absent until `create` where `pull` is `never`. */
    pinned?: string;
    digest?: string;
    platform?: string;
    snapshotter?: string;
    pull: "missing" | "always" | "never";
    labels?: Record<string, string>;
}

/** What is known of an Image that was made. */
export interface ImageState extends ImageInputs {
    pinned: string;
    digest: string;
    /** Bytes, compressed. */
    size: number;
    /** Whether all content and snapshots are there. */
    complete: boolean;
}

const schema = s.object(
    {
        ...bookkeeping,
        ref: s.text('an image reference like "nginx:1.27"'),
        archive: s.optional(s.text()),
        layout: s.optional(s.text()),
        platform: s.optional(
            s.text('a platform like "linux/arm64"', (value) =>
                /^[a-z0-9]+\/[a-z0-9_]+(?:\/[a-z0-9.]+)?$/.test(value)
                    ? undefined
                    : 'must be like "linux/amd64" or "linux/arm64/v8"',
            ),
        ),
        snapshotter: s.optional(s.text()),
        pull: s.optional(s.oneOf("missing", "always", "never")),
        auth: s.optional(s.object({ username: s.text(), password: s.text() })),
        labels: s.optional(s.map(s.scalar(labelValueProblem), labelProblem)),
        // What an earlier check added comes back with ignoreChanges.
        pinned: s.optional(s.text()),
        digest: s.optional(s.text()),
    },
    ({ archive, layout }) =>
        archive !== undefined && layout !== undefined ? "takes `archive` or `layout`, not both" : undefined,
);

const policies: Policies<ImageInputs> = {
    owner: "update",
    uid: "none",
    revision: "none",
    retainOnDelete: "update",
    timeouts: "none",
    replaceOnChanges: "none",
    ...nodePolicies,
    namespace: "replace",
    ref: "replace",
    pinned: "none",
    digest: "replace",
    platform: "replace",
    snapshotter: "replace",
    archive: "none",
    layout: "none",
    auth: "none",
    pull: "update",
    labels: "update",
};

export const image: Lifecycle<ImageInputs, ImageState> = {
    arguments: argumentsOf(policies),

    async check(run, olds, news) {
        const { value, failures } = validate(schema, news);
        if (failures.length) return { inputs: news, failures };
        const given = value as Partial<ImageInputs> & { owner: string };
        const lacks = lacking(given, factsOf(news));
        if (lacks.length) return { inputs: news, failures: lacks };
        const long = labelsProblem(given.labels);
        if (long)
            return { inputs: news, failures: [{ property: formatPath(["labels", long.key]), reason: long.reason }] };
        const inputs = { ...given, ...placed(run, given, olds), pull: given.pull ?? "missing" };
        if (typeof inputs.ref !== "string" || isUnknown(inputs.ref)) {
            return { inputs: { ...inputs, pinned: undefined, digest: undefined }, failures };
        }
        const reference = referenceOf(inputs.ref, "ref");
        const undecided = (["archive", "layout", "auth"] as const).find((name) => holdsUnknown(inputs[name]));
        const pinned = await pin(run, { ...inputs, reference, property: "ref", before: olds?.pinned, undecided });
        const digest = pinned?.slice(pinned.indexOf("@") + 1);
        return { inputs: { ...inputs, ref: reference.toString(), pinned, digest }, failures };
    },

    diff(olds, news) {
        // With `pull: never` the digest is only known where the image is.
        const wanted = news.digest === undefined && news.ref === olds.ref ? { ...news, digest: olds.digest } : news;
        const { changed, replaces } = compare(policies, olds, wanted);
        if (!olds.complete) changed.push("complete");
        return { changed, replaces, deleteBeforeReplace: false };
    },

    async create(run, inputs) {
        const client = await clientForChange(run, inputs.node, inputs.namespace);
        await sweepImages(run, client, inputs);
        const { uid } = inputs;
        const pinned = inputs.pinned ?? (await pinOnNode(run, inputs));
        try {
            const state = await bring(run, { ...inputs, pinned });
            return { id: formatId({ namespace: inputs.namespace, name: pinned, uid }), state };
        } catch (error) {
            // What was brought so far is unclaimed, and goes with its lease; only the claim has to be taken back.
            await releaseImage(client, { ...keyOf(pinned), uid }).catch(() => undefined);
            throw ContainerdError.from(error, { node: inputs.node });
        }
    },

    async read(run, id, state) {
        const { namespace, name, uid } = parseId(id);
        const node = state.node ?? chooseNode(run.settings, undefined);
        const client = await run.client(node, namespace);
        const key = keyOf(name);
        const found = await inspectImage(client, {
            ...key,
            uid,
            platform: state.platform,
            snapshotter: state.snapshotter,
        });
        if (!found.present || (!found.claimed && state.uid !== undefined)) return undefined;
        return {
            ...state,
            node,
            namespace,
            ref: state.ref ?? key.reference,
            pinned: name,
            digest: key.digest,
            size: state.size ?? found.size,
            labels: givenLabels(found.labels, state.labels),
            complete: found.complete && found.unpacked,
        };
    },

    async update(run, id, olds, news) {
        const { name } = parseId(id);
        const state = await bring(run, { ...news, pinned: name });
        const client = await clientForChange(run, news.node, news.namespace);
        await labelImage(client, keyOf(name), labelChange(olds.labels, news.labels));
        return state;
    },

    async delete(run, id, state) {
        const { namespace, name, uid } = parseId(id);
        const client = await clientForChange(run, state.node, namespace);
        await releaseImage(client, { ...keyOf(name), uid });
    },
};

/** Makes the image complete on the node, and claims it. */
async function bring(run: Run, inputs: ImageInputs & { pinned: string }): Promise<ImageState> {
    const client = await clientForChange(run, inputs.node, inputs.namespace);
    const local = inputs.archive ?? inputs.layout;
    const pull = inputs.pull === "never" && local === undefined ? "never" : "missing";
    const { digest, size } = await bringImage(run, client, { ...inputs, origin: inputs, pull });
    return { ...inputs, digest, size, complete: true };
}

/** With `pull: never`: what the node has under the reference. */
async function pinOnNode(run: Run, inputs: ImageInputs): Promise<string> {
    const client = await clientForChange(run, inputs.node, inputs.namespace);
    const record = await findRecord(client, inputs.ref);
    if (record?.target) return parseReference(inputs.ref).pinned(record.target.digest);
    throw new ContainerdError(
        "NotFound",
        `there is no image ${inputs.ref} in containerd's namespace ${inputs.namespace}, and pull is "never": bring it there, or use pull: "missing"`,
        { node: inputs.node, property: "ref" },
    );
}
