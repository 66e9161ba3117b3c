/** Builds commands of a Go module into the cache. */
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { cache } from "./paths.mjs";
import { capture, folder, must, say, SetupError } from "./run.mjs";

/** The first Go that fetches the newer Go that a module asks for. */
const OLDEST_GO = 21;

/**
 * @param {{ name: string, module: string, version: string, commands: string[], variable: string, value: string, tags?: string, said: string }} what
 *   `variable` is the module's variable that holds its version and `value` what to put there, `said` is how the user is told.
 * @returns the folder with the commands.
 */
export function buildFromModule({ name, module, version, commands, variable, value, tags = "", said }) {
    return folder(path.join(cache, name), async (temporary) => {
        await checkGo();
        say(`${said}; kept in ${cache}`);
        // A module of our own that requires the wanted one: `go install pkg@version` refuses modules with replacements.
        const work = path.join(temporary, "build");
        mkdirSync(work);
        writeFileSync(path.join(work, "go.mod"), `module build\n\ngo 1.24\n\nrequire ${module} v${version}\n`);
        const flags = `-s -w -X ${variable}=${value}`;
        const packages = commands.map((command) => `${module}/${command}`);
        await must("go", ["build", "-v", "-tags", tags, "-ldflags", flags, "-o", `${temporary}/out/`, ...packages], {
            cwd: work,
            // Without cgo the binary needs no C library of this machine's, nor a C compiler to build.
            env: { GOFLAGS: "-mod=mod", CGO_ENABLED: "0", GOWORK: "off" },
            unit: "packages,",
        });
        for (const file of readdirSync(path.join(temporary, "out"))) {
            renameSync(path.join(temporary, "out", file), path.join(temporary, file));
        }
        rmSync(path.join(temporary, "out"), { recursive: true });
        rmSync(work, { recursive: true });
    });
}

async function checkGo() {
    const { stdout } = await capture("go", ["env", "GOVERSION"]).catch(() => {
        throw new SetupError("Go is missing: install it from go.dev (1.21 or newer)");
    });
    const minor = Number(/^go1\.(\d+)/.exec(stdout)?.[1] ?? OLDEST_GO);
    if (minor < OLDEST_GO) throw new SetupError(`Go ${stdout.trim()} is too old: 1.${OLDEST_GO} or newer is needed`);
}
