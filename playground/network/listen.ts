/**
 * Listens on ports of the loopback of the network namespace in which it was started, hands the servers to its parent, which
 * is in another namespace, and ends: `listen.ts PORT...`.
 */
import { createServer } from "node:net";

async function main(): Promise<void> {
    for (const port of process.argv.slice(2).map(Number)) {
        await new Promise<void>((resolve, reject) => {
            const server = createServer();
            server.once("error", reject);
            server.listen(port, "127.0.0.1", () => {
                process.send?.({ port }, server, {}, (error) => (error ? reject(error) : resolve()));
            });
        });
    }
}

main().then(
    () => process.exit(0),
    (error: unknown) => {
        process.stderr.write(`${String(error)}\n`);
        process.exit(1);
    },
);
