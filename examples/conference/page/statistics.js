/** What the browser knows of a connection: how much came, and by which way. */
export async function statistics(connection) {
    const report = new Map(await connection.getStats());
    const all = [...report.values()];
    const video = all.find(({ type, kind }) => type === "inbound-rtp" && kind === "video");
    const transport = all.find(({ type }) => type === "transport");
    const pair = report.get(transport?.selectedCandidatePairId);
    const local = report.get(pair?.localCandidateId);
    const remote = report.get(pair?.remoteCandidateId);
    return {
        framesDecoded: video?.framesDecoded ?? 0,
        framesPerSecond: video?.framesPerSecond ?? 0,
        // The relay's end has two names when its packets are seen under another address: `relay` and then `prflx`.
        way: local && (local.relayProtocol ? "relay" : "direct"),
        relayProtocol: local?.relayProtocol,
        /** The relay's end of the way to Janus. */
        relayed: local?.relayProtocol && `${local.relatedAddress ?? local.address}:${local.relatedPort ?? local.port}`,
        /** Where Janus says it is. */
        server: remote && `${remote.address}:${remote.port}`,
        packetsLost: video?.packetsLost ?? 0,
    };
}
