/** Names of images: what Docker and containerd accept, written out, and what they refuse. */
import assert from "node:assert/strict";
import { hasCode } from "../../provider/errors";
import { parseReference } from "../../provider/registry/reference";

const hex = "0123456789abcdef".repeat(4);
const digest = `sha256:${hex}`;

describe("parseReference", () => {
    const accepted: [text: string, registry: string, repository: string, tag?: string, digest?: string][] = [
        ["nginx", "docker.io", "library/nginx", "latest"],
        ["nginx:1.27", "docker.io", "library/nginx", "1.27"],
        ["team/app:v1", "docker.io", "team/app", "v1"],
        ["docker.io/nginx", "docker.io", "library/nginx", "latest"],
        ["docker.io/library/nginx:1.27", "docker.io", "library/nginx", "1.27"],
        ["index.docker.io/nginx:1", "docker.io", "library/nginx", "1"],
        ["localhost/app", "localhost", "app", "latest"],
        ["localhost:5000/app:1", "localhost:5000", "app", "1"],
        ["127.0.0.1:5000/a/b/c:1", "127.0.0.1:5000", "a/b/c", "1"],
        ["[::1]:5000/app:1", "[::1]:5000", "app", "1"],
        ["[fd00::2]/app", "[fd00::2]", "app", "latest"],
        ["registry.example/app", "registry.example", "app", "latest"],
        ["registry.example:443/team/app", "registry.example:443", "team/app", "latest"],
        ["MyHost/app", "MyHost", "app", "latest"],
        [`nginx@${digest}`, "docker.io", "library/nginx", undefined, digest],
        [`nginx:1.27@${digest}`, "docker.io", "library/nginx", "1.27", digest],
        [`a.example:1/x@sha512:${hex}${hex}`, "a.example:1", "x", undefined, `sha512:${hex}${hex}`],
        ["app_1__2.3--4:A_b.c-9", "docker.io", "library/app_1__2.3--4", "A_b.c-9"],
        ["myhost:5000", "docker.io", "library/myhost", "5000"],
    ];
    for (const [text, registry, repository, tag, digest] of accepted)
        it(`reads ${text}`, () => {
            const reference = parseReference(text);
            assert.deepEqual({ ...reference }, { registry, repository, tag, digest });
            // What it is written out as is read back as the same.
            assert.deepEqual(parseReference(reference.toString()), reference);
        });

    const refused: [text: string, why: RegExp][] = [
        ["", /empty/],
        [" nginx", /space/],
        ["nginx 1", /space/],
        ["nginx:", /"" is no tag/],
        ["nginx:-1", /no tag/],
        [`nginx:${"a".repeat(129)}`, /no tag/],
        ["Nginx", /lower case: "library\/nginx"/],
        ["registry.example/Team/App", /lower case: "team\/app"/],
        ["registry.example/", /names no repository/],
        ["/nginx", /no repository/],
        ["a//b", /no repository/],
        ["team/-app", /no repository/],
        ["team/app_", /no repository/],
        ["team/../app", /no repository/],
        ["regi_stry.example/app", /no registry/],
        ["registry.example:port/app", /no registry/],
        ["https://registry.example/app", /leave out "https:\/\/"/],
        ["docker://nginx", /leave out "docker:\/\/"/],
        ["nginx@sha256:abc", /digest is expected/],
        [`nginx@sha256:${hex.toUpperCase()}`, /digest is expected/],
        [`nginx@${digest}@${digest}`, /more than one "@"/],
        [hex, /image id/],
        [`registry.example/${"a".repeat(250)}`, /more than 255/],
    ];
    for (const [text, why] of refused)
        it(`refuses "${text.slice(0, 40)}"`, () => {
            assert.throws(
                () => parseReference(text),
                (error) => hasCode(error, "Invalid") && why.test(error.message),
            );
        });

    it("pins", () => {
        assert.equal(parseReference("nginx:1.27").pinned(digest), `docker.io/library/nginx:1.27@${digest}`);
        assert.equal(
            parseReference(`nginx@sha256:${"0".repeat(64)}`).pinned(digest),
            `docker.io/library/nginx@${digest}`,
        );
        assert.equal(parseReference("nginx:1").name, "docker.io/library/nginx");
    });
});
