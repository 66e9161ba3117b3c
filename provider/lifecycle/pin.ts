/** Which digest a reference means in this run: decided in `check`, so that a preview shows what `up` will do. */
import { ContainerdError, hasCode } from "../errors";
import type { RegistryAccess } from "../images/transfer";
import { dockerCredentials } from "../registry/credentials";
import { parseReference, Reference } from "../registry/reference";
import { archiveSource, type ImageSource, layoutSource, registrySource } from "../registry/source";
import type { Run } from "./run";

/** Where an image comes from. */
export interface Origin {
    archive?: string;
    layout?: string;
    /** Explicit credentials; else Docker's config. */
    auth?: { username: string; password: string };
}

/** What is to be pinned, and what is known of before. */
export interface PinRequest extends Origin {
    /** URN, for warnings and as the key of what is remembered in this run. */
    owner: string;
    reference: Reference;
    /** The argument that holds the reference, for errors. */
    property: string;
    /** The pinned reference of the last deployment. */
    before?: string;
    pull: "missing" | "always" | "never";
    /** The argument that a preview does not know yet, but a lookup needs: then nothing can be looked up. */
    undecided?: keyof Origin;
}

/**
 * The reference with a digest. A digest that is given stays; with `missing`, that of the last deployment stays while the
 * reference is the same; else it is looked up, once a run. Undefined with `never`, which takes what the node has, and while it
 * cannot be known yet.
 *
 * A replacement checks twice, the second time without knowing what was before: the first answer of a run counts.
 */
export async function pin(run: Run, request: PinRequest): Promise<string | undefined> {
    const { owner, reference, before, pull, archive, layout } = request;
    const local = archive !== undefined || layout !== undefined;
    if (reference.digest !== undefined) return reference.toString();
    const key = `pin ${owner} ${reference.toString()}`;
    const kept = before !== undefined && isPinOf(before, reference) ? before : run.remembered<string>(key);
    if (kept !== undefined && pull !== "always" && !local) return run.first(key, kept);
    if (pull === "never" && !local) return undefined;
    const keep = async (pinned: string, why: string): Promise<string> => {
        await run.once(`warned ${owner}`, async () => run.report.warn(owner, `kept ${pinned}, because ${why}`));
        return run.first(key, pinned);
    };
    if (request.undecided) {
        const why = `\`${request.undecided}\` is known only during the update, which may find another digest`;
        return kept && keep(kept, why);
    }
    try {
        return run.first(key, reference.pinned(await lookUp(run, request)));
    } catch (error) {
        if (kept === undefined || !hasCode(error, "Unreachable")) {
            throw ContainerdError.from(error, { property: archive ? "archive" : layout ? "layout" : request.property });
        }
        return keep(kept, `its tag could not be looked up: ${error.message}`);
    }
}

/** Whether a pinned reference is this one with a digest. */
export function isPinOf(pinned: string, reference: Reference): boolean {
    return pinned.slice(0, pinned.indexOf("@")) === reference.toString();
}

function lookUp(run: Run, request: PinRequest): Promise<string> {
    const { reference, archive, layout, auth } = request;
    const where = archive ?? layout ?? `${reference.toString()} ${auth?.username ?? ""}`;
    return run.once(`digest ${where}`, async () => {
        const source = await openSource(run, reference, request);
        try {
            return (await source.resolve()).digest;
        } finally {
            await source.close();
        }
    });
}

/** Opens what an image is made from. Whoever opens it closes it. */
export async function openSource(
    run: Run,
    reference: Reference,
    { archive, layout, auth }: Origin,
): Promise<ImageSource> {
    try {
        const options = {
            reference: new Reference(reference.registry, reference.repository, reference.tag, undefined).toString(),
        };
        if (archive !== undefined) return await archiveSource(archive, options);
        if (layout !== undefined) return await layoutSource(layout, options);
    } catch (error) {
        throw ContainerdError.from(error, { property: archive !== undefined ? "archive" : "layout" });
    }
    if (auth) return registrySource(reference, { credentials: auth, registries: run.settings.registries });
    return registrySource(reference, { client: run.registries });
}

/** The reference in a text. Throws `Invalid` for that argument. */
export function referenceOf(text: string, property: string): Reference {
    try {
        return parseReference(text);
    } catch (error) {
        throw ContainerdError.from(error, { property });
    }
}

/** What the node needs to know to pull by itself; undefined where it could not, and everything has to go through us. */
export async function registryAccess(
    run: Run,
    registry: string,
    auth?: Origin["auth"],
): Promise<RegistryAccess | undefined> {
    const { mirrors, insecure, ca, username, password } = run.settings.registries[registry] ?? {};
    if (ca !== undefined) return undefined;
    const configured = username !== undefined && password !== undefined ? { username, password } : undefined;
    const docker =
        (auth ?? configured) ? undefined : await run.once(`login ${registry}`, () => dockerCredentials(registry));
    // Tokens of Docker's config are for us alone to exchange: containerd takes user and password.
    const plain = docker && !docker.identityToken && !docker.registryToken ? docker : undefined;
    const login = auth ?? configured ?? plain;
    return { mirrors, insecure, username: login?.username, password: login?.password };
}
