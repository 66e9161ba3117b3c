/** What users see of a call that fails. */
import assert from "node:assert/strict";
import { fromGrpc, subjectOf, unreachable, type CallContext } from "../../provider/containerd/grpc-errors";

const socket = "/x/y.sock";
const context: CallContext = {
    node: "edge-1",
    method: "containers.create",
    subject: "web-1",
    socket,
    timeout: 30_000,
};

describe("gRPC errors", () => {
    const cases: [name: string, code: number, details: string, expected: string, reason: RegExp][] = [
        ["CANCELLED", 1, "Cancelled on client", "Failed", /cancelled/],
        ["UNKNOWN", 2, "OCI runtime create failed", "Failed", /OCI runtime create failed$/],
        ["INVALID_ARGUMENT", 3, "bad id", "Invalid", /bad id$/],
        ["DEADLINE_EXCEEDED", 4, "Deadline exceeded", "Timeout", /did not answer within 30 s$/],
        ["NOT_FOUND", 5, 'container "web-1" in namespace "default": not found', "NotFound", /not found$/],
        ["ALREADY_EXISTS", 6, "there", "AlreadyExists", /there$/],
        ["PERMISSION_DENIED", 7, "no", "Unauthorized", /no$/],
        ["RESOURCE_EXHAUSTED", 8, "message too large", "Failed", /message too large$/],
        ["FAILED_PRECONDITION", 9, "namespace is required", "Conflict", /namespace is required$/],
        ["ABORTED", 10, "x", "Failed", /x$/],
        [
            "UNIMPLEMENTED",
            12,
            "unknown service a.B",
            "Unsupported",
            /this version of containerd .*unknown service a\.B/,
        ],
        ["INTERNAL", 13, "", "Failed", /INTERNAL$/],
        [
            "UNAVAILABLE",
            14,
            "connect ENOENT /x/y.sock",
            "Unreachable",
            /socket \/x\/y\.sock does not exist: is containerd running\?$/,
        ],
        [
            "UNAVAILABLE for a ref",
            14,
            "ref layer-1 locked for 2s: unavailable",
            "Conflict",
            /another process is writing it/,
        ],
        ["UNAUTHENTICATED", 16, "who", "Unauthorized", /who$/],
        ["a code that does not exist", 99, "odd", "Failed", /odd$/],
    ];
    for (const [name, code, details, expected, reason] of cases) {
        it(`${name} is ${expected}`, () => {
            const failure = { code, details };
            const error = fromGrpc(failure, { ...context, property: "image" });
            assert.equal(error.code, expected);
            assert.match(error.message, /^node edge-1, image: containers\.create web-1: /);
            assert.match(error.reason, reason);
            assert.deepEqual([error.node, error.property, error.cause], ["edge-1", "image", failure]);
        });
    }

    it("names no subject where there is none", () => {
        const error = fromGrpc({ code: 2, details: "x" }, { node: "n", method: "containers.list", subject: "" });
        assert.equal(error.message, "node n: containers.list: x");
    });

    const sockets: [details: string, sentence: RegExp][] = [
        ["connect ENOENT /x/y.sock", /does not exist: is containerd running/],
        ["No connection established. Last error: connect EACCES /x/y.sock", /permission .* was denied/],
        ["connect ECONNREFUSED /x/y.sock", /refuses connections: is containerd running/],
        ["read ECONNRESET", /was closed in the middle of the call/],
        ["Connection dropped", /was closed in the middle of the call/],
        ["something new", /does not answer: something new/],
    ];
    for (const [details, sentence] of sockets) {
        it(`${details}: says what to do`, () => {
            assert.match(unreachable(details, socket), sentence);
            assert.match(unreachable(details, socket), /\/x\/y\.sock/);
        });
    }

    it("finds what a request is about", () => {
        const requests: [object, string][] = [
            [{ id: "a" }, "a"],
            [{ container: { id: "a" }, update_mask: { paths: ["spec"] } }, "a"],
            [{ container_id: "a", exec_id: "probe" }, "a/probe"],
            [{ snapshotter: "overlayfs", key: "k", parent: "p" }, "k"],
            [{ image: { name: "docker.io/library/nginx" } }, "docker.io/library/nginx"],
            [{ info: { digest: "sha256:0" } }, "sha256:0"],
            [{ namespace: { name: "default" } }, "default"],
            [{ filters: ["x"] }, ""],
            [{ id: "", ref: "r" }, "r"],
        ];
        for (const [request, subject] of requests) assert.equal(subjectOf(request), subject);
    });
});
