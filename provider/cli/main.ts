#!/usr/bin/env node
/** The command `pulumi-containerd`. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { ContainerdError } from "../errors";
import { parseCommand, USAGE } from "./arguments";
import type { Outcome } from "./doctor";

const WIDTH = 120;

async function main(args: readonly string[]): Promise<Outcome> {
    const command = parsed(args);
    if ("code" in command) return command;
    switch (command.command) {
        case "help":
            return { code: 0, output: USAGE };
        case "version":
            return { code: 0, output: `${await version()}\n` };
        case "doctor": {
            const { doctor } = await import("./doctor.js");
            return doctor({ ...command, width: process.stdout.columns ?? WIDTH });
        }
        case "bootstrap": {
            const { bootstrap } = await import("./bootstrap.js");
            return bootstrap(command);
        }
    }
}

async function version(): Promise<string> {
    const text = await readFile(path.join(__dirname, "../../package.json"), "utf8");
    return (JSON.parse(text) as { version: string }).version;
}

function parsed(args: readonly string[]): ReturnType<typeof parseCommand> | Outcome {
    try {
        return parseCommand(args, process.cwd());
    } catch (error) {
        return {
            code: 2,
            output: "",
            notes: `pulumi-containerd: ${ContainerdError.from(error).message}; see pulumi-containerd --help`,
        };
    }
}

main(process.argv.slice(2)).then(
    ({ code, output, notes }) => {
        process.stdout.write(output);
        if (notes) process.stderr.write(`${notes}\n`);
        process.exitCode = code;
    },
    (error: unknown) => {
        process.stderr.write(`pulumi-containerd: ${ContainerdError.from(error).message}\n`);
        process.exitCode = 1;
    },
);
