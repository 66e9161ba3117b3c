/** A certificate for the example conference, made on the fly: the browser is told to trust this one and no other. */
import { createHash, X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { output } from "../process";

export interface Certificate {
    /** PEM. */
    certificate: string;
    /** PEM, without a passphrase. */
    key: string;
    /** SHA-256 of its public key in base64, as browsers and pinning name it. */
    fingerprint: string;
}

/** A certificate for addresses, signed by itself, for two days. */
export async function makeCertificate(addresses: readonly string[]): Promise<Certificate> {
    const folder = await mkdtemp(path.join(tmpdir(), "pulumi-containerd-certificate-"));
    try {
        const [keyFile, file] = [path.join(folder, "key.pem"), path.join(folder, "certificate.pem")];
        await output("openssl", [
            ...["req", "-x509", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
            ...[
                "-subj",
                "/CN=conference",
                "-addext",
                `subjectAltName=${addresses.map((one) => `IP:${one}`).join(",")}`,
            ],
            ...["-keyout", keyFile, "-out", file],
        ]);
        const certificate = await readFile(file, "utf8");
        const publicKey = new X509Certificate(certificate).publicKey.export({ type: "spki", format: "der" });
        const fingerprint = createHash("sha256").update(publicKey).digest("base64");
        return { certificate, key: await readFile(keyFile, "utf8"), fingerprint };
    } finally {
        await rm(folder, { recursive: true, force: true });
    }
}
