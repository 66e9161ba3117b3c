#!/usr/bin/env node
/**
 * A small language host for Node programs: what the Pulumi engine starts as `pulumi-language-nodejs` to run a program.
 *
 * The playground's engine is built from its Go module, and the released host cannot be had from a package registry; so this
 * one stands beside that engine, and only there (see `playground/engine-path.mjs`). It is never shipped to users, who have
 * the released one. It serves the calls of `pulumirpc.LanguageRuntime` that `up`, `preview`, `refresh`, `destroy`, `install`
 * and `about` make; grpc-js answers UNIMPLEMENTED to all others, which the engine takes for "an older host".
 *
 * Contract with the engine: the last positional argument is the engine's address, the first line on stdout is our port;
 * what follows on stdout and stderr is shown to the user.
 */
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";

const require = createRequire(import.meta.url);
const grpc = require("@grpc/grpc-js");
const services = require("@pulumi/pulumi/proto/language_grpc_pb.js");
const language = require("@pulumi/pulumi/proto/language_pb.js");
const plugin = require("@pulumi/pulumi/proto/plugin_pb.js");

/** What `@pulumi/pulumi/cmd/run` exits with when it has told the user already what is wrong. */
const EXIT_ALREADY_REPORTED = 32;
/** How often we look whether the engine is still there, in milliseconds. */
const ENGINE_POLL = 500;

const engine = process.argv.slice(2).findLast((argument) => !argument.startsWith("-")) ?? "";
const engineProcess = process.ppid;
/** Programs that run now; they end with us. */
const children = new Set();

/** Starts a process that dies with this host. Resolves to its exit status; rejects when it cannot be started. */
function run(command, args, options) {
    return new Promise((resolve, reject) => {
        const child = spawn(command, args, options);
        children.add(child);
        child.once("error", (error) => {
            children.delete(child);
            reject(error);
        });
        child.once("close", (code, signal) => {
            children.delete(child);
            resolve({ code, signal });
        });
        options.started?.(child);
    });
}

/**
 * The program's configuration as the SDK reads it from its environment. Keys gain `config:` in the middle: old packages look
 * for that form, and new ones take it away.
 */
function configEnvironment(request) {
    const legacy = (key) => key.replace(":", ":config:");
    const config = Object.fromEntries(request.configMap.map(([key, value]) => [legacy(key), value]));
    return {
        PULUMI_CONFIG: JSON.stringify(config),
        PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(request.configsecretkeysList),
    };
}

/** The `runtime.options` of Pulumi.yaml. */
function optionsOf(info) {
    return info?.getOptions()?.toJavaScript() ?? {};
}

/** `LanguageRuntime.Run`: runs the program to its end. */
async function runProgram(call) {
    const request = call.request.toObject();
    const info = call.request.getInfo();
    const options = optionsOf(info);
    const response = new language.RunResponse();
    const directory = info?.getProgramDirectory() || request.pwd;
    const runner = createRequire(path.join(directory, "index.js")).resolve("@pulumi/pulumi/cmd/run");
    const nodeArguments = (options.nodeargs ?? "").split(" ").filter(Boolean);
    const args = [
        ...nodeArguments,
        runner,
        `--monitor=${request.monitorAddress}`,
        `--engine=${engine}`,
        `--organization=${request.organization}`,
        `--project=${request.project}`,
        `--root-directory=${info?.getRootDirectory() ?? request.pwd}`,
        `--stack=${request.stack}`,
        `--pwd=${request.pwd}`,
        `--parallel=${request.parallel}`,
        ...(request.dryrun ? ["--dry-run"] : []),
        info?.getEntryPoint() || request.program || ".",
        ...request.argsList,
    ];
    const environment = {
        ...process.env,
        ...configEnvironment(request),
        PULUMI_NODEJS_TYPESCRIPT: String(options.typescript ?? true),
        ...(options.tsconfig ? { PULUMI_NODEJS_TSCONFIG_PATH: options.tsconfig } : {}),
    };
    const stdio = ["ignore", "inherit", "inherit"];
    const { code, signal } = await run(process.execPath, args, { cwd: request.pwd, env: environment, stdio });
    if (code === EXIT_ALREADY_REPORTED) response.setBail(true);
    else if (signal) response.setError(`the program was ended by ${signal}`);
    else if (code !== 0) response.setError(`the program exited with status ${code}`);
    return response;
}

/** `LanguageRuntime.InstallDependencies`: `npm install`, its output streamed. */
function installDependencies(call) {
    const directory = call.request.getInfo()?.getProgramDirectory() || call.request.getDirectory();
    const send = (setter) => (chunk) => {
        const response = new language.InstallDependenciesResponse();
        response[setter](chunk);
        call.write(response);
    };
    run("npm", ["install", "--no-fund", "--no-audit"], {
        cwd: directory,
        stdio: ["ignore", "pipe", "pipe"],
        started: (child) => {
            child.stdout.on("data", send("setStdout"));
            child.stderr.on("data", send("setStderr"));
        },
    }).then(
        ({ code }) => {
            if (code === 0) call.end();
            else call.destroy(new Error(`npm install exited with status ${code}`));
        },
        (error) => call.destroy(error),
    );
}

/** Makes a gRPC handler of an async function. */
function unary(handler) {
    return (call, callback) => {
        handler(call).then(
            (response) => callback(null, response),
            (error) => callback({ code: grpc.status.UNKNOWN, message: error.message }),
        );
    };
}

const server = new grpc.Server({ "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 });
server.addService(services.LanguageRuntimeService, {
    run: unary(runProgram),
    installDependencies,
    // Programs of this repository use dynamic resources only: no plugin has to be fetched.
    getRequiredPackages: unary(async () => new language.GetRequiredPackagesResponse()),
    getPluginInfo: unary(async () => {
        const info = new plugin.PluginInfo();
        info.setVersion("0.0.0-playground");
        return info;
    }),
    about: unary(async () => {
        const about = new language.AboutResponse();
        about.setExecutable(process.execPath);
        about.setVersion(process.version);
        return about;
    }),
});

function stop(status) {
    for (const child of children) child.kill("SIGKILL");
    process.exit(status);
}

// The first Ctrl-C reaches the whole foreground group. The engine then lets running steps end and closes us itself, so the
// program must not be cut off here; the engine waits five seconds after its own SIGINT, in which a running program may end.
process.on("SIGINT", () => setTimeout(stop, children.size === 0 ? 0 : 4000, 0));
process.on("SIGTERM", () => stop(0));
// A killed engine tells nobody: the kernel gives us another parent then.
setInterval(() => process.ppid !== engineProcess && stop(1), ENGINE_POLL).unref();

server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) {
        process.stderr.write(`cannot listen on loopback: ${error.message}\n`);
        process.exit(1);
    }
    process.stdout.write(`${port}\n`);
});
